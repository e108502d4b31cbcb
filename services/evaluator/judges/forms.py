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
    all runs in one request, which costs one prefill; ``logprobs``: probabilities are told."""

    constraint: Constraint
    many: bool
    logprobs: bool


MANNERS = (
    Manner("choice", many=True, logprobs=True),
    Manner("schema", many=True, logprobs=True),
    Manner("schema", many=True, logprobs=False),
    Manner("schema", many=False, logprobs=False),
    Manner("none", many=True, logprobs=True),
    Manner("none", many=False, logprobs=False),
)

_MOST_LOGPROBS = 20  # a token, by OpenAI's API
_LIKELY = 0.5  # probability the scores must have together where nothing holds the judge to them


def constrained(manner: Manner, options: Sequence[str]) -> Json:
    """The part of a request that allows one of ``options``, of one character each."""
    asked: Json = {}
    if manner.logprobs:
        few = manner.constraint == "choice" and len(options) <= _MOST_LOGPROBS
        asked = {"logprobs": True, "top_logprobs": len(options) if few else _MOST_LOGPROBS}
    if manner.constraint == "choice":
        return asked | {"structured_outputs": {"choice": list(options)}, "max_tokens": 1}
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
            "max_tokens": 32,
        }
    return asked | {"max_tokens": 16}


_FORM = re.compile(
    r"\s*(?:[-*•] )?[\s*_\"'`]*"
    r"(?:[a-z]+(?:[ _][a-z]+)?\s*(?:\([^)]{0,40}\))?[*_]*\s*[:=])?[\s*_\"'`]*"
    r"(?P<option>[0-9a-z])(?:\.0)?(?:\s*/\s*(?P<of>\d))?[\s*_\"'`.]*",
    re.IGNORECASE,
)


def read(text: str | None, options: Sequence[str]) -> str | None:
    """The one of ``options`` that stands in the form; None where none stands there alone.

    Taken are ``4``, ``Score: 4``, ``4/5`` and ``{"score": 4}``, on the first line. In a sentence a
    number may be anything: prose is not searched for one.
    """
    if not text or not (lines := text.strip().splitlines()):
        return None
    if text.lstrip().startswith("{"):
        return _read_object(text, options)
    found = _FORM.fullmatch(lines[0])
    if found is None or found["of"] not in (None, options[-1]):
        return None
    return _one_of(found["option"], options)


def _read_object(text: str, options: Sequence[str]) -> str | None:
    try:
        score: Any = json.loads(text)["score"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if isinstance(score, float) and score.is_integer():
        score = int(score)
    return None if isinstance(score, bool | float) else _one_of(str(score), options)


def _one_of(said: str, options: Sequence[str]) -> str | None:
    return next((option for option in options if option.lower() == said.strip().lower()), None)


def chances(logprobs: Any, options: Sequence[str]) -> dict[str, float] | None:
    """The probabilities in the place where a choice has its option, of the options only: from
    OpenAI's ``logprobs`` object. None where it is not as agreed, or has no such place."""
    found: dict[str, float] = {}
    try:
        place = next(place for place in logprobs["content"] if _one_of(place["token"], options))
        for top in place["top_logprobs"]:
            option, nats = _one_of(top["token"], options), float(top["logprob"])
            if option is not None and math.isfinite(nats):
                # A digit with a blank before it and one without are two tokens of one option.
                found[option] = found.get(option, 0.0) + math.exp(min(nats, 0.0))
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return None
    return found or None


def weighted(chances: Mapping[str, float] | None, manner: Manner) -> float | None:
    """Σ p(s)·s / Σ p(s) over the scores s (Liu et al. 2023, equation 1, over what is allowed).

    None where the judge, left free, would rather have written something else than a score.
    """
    mass = sum((chances or {}).values())
    if not mass or (manner.constraint == "none" and mass < _LIKELY):
        return None
    return sum(int(score) * chance for score, chance in (chances or {}).items()) / mass
