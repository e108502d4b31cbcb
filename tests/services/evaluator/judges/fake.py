"""A judge of known opinions that misbehaves on demand, on OpenAI's wire of chat completions."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

STEPS = "1. Read the answer.\n2. Compare it with the reference.\n3. Score it."


def agreeing(prompt: str) -> int:
    """5 where the answer holds the reference's word, else 1: it reads what is quoted as such."""
    reference = quoted("Reference answer", prompt).rstrip(".")
    return 5 if reference in quoted("Answer to be judged", prompt) else 1


def quoted(label: str, prompt: str) -> str:
    """What stands after ``label`` as a JSON string."""
    found = re.search(rf"^{label}: (\".*\")$", prompt, re.MULTILINE)
    return json.loads(found[1]) if found else ""


def preferring(prompt: str) -> str:
    """The shorter answer."""
    first, second = quoted("Answer A", prompt), quoted("Answer B", prompt)
    return "C" if len(first) == len(second) else "AB"[len(second) < len(first)]


@dataclass
class FakeJudge:
    """``opinion`` scores a prompt; ``spread`` is added to it run by run, in turn. ``steps`` are
    what it writes where asked for some.

    ``fault``, for requests whose prompt holds ``at``: ``away``, ``late`` (504),
    ``limited`` (429 that says when), ``prose``, ``nan``, ``out_of_range``, ``cut_form``,
    ``cut_body``, ``html``, ``no_choices``, ``null``, ``infinite`` (log-probabilities that are no
    numbers), ``refused``. They last for ``times`` requests.

    It ignores n with ``one_by_one``, refuses it with ``one_only``, and knows the constraints
    ``knows`` and log-probabilities where it ``tells``. With ``reasons`` it refuses what OpenAI's
    models that reason refuse. Requests wait while ``hold`` is clear.
    """

    opinion: Callable[[str], int | str] = agreeing
    preference: Callable[[str], str] = preferring
    spread: Sequence[int] = (0,)
    steps: str = STEPS
    fault: str | None = None
    at: str = ""
    times: float = math.inf
    one_by_one: bool = False
    one_only: bool = False
    knows: frozenset[str] = frozenset({"structured_outputs", "response_format"})
    tells: bool = True
    reasons: bool = False
    adapter_sha256: str | None = None
    base_revision: str | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    milestones: dict[int, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def forms(self) -> Counter[str]:
        """How often each form was answered: the trial and the steps are none."""
        return Counter({p: n for p, n in self.answered.items() if is_form(p)})

    async def has_answered(self, count: int) -> None:
        await self.milestones.setdefault(count, asyncio.Event()).wait()

    async def complete(self, request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        prompt = body["messages"][-1]["content"]
        self.bodies.append(body)
        self.asked[prompt] += 1
        self.arrived.set()
        await self.hold.wait()
        refusal = self._refusal(body)
        fault = self.fault if self.at in prompt and self.times > 0 else None
        if refusal is None and fault is not None:
            self.times -= 1
            if (response := _broken(fault)) is not None:
                return response
        if refusal is not None:
            return refusal
        self.answered[prompt] += 1
        for count, milestone in self.milestones.items():
            if self.forms.total() >= count:
                milestone.set()
        headers = {"X-Fineproof-Model": body["model"]}
        if self.adapter_sha256 is not None:
            headers["X-Fineproof-Adapter-Sha256"] = self.adapter_sha256
        if self.base_revision is not None:
            headers["X-Fineproof-Base-Revision"] = self.base_revision
        return JSONResponse(self._completion(body, prompt, fault), headers=headers)

    def _refusal(self, body: dict[str, Any]) -> Response | None:
        for name in ("structured_outputs", "response_format"):
            if name in body and name not in self.knows:
                return _error(400, f"Unrecognized request argument supplied: {name}")
        if self.one_only and body.get("n", 1) > 1:
            return _error(400, "n must be 1.")
        if not self.tells and body.get("logprobs"):
            return _error(400, "logprobs are not supported with this model.")
        if self.reasons:
            return _unsupported(body)
        return None

    def _completion(self, body: dict[str, Any], prompt: str, fault: str | None) -> dict[str, Any]:
        count = 1 if self.one_by_one else body.get("n", 1)
        texts = [self._said(body, prompt, fault, run) for run in range(count)]
        return {
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": _logprobs(text, fault) if body.get("logprobs") else None,
                    "finish_reason": "stop",
                }
                for index, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": count, "total_tokens": 100},
        }

    def _said(self, body: dict[str, Any], prompt: str, fault: str | None, run: int) -> str | None:
        if prompt.rstrip().endswith("Evaluation steps:"):
            return self.steps
        if "Better answer:" in prompt:
            score: int | str = self.preference(prompt)
        else:
            score = self.opinion(prompt)
        if isinstance(score, int):
            score += self.spread[(run + body.get("seed", 0)) % len(self.spread)]
        odd = {
            "prose": "I believe that this answer deserves a 5, since 4 of 5 points are there.",
            "nan": "NaN",
            "out_of_range": "9",
            "cut_form": '{"score": ',
            "null": None,
        }
        if fault in odd:
            return odd[fault]
        return json.dumps({"score": score}) if "response_format" in body else str(score)


def _unsupported(body: dict[str, Any]) -> Response | None:
    for name in ("max_tokens", "top_p", "logprobs"):
        if name in body:
            return _error(400, f"Unsupported parameter: '{name}' is not supported with this model.")
    if body.get("temperature", 1) != 1:
        return _error(400, "Unsupported value: 'temperature' does not support 0.0 with this model.")
    short = body.get("max_completion_tokens", 10_000) < 1_000
    return _error(400, "Nothing is left after reasoning.") if short else None


def is_form(prompt: str) -> bool:
    return "two plus two" not in prompt and not prompt.rstrip().endswith("Evaluation steps:")


def _broken(fault: str) -> Response | None:
    if fault == "away":
        return _error(503, "The model is away.")
    if fault == "late":
        return _error(504, "The model did not answer in time.")
    if fault == "limited":
        return _error(429, "Slower, please.", headers={"Retry-After": "3"})
    if fault == "refused":
        return _error(400, "The prompt is too long.")
    if fault == "cut_body":
        return Response('{"choices": [{"mess', media_type="application/json")
    if fault == "html":
        return Response("<html>Welcome!</html>", media_type="text/html")
    if fault == "no_choices":
        return JSONResponse({"choices": []})
    return None


def _logprobs(text: str | None, fault: str | None) -> dict[str, Any]:
    token = re.search(r"\d|\b[ABC]\b", text or "")
    nats: Any = "-inf" if fault == "infinite" else math.log(0.75)
    tops = [
        {"token": token[0] if token else "x", "logprob": nats},
        {"token": "1", "logprob": nats if fault == "infinite" else math.log(0.25)},
    ]
    before = (text or "")[: token.start() if token else 0]
    return {
        "content": [
            {"token": before, "logprob": 0.0, "top_logprobs": []},
            {**tops[0], "top_logprobs": tops},
        ]
    }


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "error", "code": None, "param": None}}
    return JSONResponse(body, status, headers=headers)
