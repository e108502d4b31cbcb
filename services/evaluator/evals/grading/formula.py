"""``calculate_output``: arithmetic over named scores, in a language that has nothing else.

All of it is done in floats: whole numbers have no bound, and a power of them can take one call,
which nothing interrupts, for minutes.
"""

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping

import simpleeval

from services.common.errors import InvalidRequest

_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": lambda a: float(math.floor(a)),
    "ceil": lambda a: float(math.ceil(a)),
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_ARGUMENTS = {"min": (2, 1_000), "max": (2, 1_000), "log": (1, 2)}  # others take one
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Load, ast.Constant),
    *_OPERATORS,
)


def check(formula: str, names: Collection[str]) -> None:
    """``InvalidRequest`` unless it is arithmetic over ``names``: ``+ - * / ^``, brackets, and min
    max abs floor ceil exp sqrt log."""
    try:
        tree = ast.parse(_as_python(formula), mode="eval")
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _wrong("it is not arithmetic") from error
    for node in nodes:
        if not isinstance(node, _NODES):
            raise _wrong(f"{type(node).__name__} is not arithmetic")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            raise _wrong(f"{node.value!r} is not a number")
        if isinstance(node, ast.Call):
            _check_call(node)
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}
    if strange := sorted(used - set(names)):
        raise _wrong(f"there is no grader '{strange[0]}'; there are {', '.join(names)}")


def _check_call(call: ast.Call) -> None:
    if call.keywords or not isinstance(call.func, ast.Name) or call.func.id not in _FUNCTIONS:
        raise _wrong(f"the functions are {', '.join(_FUNCTIONS)}")
    least, most = _ARGUMENTS.get(call.func.id, (1, 1))
    if not least <= len(call.args) <= most:
        needed = f"{least} or more" if most > 2 else " or ".join(map(str, sorted({least, most})))
        raise _wrong(f"{call.func.id} takes {needed}, not {len(call.args)}")


def calculate(formula: str, scores: Mapping[str, float]) -> float:
    """``ValueError`` where it comes to no finite number."""
    machine = simpleeval.SimpleEval(
        operators=_OPERATORS, functions=dict(_FUNCTIONS), names=dict(scores)
    )
    machine.nodes[ast.Constant] = lambda node: float(node.value)
    try:
        value = float(machine.eval(_as_python(formula)))
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the formula has no value: {error}") from error
    except simpleeval.InvalidExpression as error:
        raise ValueError(f"the formula has no value: {error}") from error
    if not math.isfinite(value):
        raise ValueError("the formula has no finite value")
    return value


def _as_python(formula: str) -> str:
    return formula.strip().replace("^", "**")


def _wrong(reason: str) -> InvalidRequest:
    return InvalidRequest(f"calculate_output: {reason}.", code="invalid_formula")
