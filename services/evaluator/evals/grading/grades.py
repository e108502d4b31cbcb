"""One grader, one item, one sample: a score, or why there is none."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import FineproofError
from services.evaluator.evals.asking import Asker, Said
from services.evaluator.evals.graders import (
    LabelModel,
    Message,
    Multi,
    Python,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from services.evaluator.evals.grading import formula
from services.evaluator.evals.grading.numbers import finite
from services.evaluator.evals.grading.sandbox import Sandbox
from services.evaluator.evals.grading.text import similarity
from services.evaluator.evals.schemas import Json
from services.evaluator.evals.wording import Names, Unfilled, fill
from services.evaluator.metrics import ScoreMany
from services.evaluator.metrics.answers import Sample

AnyGrader = StringCheck | TextSimilarity | LabelModel | ScoreModel | Python | Multi

GRADER_TOKENS = 256  # of a model grader's answer, where the grader names no number
_ROLES = {"developer": "system"}  # chat templates know three roles


class Unscored(Exception):
    """There is no score, and none is guessed; the message says why."""


@dataclass(frozen=True)
class Grade:
    """``sample`` is what a model grader was asked and said. ``score`` None: ``error`` says why."""

    score: float | None
    passed: bool
    error: str | None = None
    sample: Json | None = None
    asked: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Means:
    """What graders need beside the texts; ``meaning`` is None where there is no such model,
    ``sandbox`` where nobody runs Python."""

    asker: Asker
    meaning: ScoreMany | None = None
    sandbox: Sandbox | None = None
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    """For ``meaning``: two threads cannot use its tokenizer at once."""


async def grade(grader: AnyGrader, names: Names, means: Means) -> Grade:
    """Raises what puts the whole run in doubt (``adapter_mismatch``), and nothing else."""
    try:
        return await _grade(grader, names, means)
    except (Unfilled, Unscored, ValueError) as error:
        return Grade(None, False, str(error)[:2_000])
    except FineproofError as error:
        if error.code == "adapter_mismatch":
            raise
        return Grade(None, False, f"{error.code}: {error.message}"[:2_000])


async def _grade(grader: AnyGrader, names: Names, means: Means) -> Grade:
    match grader:
        case StringCheck():
            held = _holds(grader, fill(grader.input, names), fill(grader.reference, names))
            return Grade(float(held), held)
        case TextSimilarity():
            score = await _similarity(grader, names, means)
            return Grade(score, score >= _threshold(grader.pass_threshold, 0.5))
        case LabelModel():
            return await _label(grader, names, means.asker)
        case ScoreModel():
            return await _score(grader, names, means.asker)
        case Multi():
            return await _multi(grader, names, means)
        case Python():
            if means.sandbox is None:
                raise Unscored("python graders need a sandbox, and there is none here")
            score = await means.sandbox.grade(grader, names)
            return Grade(score, score >= _threshold(grader.pass_threshold, 0.5))


def _threshold(given: float | None, otherwise: float) -> float:
    return otherwise if given is None else given


def _holds(grader: StringCheck, text: str, reference: str) -> bool:
    match grader.operation:
        case "eq":
            return text == reference
        case "ne":
            return text != reference
        case "like":
            return reference in text
        case "ilike":
            return reference.casefold() in text.casefold()


async def _similarity(grader: TextSimilarity, names: Names, means: Means) -> float:
    text, reference = fill(grader.input, names), fill(grader.reference, names)
    if grader.evaluation_metric == "cosine":
        if means.meaning is None:
            raise Unscored("cosine needs an embedding model, and there is none here")
        async with means.one_at_a_time:
            [score] = await asyncio.to_thread(means.meaning, [Sample(text, [reference])])
        return score
    return await asyncio.to_thread(similarity, grader.evaluation_metric, text, reference)


async def _label(grader: LabelModel, names: Names, asker: Asker) -> Grade:
    body = _body(grader.model, grader.input, names) | {
        "temperature": 0.0,
        "max_completion_tokens": GRADER_TOKENS,
        "response_format": _form("label", {"type": "string", "enum": grader.labels}),
    }
    said = await asker.ask(body)
    label = _read(said, "label")
    if label not in grader.labels:
        return _unread(body, said, f"the model said none of the labels: {said.text[:200]!r}")
    passed = label in grader.passing_labels
    return Grade(float(passed), passed, None, _sample(body, said) | {"label": label}, (said,))


async def _score(grader: ScoreModel, names: Names, asker: Asker) -> Grade:
    low, high = grader.bounds
    sampling = grader.sampling_params
    given = {
        key: value
        for key in ("temperature", "top_p", "seed", "reasoning_effort")
        if sampling and (value := getattr(sampling, key)) is not None
    }
    body = _body(grader.model, grader.input, names) | {
        "temperature": 0.0,
        "max_completion_tokens": (sampling and sampling.max_tokens) or GRADER_TOKENS,
        "response_format": _form("score", {"type": "number", "minimum": low, "maximum": high}),
        **given,
    }
    said = await asker.ask(body)
    score = finite(_read(said, "score"))
    if score is None or not low <= score <= high:
        return _unread(body, said, f"no score from {low:g} to {high:g}: {said.text[:200]!r}")
    passed = score >= _threshold(grader.pass_threshold, (low + high) / 2)
    return Grade(score, passed, None, _sample(body, said), (said,))


async def _multi(grader: Multi, names: Names, means: Means) -> Grade:
    grades = await asyncio.gather(*(grade(part, names, means) for part in grader.parts.values()))
    named = dict(zip(grader.parts, grades, strict=True))
    sample = {"graders": {name: {"score": g.score, "error": g.error} for name, g in named.items()}}
    asked = tuple(said for g in grades for said in g.asked)
    scores: dict[str, float] = {}
    for name, part in named.items():
        if part.score is None:
            return Grade(None, False, f"{name}: {part.error}", sample, asked)
        scores[name] = part.score
    try:
        score = formula.calculate(grader.calculate_output, scores)
    except ValueError as error:
        return Grade(None, False, str(error)[:2_000], sample, asked)
    passed = score >= _threshold(grader.pass_threshold, 0.5)
    return Grade(score, passed, None, sample, asked)


def to_messages(messages: list[Message], names: Names) -> list[Json]:
    """As a chat completion takes them."""
    return [
        {"role": _ROLES.get(message.role, message.role), "content": fill(message.text, names)}
        for message in messages
    ]


def _body(model: str, messages: list[Message], names: Names) -> Json:
    return {"model": model, "messages": to_messages(messages, names)}


def _form(field: str, schema: Json) -> Json:
    """What OpenAI calls a structured output: an object with one field."""
    return {
        "type": "json_schema",
        "json_schema": {
            "name": field,
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {field: schema},
                "required": [field],
                "additionalProperties": False,
            },
        },
    }


def _read(said: Said, field: str) -> Any:
    """The field of the JSON object that was asked for, None for any other answer."""
    try:
        answer = json.loads(said.text)
    except (ValueError, RecursionError):
        return None
    return answer.get(field) if isinstance(answer, Mapping) else None


def _unread(body: Json, said: Said, reason: str) -> Grade:
    return Grade(None, False, reason, _sample(body, said), (said,))


def _sample(body: Json, said: Said) -> Json:
    return {
        "input": body["messages"],
        "output": [{"role": "assistant", "content": said.text}],
        "model": said.model,
        "finish_reason": said.finish_reason,
        "usage": said.usage,
    }
