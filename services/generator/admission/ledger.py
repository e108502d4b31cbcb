"""What each caller has used of its limits: in Redis, for all generator processes, or in this one.

Requests and tokens are leaky buckets: a caller may use a minute's worth at once, and it comes back
evenly, which is what OpenAI's ``x-ratelimit-reset-*`` describe. A bucket can be overdrawn: an
answer is charged an estimate when it begins and what it cost when it is over.

Why not the package ``limits`` (5.8): its windows refuse a charge that goes over the limit, so what
an answer cost beyond the estimate could not be booked; it makes a round trip for each limit and
another for each header; and it has no count of what is under way. One script does it all in one.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.generator.settings import CallerLimits

Refusal = Literal["concurrent_requests", "requests", "tokens"]

LEASE_SECONDS = 60
"""How long what a killed process had under way still counts. Renewed well before."""


@dataclass(frozen=True)
class Entry:
    """An account after one more request: ``refused`` says which limit does not allow it.

    ``wait`` is the seconds until it would; ``requests`` and ``tokens`` are what is used.
    """

    refused: Refusal | None
    wait: float
    requests: float
    tokens: float


class Ledger(Protocol):
    async def enter(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> Entry:
        """Charge a request of ``tokens``, unless a limit refuses it."""

    async def settle(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> None:
        """The request is over, and cost ``tokens`` more than it was charged, or less."""


@dataclass
class Bucket:
    used: float = 0
    at: float = 0

    def level(self, per_minute: int | None, now: float) -> float:
        return max(0.0, self.used - (now - self.at) * (per_minute or 0) / 60)


@dataclass
class Account:
    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)
    under_way: set[str] = field(default_factory=set)


class OwnLedger:
    """In this process. It never waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: defaultdict[str, Account] = defaultdict(Account)

    async def enter(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> Entry:
        account, now = self._accounts[caller], self._clock()
        requests = account.requests.level(limits.requests_per_minute, now)
        used = account.tokens.level(limits.tokens_per_minute, now)
        at_once = limits.concurrent_requests
        if at_once is not None and len(account.under_way) >= at_once:
            return Entry("concurrent_requests", 0, requests, used)
        if wait := _wait(requests, 1, limits.requests_per_minute):
            return Entry("requests", wait, requests, used)
        if wait := _wait(used, tokens, limits.tokens_per_minute):
            return Entry("tokens", wait, requests, used)
        account.under_way.add(ticket)
        account.requests = Bucket(requests + 1, now)
        account.tokens = Bucket(used + tokens, now)
        return Entry(None, 0, requests + 1, used + tokens)

    async def settle(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> None:
        account, now = self._accounts[caller], self._clock()
        account.under_way.discard(ticket)
        used = account.tokens.level(limits.tokens_per_minute, now)
        account.tokens = Bucket(max(0.0, used + tokens), now)


def _wait(used: float, more: float, per_minute: int | None) -> float:
    """Seconds until ``more`` fits beside what is used; 0 where it does now."""
    if per_minute is None:
        return 0.0
    return max(0.0, (used + more - per_minute) * 60 / per_minute)


_FLOOR = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function level(name, per_minute)
  local was = redis.call('HMGET', KEYS[1], name, name .. '_at')
  if per_minute == 0 or not was[1] then return 0 end
  return math.max(0, was[1] - (now - was[2]) * per_minute / 60)
end
local function book(name, per_minute, used)
  if per_minute == 0 then return end
  redis.call('HSET', KEYS[1], name, used, name .. '_at', string.format('%.6f', now))
  local empty = math.ceil(used * 60 / per_minute) + 1
  if redis.call('TTL', KEYS[1]) < empty then redis.call('EXPIRE', KEYS[1], empty) end
end
"""

# KEYS: what is used, what is under way. ARGV: requests and tokens a minute and requests at once (0:
# no limit), tokens to charge, ticket, seconds of its lease.
_ENTER = (
    _FLOOR
    + """
local rpm, tpm, at_once = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local requests, tokens = level('requests', rpm), level('tokens', tpm)
local function entry(refused, wait)
  return {refused, tostring(wait), tostring(requests), tostring(tokens)}
end
if at_once > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= at_once then return entry('concurrent_requests', 0) end
end
if rpm > 0 and requests + 1 > rpm then
  return entry('requests', (requests + 1 - rpm) * 60 / rpm)
end
if tpm > 0 and tokens + ARGV[4] > tpm then
  return entry('tokens', (tokens + ARGV[4] - tpm) * 60 / tpm)
end
requests, tokens = requests + 1, tokens + ARGV[4]
book('requests', rpm, requests)
book('tokens', tpm, tokens)
if at_once > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[6], ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
return entry('', 0)
"""
)

# ARGV: tokens a minute, ticket, tokens more or less than were charged.
_SETTLE = (
    _FLOOR
    + """
redis.call('ZREM', KEYS[2], ARGV[2])
local tpm = tonumber(ARGV[1])
book('tokens', tpm, math.max(0, level('tokens', tpm) + ARGV[3]))
"""
)

# ARGV: seconds of the lease, tickets.
_RENEW = (
    _FLOOR
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + ARGV[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[2], ARGV[1])
"""
)


_PATIENCE: dict[str, Any] = {
    "max_connections": 16,
    "timeout": 0.5,
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "retry": Retry(NoBackoff(), 1),  # for a connection that a restart of Redis has cut
}


class SharedLedger:
    """In Redis, by Redis' clock. Raises ``redis.RedisError`` when it is away."""

    def __init__(self, redis: Redis) -> None:
        self._enter = redis.register_script(_ENTER)
        self._settle = redis.register_script(_SETTLE)
        self._renew = redis.register_script(_RENEW)

    async def enter(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> Entry:
        said = await self._enter(
            keys=_keys(caller),
            args=[
                limits.requests_per_minute or 0,
                limits.tokens_per_minute or 0,
                limits.concurrent_requests or 0,
                tokens,
                ticket,
                LEASE_SECONDS,
            ],
        )
        refused, wait, requests, used = (part.decode() for part in cast(Sequence[bytes], said))
        return Entry(
            cast(Refusal | None, refused or None), float(wait), float(requests), float(used)
        )

    async def settle(self, caller: str, limits: CallerLimits, ticket: str, tokens: float) -> None:
        per_minute = limits.tokens_per_minute or 0
        await self._settle(keys=_keys(caller), args=[per_minute, ticket, tokens])

    async def renew(self, caller: str, tickets: Iterable[str]) -> None:
        """These requests are still under way."""
        await self._renew(keys=_keys(caller), args=[LEASE_SECONDS, *tickets])

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator[Self]:
        """Connections are made when they are needed."""
        pool = BlockingConnectionPool.from_url(url, **_PATIENCE)
        async with Redis.from_pool(pool) as redis:
            yield cls(redis)


def _keys(caller: str) -> list[str]:
    # In braces: a cluster keeps both where one script finds them.
    return [f"fineproof:generator:{{{caller}}}:{name}" for name in ("used", "under_way")]
