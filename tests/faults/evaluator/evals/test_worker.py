"""A worker that is killed in the middle of a run: the next goes on, and nothing is asked twice."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from services.evaluator.evals.models import RunRow
from services.evaluator.models import Cached
from tests.faults.evaluator.workers import Workers, over, wait_for
from tests.services.evaluator.evals.conftest import EXACT, Bench, sampled
from tests.services.evaluator.evals.standins import BASE, generator_app, trainer_app

ITEMS = [{"question": f"{n} and {n}?", "answer": f"{n + n}"} for n in range(40)]
JUDGED = {
    "type": "score_model",
    "name": "quality",
    "model": BASE,
    "input": [
        {"role": "developer", "content": "Score it."},
        {"role": "user", "content": "{{item.question}} {{sample.output_text}}"},
    ],
    "range": [1, 5],
    "pass_threshold": 3,
}


def adds_and_judges(body: dict[str, Any]) -> str:
    first, *others = body["messages"]
    if first["content"] == "Score it.":
        return json.dumps({"score": 4})
    return str(2 * int(others[-1]["content"].split()[0]))


@pytest.fixture
def workers(bench: Bench) -> Iterator[Workers]:
    bench.world.speak = adds_and_judges
    peers = generator_app(bench.world), trainer_app(bench.world)
    with over(*peers, of=partial(Workers, bench)) as workers:
        yield workers


def in_table(bench: Bench, statement: Any) -> Any:
    with bench.db.transaction() as session:
        return session.scalar(statement)


async def test_a_worker_killed_in_mid_run_is_followed_and_no_model_is_asked_twice(
    bench: Bench, workers: Workers
) -> None:
    world, gate = bench.world, workers.gate
    eval_id, run_id = await bench.start(sampled(items=ITEMS), testing_criteria=[EXACT, JUDGED])

    for let in (10, 30):
        gate.hold("/v1/chat", after=let)
        workers.start_worker()
        wait_for(lambda: gate.waiting and not gate.inside)
        kept = select(func.count()).select_from(Cached)
        wait_for(lambda: in_table(bench, kept) == len(world.asked))  # noqa: B023
        assert in_table(bench, select(RunRow.status)) == "in_progress"
        workers.kill_worker()
    assert len(world.asked) == 40

    workers.start_worker()
    wait_for(lambda: in_table(bench, select(RunRow.status)) == "completed")
    run = await bench.get(f"/{eval_id}/runs/{run_id}")
    assert run["result_counts"] == {"total": 40, "passed": 40, "failed": 0, "errored": 0}
    assert in_table(bench, select(RunRow.attempts)) == 3
    assert len(world.asked) == 80
    assert set(world.times_asked.values()) == {1}
