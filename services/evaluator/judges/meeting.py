"""Before a judge judges: who it is, how it can be asked, and the steps it judges by."""

import asyncio
from dataclasses import replace

from services.common.contracts.exam import PLAIN_STEPS
from services.common.contracts.judge import JudgeAsk
from services.common.errors import InvalidRequest, NotFound, UpstreamFailed
from services.evaluator.cache import ServedBy, key_of
from services.evaluator.judges import prompts
from services.evaluator.judges.asking import Asking, Sheet, fill_in, said
from services.evaluator.judges.criteria import BUILT_IN, Criterion, criteria_of
from services.evaluator.judges.forms import MANNERS, Manner, limit, read
from services.evaluator.judges.judge import Judge
from services.evaluator.judges.memory import Memory
from services.evaluator.judges.prompts import Subject
from services.evaluator.peers import patiently

_STEP_TOKENS = 256
_MISNAMED = "max_tokens"  # what models that reason refuse, by this name
_TRIED_WITH = Subject(question="What is two plus two?", reference="Four.", answer="It is four.")


async def meet(ask: JudgeAsk, asking: Asking, memory: Memory) -> Judge:
    """Raises the generator's error where the judge cannot be asked at all."""
    if ask.model.startswith("ft:"):
        await _load(ask.model, asking)
    manner, served_by = await _try_out(ask, asking)
    declared = criteria_of(ask)
    written = await asyncio.gather(
        *(_steps_of(criterion, ask, asking, memory, manner, served_by) for criterion in declared)
    )
    return Judge(
        ask=ask,
        asking=asking,
        memory=memory,
        served_by=served_by,
        manner=manner,
        criteria=tuple(
            replace(one, steps=steps or _given(one))
            for one, steps in zip(declared, written, strict=True)
        ),
        generated=frozenset(
            one.name for one, steps in zip(declared, written, strict=True) if steps
        ),
    )


async def _load(name: str, asking: Asking) -> None:
    try:
        await patiently(lambda: asking.models.load_adapter(name), seconds=asking.patience_s)
    except NotFound:
        return  # an alias: what it stands for is loaded, or the trial below says why not


async def _try_out(ask: JudgeAsk, asking: Asking) -> tuple[Manner, ServedBy]:
    """The first manner in which the judge fills in a form, tried anew by each worker: it is one
    short request, and says whose weights answer."""
    refused: InvalidRequest | None = None
    may_reason = False
    last: tuple[Manner, ServedBy] | None = None
    accuracy = BUILT_IN["accuracy"]
    for manner in MANNERS:
        if manner.reasons and not may_reason:
            continue
        options = tuple(str(score) for score in accuracy.scores)
        sheet = Sheet(
            prompts.form(accuracy, (), _TRIED_WITH),
            options,
            min(ask.runs, 2),
            ask.temperature,
            ask.seed,
        )
        try:
            reply, served_by = await fill_in(sheet, asking, ask.model, manner)
        except NotFound:
            raise
        except InvalidRequest as error:
            refused = error
            may_reason = may_reason or _MISNAMED in f"{error.param} {error.message}"
            continue
        last = manner, served_by
        if any(read(text, options) for text in reply["forms"]):
            return last
    if last is None:
        raise refused or UpstreamFailed("The judge cannot be asked.", code="judge_unusable")
    return last


async def _steps_of(
    criterion: Criterion,
    ask: JudgeAsk,
    asking: Asking,
    memory: Memory,
    manner: Manner,
    served_by: ServedBy,
) -> tuple[str, ...]:
    """What the judge writes where no steps are declared, asked once; empty where it writes none:
    one that was taught to score says a number here too."""
    if criterion.steps is not None:
        return ()
    request = {
        "model": ask.model,
        "messages": prompts.steps(criterion),
        **({} if manner.reasons else {"temperature": 0.0}),
        **limit(manner, _STEP_TOKENS),
        "seed": ask.seed,
    }
    key = key_of(request, served_by)
    known = await memory.known([key])
    if key not in known:
        memory.keep(key, {"steps": said(await asking.chat(request))})
        await memory.flush()
        # Read back: where another worker was faster, its steps are the judge's.
        known = await memory.known([key])
    steps = prompts.read_steps(known[key]["steps"])
    return steps if any(len(step.split()) > 1 for step in steps) else ()


def _given(criterion: Criterion) -> tuple[str, ...]:
    """The steps declared, else plain ones; a rubric without any is its own."""
    plain = next((steps for name, steps in PLAIN_STEPS.items() if name == criterion.name), [])
    return criterion.steps or tuple(plain)
