"""Servers that tests stop and start again."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack


class Server:
    """PostgreSQL or Redis of one test, which can go away and come back at the same address."""

    def __init__(self, start: Callable[[], AbstractContextManager[str]]) -> None:
        self._start = start
        self._running = ExitStack()
        self.url: str = self._running.enter_context(start())

    def stop(self) -> None:
        self._running.close()

    def start(self) -> None:
        self._running.enter_context(self._start())
