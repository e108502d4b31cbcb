"""Reasoning told from the answer while the model still speaks."""

from collections.abc import Iterator
from typing import Literal

from services.common.prompts import ANSWER, REASON

Kind = Literal["reasoning", "answer", "reset"]


class Splitter:
    """Agrees with :func:`~services.common.prompts.split_reasoned`, whatever pieces the text is in.

    The answer's pieces since the last ``reset`` are the whole answer: a reset takes back what came
    as an answer and turned out, by a marker behind it, to have led to one. Where nothing can be
    taken back (``resets=False``), only what begins with a marker is reasoning, up to the next.
    """

    def __init__(self, *, resets: bool = True) -> None:
        self._resets = resets
        self._held = ""
        self._kind: Kind | None = None  # none yet: it may still begin with a marker
        self._marked = False
        self._said: set[Kind] = set()

    def feed(self, text: str) -> Iterator[tuple[Kind, str]]:
        """What can be told after ``text`` was said too."""
        self._held += text
        yield from self._told(final=False)

    def end(self) -> Iterator[tuple[Kind, str]]:
        """What was held back in case a marker came of it."""
        yield from self._told(final=True)

    def _told(self, *, final: bool) -> Iterator[tuple[Kind, str]]:
        if self._kind is None:
            start = self._held.lstrip()
            if REASON.startswith(start) and start != REASON and not final:
                return
            self._kind = "reasoning" if start.startswith(REASON) else "answer"
            if self._kind == "reasoning":
                self._held, self._marked = start.removeprefix(REASON), True
        while ANSWER in self._held and (self._resets or self._kind == "reasoning"):
            before, _, self._held = self._held.partition(ANSWER)
            if "answer" in self._said:
                yield "reset", ""
            self._said.discard("answer")
            self._kind = "reasoning"
            yield from self._say(before.rstrip())
            self._kind, self._marked = "answer", True
        ready = self._held if final else self._held[: len(self._held) - _beginning(self._held)]
        if self._marked or not final:
            ready = ready.rstrip()
        self._held = self._held[len(ready) :]
        yield from self._say(ready)

    def _say(self, text: str) -> Iterator[tuple[Kind, str]]:
        assert self._kind is not None
        if self._marked and self._kind not in self._said:
            text = text.lstrip()
        if text:
            self._said.add(self._kind)
            yield self._kind, text


def _beginning(text: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of a marker."""
    return next(n for n in range(len(ANSWER) - 1, -1, -1) if text.endswith(ANSWER[:n]))
