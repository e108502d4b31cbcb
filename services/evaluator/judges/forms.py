"""The form a judge fills in: how it is held to the scores there are, and how what it wrote is read.

Servers differ in what they can be asked for. The ways to ask are tried in the order of ``MANNERS``;
the first that a judge fills in is kept for all its forms.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.evaluator.models import Json

Constraint = Literal["choice", "schema", "none"]


@dataclass(frozen=True)
class Manner:
    """``choice`` is vLLM's own constraint, of one token; ``schema`` OpenAI's JSON schema. ``many``:
    all runs in one request, which costs one prefill; ``logprobs``: probabilities are told.
    ``reasons``: it thinks before it answers, as models of OpenAI's that refuse ``max_tokens``."""

    constraint: Constraint
    many: bool
    logprobs: bool
    reasons: bool = False


MANNERS = (
    Manner("choice", many=True, logprobs=True),
    Manner("schema", many=True, logprobs=True),
    Manner("schema", many=True, logprobs=False),
    Manner("schema", many=False, logprobs=False),
    Manner("none", many=True, logprobs=True),
    Manner("none", many=False, logprobs=False),
    Manner("schema", many=True, logprobs=False, reasons=True),
    Manner("schema", many=False, logprobs=False, reasons=True),
    Manner("none", many=False, logprobs=False, reasons=True),
)

_ROOM_TO_REASON = 4_096  # tokens

_MOST_LOGPROBS = 20  # a token, by OpenAI's API
_LIKELY = 0.5  # probability the scores must have together where nothing holds the judge to them


def limit(manner: Manner, tokens: int) -> Json:
    """The part of a request that allows so many tokens of an answer."""
    if manner.reasons:
        return {"max_completion_tokens": tokens + _ROOM_TO_REASON}
    return {"max_tokens": tokens}


def constrained(manner: Manner, options: Sequence[str]) -> Json:
    """The part of a request that allows one of ``options``, of one character each."""
    asked: Json = {}
    if manner.logprobs:
        few = manner.constraint == "choice" and len(options) <= _MOST_LOGPROBS
        asked = {"logprobs": True, "top_logprobs": len(options) if few else _MOST_LOGPROBS}
    if manner.constraint == "choice":
        return asked | {"structured_outputs": {"choice": list(options)}, **limit(manner, 1)}
    if manner.constraint == "schema":
        digits = all(option.isdigit() for option in options)
        score: Json = (
            {"type": "integer", "enum": [int(option) for option in options]}
            if digits
            else {"type": "string", "enum": list(options)}
        )
        schema = {
            "type": "object",
            "properties": {"score": score},
            "required": ["score"],
            "additionalProperties": False,
        }
        named = {"name": "form", "strict": True, "schema": schema}
        return asked | {
            "response_format": {"type": "json_schema", "json_schema": named},
            **limit(manner, 32),
        }
    return asked | limit(manner, 16)


_FORM = re.compile(
    r"\s*(?:[-*•] )?[\s*_\"'`]*"
    r"(?:[a-z]+(?:[ _][a-z]+)?\s*(?:\([^)]{0,40}\))?[*_]*\s*[:=])?[\s*_\"'`]*"
    r"(?P<option>[0-9a-z])(?:\.0)?(?:\s*/\s*(?P<of>\d))?[\s*_\"'`.]*",
    re.IGNORECASE,
)
_SCORE = re.compile(r'"score"\s*:\s*"?\s*')


def read(text: str | None, options: Sequence[str]) -> str | None:
    """The one of ``options`` that stands in the form; None where none stands there alone.

    Taken are ``4``, ``Score: 4``, ``4/5`` and ``{"score": 4}``, on the first line. In a sentence a
    number may be anything: prose is not searched for one.
    """
    found = _stands(text, options)
    return found and found[0]


def _stands(text: str | None, options: Sequence[str]) -> tuple[str, int] | None:
    """The option in the form, and at which character of ``text``."""
    if not text or not (lines := text.strip().splitlines()):
        return None
    if text.lstrip().startswith("{"):
        return _stands_in_object(text, options)
    found = _FORM.fullmatch(lines[0])
    if found is None or found["of"] not in (None, options[-1]):
        return None
    option = _one_of(found["option"], options)
    if option is None:
        return None
    return option, len(text) - len(text.lstrip()) + found.start("option")


def _stands_in_object(text: str, options: Sequence[str]) -> tuple[str, int] | None:
    try:
        score: Any = json.loads(text)["score"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if isinstance(score, float) and score.is_integer():
        score = int(score)
    option = None if isinstance(score, bool | float) else _one_of(str(score), options)
    ends = [found.end() for found in _SCORE.finditer(text)]
    # A key may be written with escapes: then nobody knows where its score stands.
    return None if option is None else (option, ends[-1] if ends else len(text))


def _one_of(said: str, options: Sequence[str]) -> str | None:
    return next((option for option in options if option.lower() == said.strip().lower()), None)


def chances(text: str | None, logprobs: Any, options: Sequence[str]) -> dict[str, float] | None:
    """The probabilities of the options in the place where ``text``, a choice's, has the one that is
    read: from OpenAI's ``logprobs`` object. None where none is read, where the object is not as
    agreed, and where its tokens are not the text's or hold more than the option there."""
    stands = _stands(text, options)
    if text is None or stands is None:
        return None
    found: dict[str, float] = {}
    try:
        for top in _place(logprobs["content"], text, stands[1])["top_logprobs"]:
            option, nats = _one_of(top["token"], options), float(top["logprob"])
            if option is not None and math.isfinite(nats):
                # A digit with a blank before it and one without are two tokens of one option.
                found[option] = found.get(option, 0.0) + math.exp(min(nats, 0.0))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return found or None


def _place(tokens: Any, text: str, at: int) -> Any:
    """The token that is the option at character ``at``. ``LookupError`` where there is none."""
    # Told one by one, some tokenizers' tokens lose the blank they begin with; others have one more.
    before, begun = "".join(text[:at].split()), ""
    for place in tokens:
        token = "".join(place["token"].split())
        if begun == before and token == text[at]:
            return place
        begun += token
        if not before.startswith(begun):
            break
    raise LookupError(at)


def weighted(chances: Mapping[str, float] | None, manner: Manner) -> float | None:
    """Σ p(s)·s / Σ p(s) over the scores s (Liu et al. 2023, equation 1, over what is allowed).

    None where the judge, left free, would rather have written something else than a score.
    """
    mass = sum((chances or {}).values())
    if not mass or (manner.constraint == "none" and mass < _LIKELY):
        return None
    return sum(int(score) * chance for score, chance in (chances or {}).items()) / mass
