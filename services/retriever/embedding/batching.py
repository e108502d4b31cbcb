"""What several threads ask of a model at about the same time goes through it together."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.common.errors import Unavailable

Vectors = npt.NDArray[np.float32]

# Asks that wait at most; a request's thread has one, so that they are fewer than a pool's threads.
_MOST = 1_000


class _Ask(NamedTuple):
    texts: Sequence[str]
    answer: Future[Vectors]


class Batching:
    """One thread has the model; whoever asks while it is busy is answered by its next pass.

    Nobody waits for company: a thread that finds the model idle is answered at once. More than
    ``size`` texts are asked for in parts, between which others have their turn.
    """

    def __init__(self, embed: Callable[[Sequence[str]], Vectors], *, size: int) -> None:
        self._embed = embed
        self._size = size
        self._waiting: deque[_Ask] = deque()
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="embedding", daemon=True).start()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Raises what the model raised, to everybody whose texts it had; ``Unavailable`` when too
        many wait, or after ``close``."""
        parts = range(0, len(texts), self._size)
        return np.concatenate(
            [self._ask(texts[start : start + self._size]).result() for start in parts]
        )

    def _ask(self, texts: Sequence[str]) -> Future[Vectors]:
        ask = _Ask(texts, Future())
        with self._changed:
            if self._closed or len(self._waiting) >= _MOST:
                raise Unavailable(
                    "The embedding model has too much to do; try again in a moment.",
                    headers={"Retry-After": "1"},
                )
            self._waiting.append(ask)
            self._changed.notify()
        return ask.answer

    def close(self) -> None:
        """Who waits is still answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while asks := self._next():
            try:
                vectors = self._embed([text for ask in asks for text in ask.texts])
            except Exception as error:
                for ask in asks:
                    ask.answer.set_exception(error)
                continue
            start = 0
            for ask in asks:
                ask.answer.set_result(vectors[start : start + len(ask.texts)])
                start += len(ask.texts)

    def _next(self) -> list[_Ask]:
        """Those that have waited longest, as many as fit; none once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            asks: list[_Ask] = []
            room = self._size
            while self._waiting and len(self._waiting[0].texts) <= room:
                asks.append(self._waiting.popleft())
                room -= len(asks[-1].texts)
            return asks
