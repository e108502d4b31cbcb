"""Whether a model server may be asked, by how the last requests to it went."""

import time
from collections.abc import Callable

LONGEST_REST = 60.0


class Health:
    """After ``failures`` in a row a server rests for ``rest`` seconds, and twice as long each time
    after that, a minute at most. Then one request tries it, and the others wait for how it goes.

    A failure is a server that is away, late or breaks off; an answer that says what is wrong with a
    request is none.
    """

    def __init__(
        self, *, failures: int, rest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowed = failures
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._on_trial = False

    @property
    def rests(self) -> float:
        """Seconds that it will not be asked for yet."""
        return max(0.0, self._until - self._clock()) if self._failures >= self._allowed else 0.0

    @property
    def may_be_asked(self) -> bool:
        return not self.rests and not self._on_trial

    def asked(self) -> None:
        self._on_trial = self._failures >= self._allowed

    def well(self) -> None:
        self._failures = 0
        self._on_trial = False

    def failed(self) -> None:
        self._on_trial = False
        if self.rests:  # many answers break off as one server dies: that is one failure
            return
        self._failures += 1
        if (beyond := self._failures - self._allowed) >= 0:
            self._until = self._clock() + min(LONGEST_REST, self._rest * 2 ** min(beyond, 16))

    def left(self) -> None:
        """The request is over, whatever came of it; where nothing did, another one tries."""
        self._on_trial = False
