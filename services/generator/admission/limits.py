"""How much each caller may ask for: requests and tokens a minute, and answers at once.

Kept in Redis for all generator processes; while Redis is away each process keeps accounts of its
own, and a caller may get as much from each. A caller is the name of a key.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar

import structlog
from redis import RedisError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.errors import FineproofError, RateLimited
from services.generator.admission.ledger import (
    LEASE_SECONDS,
    Entry,
    Ledger,
    OwnLedger,
    SharedLedger,
)
from services.generator.admission.ticket import Ticket
from services.generator.metrics import GeneratorMetrics
from services.generator.settings import CallerLimits

log = structlog.get_logger(__name__)

NO_LIMITS = CallerLimits()
_AWAY_SECONDS = 5.0
_said: ContextVar[dict[str, str] | None] = ContextVar("limit_headers", default=None)


class Limiter:
    def __init__(
        self,
        shared: SharedLedger,
        *,
        default: CallerLimits,
        callers: Mapping[str, CallerLimits],
        metrics: GeneratorMetrics,
    ) -> None:
        self._shared = shared
        self._own = OwnLedger()
        self._default = default
        self._callers = dict(callers)
        self._metrics = metrics
        self._away_until = 0.0
        self._under_way: set[Ticket] = set()

    @asynccontextmanager
    async def admitted(self, caller: str, body: bytes) -> AsyncIterator[Ticket | None]:
        """A request on its caller's account until it is over; None where there are no limits.

        Raises ``RateLimited``. A request that fails is not charged for tokens.
        """
        limits = self._callers.get(caller, self._default)
        if limits == NO_LIMITS:
            yield None
            return
        ticket = Ticket(caller, limits, body)
        ledger = await self._enter(ticket)
        self._under_way.add(ticket)
        try:
            yield ticket
        except FineproofError:
            ticket.failed = True
            raise
        finally:
            self._under_way.discard(ticket)
            await self._settle(ledger, ticket)

    async def keep(self) -> None:
        """Say, for ever, what is still under way."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            by_caller: defaultdict[str, list[str]] = defaultdict(list)
            for ticket in self._under_way:
                by_caller[ticket.caller].append(ticket.id)
            try:
                for caller, tickets in by_caller.items():
                    await self._shared.renew(caller, tickets)
            except (RedisError, OSError) as error:
                log.info("leases_not_renewed", error=type(error).__name__)

    async def _enter(self, ticket: Ticket) -> Ledger:
        ledger, entry = await self._entry(ticket)
        headers = standing(entry, ticket.limits)
        if (said := _said.get()) is not None:
            said.update(headers)
        if entry.refused is not None:
            self._metrics.refused(entry.refused)
            raise _refusal(entry, ticket.limits)
        return ledger

    async def _entry(self, ticket: Ticket) -> tuple[Ledger, Entry]:
        if time.monotonic() >= self._away_until:
            try:
                return self._shared, await ticket.enter(self._shared)
            except (RedisError, OSError) as error:
                # Asking again at once would cost every request the wait for a timeout.
                self._away_until = time.monotonic() + _AWAY_SECONDS
                log.warning("limits_not_shared", error=type(error).__name__)
        return self._own, await ticket.enter(self._own)

    async def _settle(self, ledger: Ledger, ticket: Ticket) -> None:
        try:
            await ticket.settle(ledger)
        except (RedisError, OSError) as error:  # its lease runs out by itself
            log.info("not_settled", caller=ticket.caller, error=type(error).__name__)


def standing(entry: Entry, limits: CallerLimits) -> dict[str, str]:
    """OpenAI's ``x-ratelimit-*`` headers, of those limits that there are."""
    headers: dict[str, str] = {}
    for name, used, limit in (
        ("requests", entry.requests, limits.requests_per_minute),
        ("tokens", entry.tokens, limits.tokens_per_minute),
    ):
        if limit is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(limit - used)))
            headers[f"x-ratelimit-reset-{name}"] = duration(used * 60 / limit)
    return headers


def duration(seconds: float) -> str:
    """As OpenAI writes one: ``120ms``, ``7.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    tenths = math.ceil(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    return f"{minutes}m{tenths / 10:g}s" if minutes else f"{tenths / 10:g}s"


def _refusal(entry: Entry, limits: CallerLimits) -> RateLimited:
    seconds = max(1, math.ceil(entry.wait))
    what = {
        "concurrent_requests": f"{limits.concurrent_requests} answers at once",
        "requests": f"{limits.requests_per_minute} requests a minute",
        "tokens": f"{limits.tokens_per_minute} tokens a minute",
    }[entry.refused or "requests"]
    return RateLimited(
        f"This key is allowed {what}; try again in {seconds} s.",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )


class LimitHeaders:
    """ASGI middleware: says in every answer's headers where its caller stands."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said: dict[str, str] = {}
        _said.set(said)

        async def send_with_limits(message: Message) -> None:
            if said and message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(said)
            await send(message)

        await self.app(scope, receive, send_with_limits)
