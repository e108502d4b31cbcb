"""Runs that are stopped in the middle: what was answered was paid for, and is not asked again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session

from services.evaluator import models
from services.evaluator.metrics import score_all
from services.evaluator.phases import answering
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench

ITEMS = DOCUMENTS * PER_DOCUMENT
AT_ONCE = 4  # requests in flight


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> threading.Event:
    """Answers are not scored until this is set, as while a slow package is imported."""
    scored = threading.Event()

    def late(*asked: Any) -> Sequence[Any]:
        scored.wait(30)
        return score_all(*asked)

    monkeypatch.setattr(answering, "score_all", late)
    bench.settings.max_concurrency = AT_ONCE
    return scored


@asynccontextmanager
async def under_way(bench: Bench, answers: int) -> AsyncIterator[asyncio.Task[models.Experiment]]:
    """A turn that is stopped in the body, once there were so many ``answers``."""
    turn = asyncio.create_task(bench.run())
    await bench.world.has_answered(answers)
    yield turn


async def test_what_a_cancelled_run_was_told_is_not_asked_again_when_it_is_resumed(
    bench: Bench, http: httpx.AsyncClient, held: threading.Event
) -> None:
    bench.put()
    async with under_way(bench, 2 * AT_ONCE) as turn:
        assert (await http.post("/v1/experiments/exp_1/cancel")).is_success
        held.set()
        assert (await turn).status == "canceled"
    told, spent = bench.world.answered.total(), bench.find().spent["asked"]
    assert spent <= told <= spent + AT_ONCE
    assert (await http.post("/v1/experiments/exp_1/resume")).is_success
    row = await bench.run()
    assert row.status == "completed"
    asked_twice = bench.world.answered.total() - len(bench.world.answered)
    assert asked_twice <= AT_ONCE < told


async def test_what_a_model_said_is_remembered_before_it_is_scored(
    bench: Bench, held: threading.Event
) -> None:
    bench.put()
    async with under_way(bench, 2 * AT_ONCE) as turn:
        while await asyncio.to_thread(remembered, bench) < 2 * AT_ONCE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not bench.answers()
        held.set()
        assert (await turn).status == "completed"


def remembered(bench: Bench) -> int:
    with bench.db.transaction() as session:
        return session.query(models.Cached).count()


async def test_no_more_is_asked_than_can_be_kept(bench: Bench, held: threading.Event) -> None:
    bench.put()
    async with under_way(bench, 2 * AT_ONCE) as turn:
        for _ in range(2_000):  # turns of the loop, in which all could be asked
            await asyncio.sleep(0)
        assert bench.world.answered.total() <= answering.ANSWERS_AT_ONCE + 2 * AT_ONCE
        held.set()
        assert (await turn).status == "completed"


async def test_what_is_kept_when_a_stop_comes_counts_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    keep: Callable[[Any, Session], None] = answering._Keep.__call__

    def slow(step: Any, session: Session) -> None:
        begun.set()
        stopped.wait(30)
        keep(step, session)

    monkeypatch.setattr(answering._Keep, "__call__", slow)
    bench.settings.max_concurrency = AT_ONCE
    bench.put(conditions=["closed_book"])
    turn = asyncio.create_task(bench.run())
    await asyncio.to_thread(begun.wait)
    turn.cancel()
    stopped.set()
    with pytest.raises(asyncio.CancelledError):
        await turn
    row = await bench.run()
    assert row.spent["asked"] <= bench.world.answered.total() <= row.spent["asked"] + AT_ONCE


async def test_workers_that_are_told_to_stop_use_up_no_attempts(bench: Bench) -> None:
    bench.settings.max_attempts = 1
    bench.put(conditions=["closed_book"])
    for answers in (10, 20):
        async with under_way(bench, answers) as turn:
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
    assert (await bench.run()).status == "completed"


async def test_a_panel_that_is_stopped_is_asked_no_question_twice_but_those_in_flight(
    bench: Bench,
) -> None:
    bench.settings.max_concurrency = AT_ONCE
    bench.put(conditions=["retrieved"], forgetting={})
    async with under_way(bench, ITEMS * 3 + 30) as turn:
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
    row = await bench.run()
    assert row.status == "completed"
    assert bench.world.answered.total() - len(bench.world.answered) <= AT_ONCE


async def test_what_nobody_can_read_any_more_is_asked_again(bench: Bench) -> None:
    bench.put(conditions=["closed_book"])
    await bench.run()
    with bench.db.transaction() as session:
        for kept in session.query(models.Cached):
            kept.value = '{"answer": "of another time"}'
    bench.put("exp_2", conditions=["closed_book"])
    assert (await bench.run("exp_2")).status == "completed"
    assert set(bench.world.answered.values()) == {2}
    bench.put("exp_3", conditions=["closed_book"])
    await bench.run("exp_3")
    assert set(bench.world.answered.values()) == {2}
