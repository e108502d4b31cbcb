"""Exit codes that a pipeline acts on: nothing but a verdict may look like one."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from fineproof.errors import UserError

GOOD, BAD, UNDECIDED, NO_ANSWER = 0, 1, 2, 3
INTERRUPTED = 130
"""What a shell says of a program that ended by Ctrl-C."""

# Typer brings a click of its own in some versions: the class is found through its public child.
_UsageError: Any = typer.BadParameter.__bases__[0]


class Commands(TyperGroup):
    """All commands; a misspelt one, or option, ends in 3 and not in click's 2: undecided."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except _UsageError as error:
            error.exit_code = NO_ANSWER
            raise

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args  # an option that cannot be read keeps all from being read
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            error.exit_code = NO_ANSWER
            if as_json:
                typer.echo(_no_answer(error.format_message()))
            raise


def answering(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with what ``command`` returns, and with ``NO_ANSWER`` whatever else happens.

    An uncaught exception would end Python with 1, which says that something hurts. With
    ``as_json`` among the options the error is printed as JSON, too.
    """

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        as_json = bool(options.get("as_json"))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal of few letters is no reason to fail
                stream.reconfigure(errors="backslashreplace")
        try:
            code = command(*args, **options)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, _UsageError):
            raise
        except KeyboardInterrupt:  # click would end in 1
            raise typer.Exit(INTERRUPTED) from None
        except (BrokenPipeError, SystemExit):  # rich would end in 1, too, where nobody reads on
            with suppress(OSError):  # nor does Python, at its end, try again to write the rest
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(NO_ANSWER) from None
        except UserError as error:
            _give_up(str(error), as_json)
        except ModuleNotFoundError as error:
            _give_up(f"{error.name} is missing: pip install 'fineproof[cli,evaluator]'", as_json)
        except Exception as error:
            traceback.print_exc()
            _give_up(f"this is a mistake in fineproof ({type(error).__name__}: {error})", as_json)
        raise typer.Exit(code)

    return run


def _give_up(message: str, as_json: bool) -> NoReturn:
    typer.echo(f"fineproof: {message}", err=True)
    if as_json:
        typer.echo(_no_answer(message))
    raise typer.Exit(NO_ANSWER)


def _no_answer(message: str) -> str:
    return json.dumps({"verdict": None, "exit_code": NO_ANSWER, "error": message})
