"""A worker that is killed in any phase: the next one goes on, and nothing is asked twice."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.evaluator.workers import Workshop, wait_for, workshop_of
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench
from tests.services.evaluator.world import BASE

ITEMS = DOCUMENTS * PER_DOCUMENT
ANSWERS = ITEMS * 3 * 2  # arms, conditions


@pytest.fixture
def workshop(bench: Bench) -> Iterator[Workshop]:
    with workshop_of(bench) as workshop:
        yield workshop


def test_a_worker_killed_in_each_phase_is_followed_and_no_model_is_asked_twice(
    workshop: Workshop,
) -> None:
    world, gate = workshop.bench.world, workshop.gate
    workshop.bench.put(
        conditions=["closed_book", "retrieved"],
        judge={"model": BASE, "runs": 2, "metrics": ["accuracy"], "exam_items": 4},
        statistics={"resamples": 200_000, "permutations": 200_000},
    )

    for phase, path, let in (
        ("proving", "/v1/adapters", 1),
        ("retrieving", "/search/batch", 0),
        ("answering", "/v1/rag", 70),
        ("examining", "/v1/chat", 8),
        ("judging", "/v1/chat", 60),
    ):
        gate.hold(path, after=let)
        workshop.start_worker()
        workshop.wait_until_held()
        assert workshop.phase() == phase
        workshop.kill_worker()

    assert set(world.answered.values()) == {1}
    answered, judged = world.answered.total(), world.judge.forms.total()
    assert answered == ANSWERS
    assert 0 < judged < ANSWERS

    workshop.start_worker()
    wait_for(lambda: workshop.phase() in ("measuring", "done"))
    workshop.kill_worker()
    workshop.start_worker()
    wait_for(lambda: workshop.bench.find().status not in ("queued", "in_progress"))

    finished = workshop.bench.find()
    assert (finished.status, finished.error) == ("completed", None)
    assert finished.attempts >= 6
    assert world.answered == Counter(dict.fromkeys(world.answered, 1))
    assert world.answered.total() == ANSWERS
    assert set(world.judge.forms.values()) == {1}
    assert set(world.searches.values()) == {1}
    assert finished.spent["asked"] == ANSWERS
    assert len(workshop.bench.answers()) == ANSWERS


def test_what_was_kept_when_a_worker_died_in_full_flight_is_not_asked_again(
    workshop: Workshop,
) -> None:
    world = workshop.bench.world
    world.delay = 0.02
    workshop.bench.put(conditions=["closed_book", "retrieved"])
    workshop.start_worker()
    wait_for(lambda: len(workshop.bench.answers()) > 40)
    workshop.kill_worker()
    kept = Counter((a.item_id, a.arm, a.condition) for a in workshop.bench.answers())
    before = len(world.asked_order)
    workshop.start_worker()
    wait_for(lambda: workshop.bench.find().status == "completed")
    # What was said and not kept yet is remembered, and not asked again either.
    assert len(world.asked_order) - before <= ANSWERS - kept.total()
