"""Accounts of callers: the same rules in Redis and in the process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis import Redis

from services.generator.admission.ledger import Entry, Ledger, OwnLedger, SharedLedger
from services.generator.settings import CallerLimits

Enter = Callable[..., Awaitable[Entry]]


@pytest.fixture(params=["own", "shared"])
async def ledger(request: pytest.FixtureRequest, limits_url: str) -> AsyncIterator[Ledger]:
    if request.param == "own":
        yield OwnLedger()
        return
    async with SharedLedger.connect(limits_url) as shared:
        yield shared


async def test_requests_and_tokens_are_used_up_and_say_how_long_to_wait(ledger: Ledger) -> None:
    limits = CallerLimits(requests_per_minute=3, tokens_per_minute=60)
    assert (await ledger.enter("a", limits, "t1", 10)).refused is None
    too_many = await ledger.enter("a", limits, "t2", 51)
    assert too_many.refused == "tokens"
    assert 0 < too_many.wait <= 1  # a token a second comes back
    second = await ledger.enter("a", limits, "t3", 40)
    assert second.refused is None
    assert 1 < second.requests <= 2  # what was refused was not charged
    assert 49 <= second.tokens <= 50
    await ledger.enter("a", limits, "t4", 0)
    refused = await ledger.enter("a", limits, "t5", 0)
    assert refused.refused == "requests"
    assert 15 < refused.wait <= 20
    assert (await ledger.enter("b", limits, "t6", 60)).refused is None


async def test_what_an_answer_cost_takes_the_place_of_the_estimate(ledger: Ledger) -> None:
    limits = CallerLimits(tokens_per_minute=1000)
    await ledger.enter("a", limits, "t1", 1000)
    await ledger.settle("a", limits, "t1", -990)
    cheap = await ledger.enter("a", limits, "t2", 100)
    assert cheap.refused is None
    assert cheap.tokens <= 110
    await ledger.settle("a", limits, "t2", 2_000)
    owing = await ledger.enter("a", limits, "t3", 1)
    assert owing.refused == "tokens"
    assert 60 < owing.wait <= 67  # debts are paid off at the same rate


async def test_requests_under_way_are_counted_until_they_are_over(ledger: Ledger) -> None:
    limits = CallerLimits(concurrent_requests=2)
    for ticket in ("t1", "t2"):
        assert (await ledger.enter("a", limits, ticket, 0)).refused is None
    assert (await ledger.enter("a", limits, "t3", 0)).refused == "concurrent_requests"
    assert (await ledger.enter("b", limits, "t3", 0)).refused is None
    await ledger.settle("a", limits, "t1", 0)
    assert (await ledger.enter("a", limits, "t4", 0)).refused is None


async def test_many_at_once_get_no_more_than_the_limit(ledger: Ledger) -> None:
    limits = CallerLimits(requests_per_minute=10)
    entries = await asyncio.gather(*(ledger.enter("a", limits, f"t{n}", 0) for n in range(50)))
    assert sum(entry.refused is None for entry in entries) == 10


async def test_what_a_killed_process_had_under_way_is_forgotten(limits_url: str) -> None:
    limits = CallerLimits(concurrent_requests=1)
    redis = Redis.from_url(limits_url)
    (now, _) = redis.time()
    redis.zadd("fineproof:generator:{a}:under_way", {"dead": now - 1})
    redis.zadd("fineproof:generator:{b}:under_way", {"alive": now + 1})
    async with SharedLedger.connect(limits_url) as shared:
        assert (await shared.enter("a", limits, "t1", 0)).refused is None
        await shared.renew("b", ["alive", "never"])
        assert (await shared.enter("b", limits, "t2", 0)).refused == "concurrent_requests"
    assert redis.zscore("fineproof:generator:{b}:under_way", "alive") > now + 30
    assert redis.zscore("fineproof:generator:{b}:under_way", "never") is None
    assert 0 < redis.ttl("fineproof:generator:{a}:under_way") <= 60


async def test_an_account_that_is_even_leaves_nothing_in_redis(limits_url: str) -> None:
    limits = CallerLimits(requests_per_minute=60, tokens_per_minute=60)
    async with SharedLedger.connect(limits_url) as shared:
        await shared.enter("a", limits, "t1", 60)
        await shared.settle("a", limits, "t1", 60)
    redis = Redis.from_url(limits_url)
    assert [redis.ttl(key) for key in redis.scan_iter()] == [pytest.approx(121, abs=1)]
