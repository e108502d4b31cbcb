"""Models that take a while to be there."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import OperationalError
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_exponential

from services.common.errors import Unavailable, UpstreamFailed, UpstreamTimeout

log = structlog.get_logger(__name__)

M = TypeVar("M")

# What may pass by itself; anything else is there to stay.
_PASSING = (Unavailable, UpstreamFailed, UpstreamTimeout, OperationalError)


class Loading(Generic[M]):
    """A model that is opened once a process, by ``opening``; ``what`` it is called in sentences."""

    def __init__(self, what: str, opening: Callable[[], M]) -> None:
        self._what = what
        self._opening = opening
        self._model: M | None = None
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def load_in_background(self, then: Callable[[], object] = lambda: None) -> None:
        """Open it in a thread, and then do ``then``; a server that is away is tried again
        until ``close``."""
        loading = threading.Thread(target=self._try, args=(then,), name=self._what, daemon=True)
        loading.start()

    def _try(self, then: Callable[[], object]) -> None:
        trying = Retrying(
            retry=retry_if_exception_type(_PASSING),
            wait=wait_exponential(max=10),
            stop=stop_when_event_set(self._closed),
            sleep=sleep_using_event(self._closed),
            before_sleep=self._put_off,
            reraise=True,
        )

        def load() -> None:
            self.load()
            then()

        try:
            trying(load)
        except Exception as error:
            self._failure = f"The {self._what} cannot be loaded: {error}"
            log.exception("model_not_loaded", model=self._what)

    def _put_off(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._failure = f"The {self._what} cannot be loaded yet: {error}"
        log.warning("model_not_loaded_yet", model=self._what, error=str(error))

    def load(self) -> None:
        """Open the model unless it is there; whatever opening it raises goes through."""
        with self._lock:
            if self._model is None:
                self._model = self._opening()
                log.info("model_loaded", model=self._what)

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    def check(self) -> M:
        """The model; raises ``Unavailable`` while it is not there."""
        if self._model is None:
            raise Unavailable(
                self._failure or f"The {self._what} is being loaded; try again in a moment.",
                code="not_ready",
                headers={"Retry-After": "2"},
            )
        return self._model

    def close(self) -> None:
        self._closed.set()
