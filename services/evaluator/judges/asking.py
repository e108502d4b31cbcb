"""How forms get to a judge and back: one request for all runs where the server can do that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.clients.generator import ChatReply, GeneratorClient
from services.common.errors import UpstreamFailed
from services.evaluator.cache import ServedBy
from services.evaluator.concurrency import Concurrency
from services.evaluator.judges.forms import Manner, chances, constrained
from services.evaluator.judges.prompts import Messages
from services.evaluator.models import Json

_LONGEST_KEPT = 200  # characters of what a judge wrote into a form
_SEEDS = 2**31


class JudgeChanged(UpstreamFailed):
    """Other weights answer than those that were met: no score can be said to be the judge's."""

    code = "judge_changed"


@dataclass(frozen=True)
class Asking:
    """How a judge is reached: ``models`` asks once a call, ``concurrency`` says when again, and
    ``heard`` is told the tokens read and written."""

    models: GeneratorClient
    concurrency: Concurrency
    patience_s: float
    heard: Callable[[int, int], None] | None = None

    async def chat(self, request: Json) -> ChatReply:
        reply = await self.concurrency.ask(
            lambda: self.models.chat(request), patience_s=self.patience_s
        )
        if self.heard is not None:
            self.heard(*_tokens(reply.body))
        return reply


@dataclass(frozen=True)
class Sheet:
    """A prompt with the one-character ``options`` of its form, to be filled in ``runs`` times."""

    messages: Messages
    options: tuple[str, ...]
    runs: int
    temperature: float
    seed: int

    def request(self, model: str, manner: Manner) -> Json:
        """What is asked, as if the server could do all runs at once: its hash is the cache's."""
        asked = {
            "model": model,
            "messages": self.messages,
            "n": self.runs,
            "temperature": self.temperature,
            "top_p": 1.0,
            "seed": self.seed,
            **constrained(manner, self.options),
        }
        # Models that reason refuse to be told even what they do anyway.
        told = {"top_p", "temperature"} if self.temperature == 1 else {"top_p"}
        return {k: v for k, v in asked.items() if not manner.reasons or k not in told}


async def fill_in(
    sheet: Sheet, asking: Asking, model: str, manner: Manner, met: ServedBy | None = None
) -> tuple[Json, ServedBy]:
    """Have it filled in: ``forms`` as written, one a run; the ``chances`` of its options, where
    told; the ``tokens`` read and written. With it, who did.

    A server that gives fewer choices than asked is asked for the others. Raises ``judge_changed``
    when it is not who was ``met``, and ``unreadable_answer`` for what is no chat completion.
    """
    request = sheet.request(model, manner)
    forms: list[str | None] = []
    likely: dict[str, float] | None = None
    tokens = [0, 0]
    while (left := sheet.runs - len(forms)) > 0:
        request |= {
            "n": left if manner.many else 1,
            "seed": (sheet.seed + len(forms)) % _SEEDS,
        }
        reply = await asking.chat(request)
        by = ServedBy(reply.model, reply.adapter_sha256, reply.base_revision)
        if met is not None and by.differs(met):
            raise JudgeChanged(
                f"'{model}' is now {by.weights}, but it was {met.weights} when this began."
            )
        met = met or by
        choices = _choices(reply.body)[:left]
        forms += [_text(choice) for choice in choices]
        likely = likely or next(
            (told for choice in choices if (told := _chances(choice, sheet.options))), None
        )
        tokens = [before + more for before, more in zip(tokens, _tokens(reply.body), strict=True)]
    assert met is not None, "a sheet is filled in at least once"
    return {"forms": forms, "chances": likely, "tokens": tokens}, met


def said(reply: ChatReply) -> str:
    """The text of a completion of one choice."""
    return _text(_choices(reply.body)[0], most=None) or ""


def _choices(body: Json) -> Sequence[Json]:
    choices: Any = body.get("choices")
    if isinstance(choices, list) and choices and all(isinstance(one, dict) for one in choices):
        return choices
    raise UpstreamFailed("The model's answer has no choices.", code="unreadable_answer")


def _text(choice: Json, most: int | None = _LONGEST_KEPT) -> str | None:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content[:most] if isinstance(content, str) else None


def _chances(choice: Json, options: Sequence[str]) -> dict[str, float] | None:
    return chances(_text(choice), choice.get("logprobs"), options)


def _tokens(body: Json) -> tuple[int, int]:
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return (
        read if isinstance(read, int) else 0,
        written if isinstance(written, int) else 0,
    )
