"""One process of the stack: how to start it, how to see that it is ready, how to stop it."""

import http.client
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# A proxy in the environment is not for the loopback.
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Obstacle = Callable[[], str | None]
"""Says in a few words what a program still waits for; None once it is ready. Blocks briefly."""


@dataclass(frozen=True)
class Program:
    name: str
    argv: tuple[str, ...]
    address: str
    """Where it can be reached, for people."""
    obstacle: Obstacle
    tier: int
    """Tiers stop one after the other, the highest first."""
    after: tuple[str, ...] = ()
    """Programs that must be ready before this one starts."""
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    """Runs before every start, in a thread."""
    user: str | None = None
    nice: int = 0
    """How far it stands back for the others, where there are fewer cores than work."""
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    """Seconds from the stop signal until SIGKILL."""
    patience: float = 120.0
    """Seconds it may take to become ready."""


def http_obstacle(url: str) -> Obstacle:
    """Ready when a GET of ``url`` succeeds; otherwise what the answer says.

    Where nobody listens on a port that the system also hands out to those who connect, a connection
    to it may meet itself, and what was asked comes back as the answer: no HTTP.
    """

    def look() -> str | None:
        try:
            with _LOOPBACK.open(url, timeout=3):
                return None
        except urllib.error.HTTPError as error:
            return _message(error.read()) or f"answers {error.code}"
        except (OSError, http.client.HTTPException):
            return "no answer yet"

    return look


def worker_obstacle(broker_url: str, node: str) -> Obstacle:
    """Ready when the Celery worker ``node`` answers a ping over its broker."""

    def look() -> str | None:
        from celery import Celery

        with Celery(broker=broker_url) as app:
            answers = app.control.ping(destination=[node], timeout=1.0)
        return None if answers else "no answer yet"

    return look


def _message(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None
