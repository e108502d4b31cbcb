"""Whose turn it is, asked of PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as some
from sqlalchemy import delete, select, update

from services.common.db import Database, migrate
from services.trainer import models
from services.trainer.models import Job
from services.trainer.running.turns import Limits, Turn, anything_to_do, let_go, next_turn
from services.trainer.storage import now

LEASE = timedelta(seconds=30)
ONE_SLOT = Limits(["here:cpu"], None)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    migrate(database_url, schema="trainer", migrations=Path(models.__file__).parent / "migrations")
    db = Database(database_url)
    yield db
    db.close()


def add(db: Database, *jobs: Job) -> None:
    with db.transaction() as session:
        session.add_all(jobs)


def job(job_id: str, caller: str = "a", status: str = "queued", **more: Any) -> Job:
    return Job(
        id=job_id,
        caller=caller,
        status=status,
        created_at=now(),
        model="m",
        suffix="s",
        seed=1,
        training_file="file",
        method={},
        job_metadata={},
        result_files=[],
        checks={},
        integrations=[],
        **more,
    )


def turn(db: Database, limits: Limits = ONE_SLOT, owner: str = "me") -> Turn | None:
    with db.transaction() as session:
        return next_turn(session, limits, owner=owner, lease=LEASE)


def taken(db: Database, limits: Limits = ONE_SLOT) -> str | None:
    found = turn(db, limits)
    return found and found.job_id


def put(db: Database, job_id: str, **values: Any) -> None:
    with db.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def end(db: Database, job_id: str) -> None:
    put(db, job_id, status="succeeded")
    with db.transaction() as session:
        let_go(session, job_id, owner="me")


def order(db: Database) -> list[str]:
    """The jobs as one slot runs them, one after another."""
    ran = []
    while (job_id := taken(db)) is not None:
        ran.append(job_id)
        end(db, job_id)
    return ran


def test_a_new_job_is_validated_before_any_is_trained_and_needs_no_slot(db: Database) -> None:
    add(db, job("1"), job("2"), job("3", status="validating_files"))
    assert turn(db) == Turn("3", None, lost=False)
    assert turn(db) == Turn("1", "here:cpu", lost=False)
    add(db, job("4", status="validating_files"))
    assert turn(db) == Turn("4", None, lost=False)
    assert turn(db) is None  # the slot is taken


def test_callers_take_turns_however_many_jobs_one_has(db: Database) -> None:
    add(db, job("1", "a"), job("2", "a"), job("3", "a"), job("4", "b"), job("5", "c"))
    assert order(db) == ["1", "4", "5", "2", "3"]


def test_priority_orders_the_jobs_of_one_caller_only(db: Database) -> None:
    add(db, job("1", "a"), job("2", "b", priority=10), job("3", "a", priority=5), job("4", "a"))
    assert order(db) == ["3", "2", "1", "4"]


def test_a_caller_with_jobs_running_waits_for_one_with_none(db: Database) -> None:
    add(db, job("1", "a"), job("2", "a"), job("3", "b"))
    slots = Limits(["here:0", "here:1", "here:2"], None)
    assert [taken(db, slots) for _ in range(4)] == ["1", "3", "2", None]


def test_one_caller_runs_no_more_than_the_limit_and_leaves_the_slot_free(db: Database) -> None:
    add(db, job("1", "a"), job("2", "a"), job("3", "a"))
    slots = Limits(["here:0", "here:1", "here:2"], 2)
    assert [taken(db, slots) for _ in range(3)] == ["1", "2", None]
    end(db, "1")
    assert taken(db, slots) == "3"


def test_a_job_whose_worker_died_goes_first_and_says_so(db: Database) -> None:
    add(db, job("1", "a"), job("2", "b"))
    assert taken(db) == "1"
    put(db, "1", lease_expires_at=now() - timedelta(seconds=1))
    assert turn(db, owner="another") == Turn("1", "here:cpu", lost=True)


def test_a_job_put_off_is_left_alone_until_its_time_and_holds_no_slot(db: Database) -> None:
    add(db, job("1"), job("2"))
    assert taken(db) == "1"
    with db.transaction() as session:
        let_go(session, "1", owner="me", after=LEASE)
    assert taken(db) == "2"
    end(db, "2")
    assert taken(db) is None
    put(db, "1", lease_expires_at=now())
    assert turn(db) == Turn("1", "here:cpu", lost=False)


def test_slots_are_those_of_one_host(db: Database) -> None:
    add(db, job("1"), job("2"))
    assert turn(db, Limits(["here:0"], None)) == Turn("1", "here:0", lost=False)
    assert turn(db, Limits(["there:0"], None)) == Turn("2", "there:0", lost=False)


@pytest.mark.parametrize("status", ["paused", "cancelled", "succeeded", "failed"])
def test_a_job_that_does_not_wait_is_not_taken(db: Database, status: str) -> None:
    add(db, job("1", status=status))
    with db.transaction() as session:
        assert not anything_to_do(session, ONE_SLOT)
    assert taken(db) is None


def test_a_job_cancelled_while_it_is_chosen_is_not_taken(db: Database) -> None:
    add(db, job("1"), job("2"))
    found: list[str | None] = []
    with db.transaction() as session:
        session.execute(update(Job).where(Job.id == "1").values(status="cancelled"))
        chooser = threading.Thread(target=lambda: found.append(taken(db)))
        chooser.start()
        chooser.join(1)  # it waits for this transaction's row
        assert not found
    chooser.join()
    assert found == ["2"]


def test_workers_at_once_take_no_job_and_no_slot_twice(db: Database) -> None:
    add(db, *(job(f"{n:02}", caller=str(n % 3)) for n in range(12)))
    slots = Limits([f"here:{n}" for n in range(8)], None)
    turns: list[Turn | None] = []
    workers = [
        threading.Thread(target=lambda n=n: turns.append(turn(db, slots, f"worker {n}")))
        for n in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken_up = [each for each in turns if each is not None]
    assert len(taken_up) == 8
    assert len({each.job_id for each in taken_up}) == len({each.slot for each in taken_up}) == 8


@rules(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    waiting=some.lists(
        some.tuples(some.sampled_from("abc"), some.integers(-2, 2)), min_size=1, max_size=12
    ),
    slots=some.integers(1, 3),
    per_caller=some.none() | some.integers(1, 2),
    choices=some.randoms(use_true_random=False),
)
def test_no_caller_gets_a_turn_while_one_with_less_waits(
    db: Database,
    waiting: list[tuple[str, int]],
    slots: int,
    per_caller: int | None,
    choices: Any,
) -> None:
    """Jobs end in any order; at each turn the rules are checked against what is there."""
    with db.transaction() as session:
        session.execute(delete(Job))
    left = {
        f"{n:02}": job(f"{n:02}", caller, priority=priority)
        for n, (caller, priority) in enumerate(waiting)
    }
    add(db, *left.values())
    limits = Limits([f"here:{n}" for n in range(slots)], per_caller)
    running: dict[str, str] = {}
    last_turn = dict.fromkeys("abc", -1)
    for moment in range(1000):
        count = {caller: list(running.values()).count(caller) for caller in "abc"}
        open_to = {
            each.caller
            for each in left.values()
            if per_caller is None or count[each.caller] < per_caller
        }
        found = taken(db, limits)
        if len(running) == slots or not open_to:
            assert found is None
            if not running:
                break
            ended = choices.choice(sorted(running))
            end(db, ended)
            del running[ended]
            continue
        assert found is not None
        chosen = left.pop(found)
        mine = [each for each in left.values() if each.caller == chosen.caller]
        assert all((-each.priority, each.id) > (-chosen.priority, chosen.id) for each in mine)
        assert chosen.caller == min(
            open_to,
            key=lambda caller: (
                count[caller],
                last_turn[caller],
                min(e.id for e in [*left.values(), chosen] if e.caller == caller),
            ),
        )
        running[found] = chosen.caller
        last_turn[chosen.caller] = moment
    assert not left
    with db.transaction() as session:
        assert session.scalars(select(Job.slot).where(Job.slot.is_not(None))).all() == []
