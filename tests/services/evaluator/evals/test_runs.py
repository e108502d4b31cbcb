"""Runs: asked once, graded, counted, taken up again, stopped."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from services.common.errors import InvalidRequest, Unavailable
from services.evaluator.evals import running, storage
from services.evaluator.evals.models import RunRow
from services.evaluator.evals.outcomes import Outcome, outcome_of
from services.evaluator.evals.schemas import ResultCounts
from services.evaluator.turns import Turn
from tests.services.evaluator.evals.conftest import EXACT, ITEMS, Bench, evaluation, given, sampled
from tests.services.evaluator.evals.standins import ALIAS, BASE, TUNED, completion, lines


async def test_a_run_asks_the_model_grades_what_it_says_and_counts(bench: Bench) -> None:
    run = await bench.finish(sampled())
    assert run.status == "completed"
    assert run.error is None
    assert run.finished_at is not None
    assert run.items == 6
    assert run.result_counts == ResultCounts(total=6, passed=5, failed=1)
    [criterion] = run.per_testing_criteria_results
    assert (criterion.testing_criteria, criterion.passed, criterion.failed) == ("exact", 5, 1)
    [usage] = run.per_model_usage
    assert (usage.model_name, usage.invocation_count, usage.total_tokens) == (BASE, 6, 54)


async def test_an_output_item_shows_what_was_asked_said_and_scored(bench: Bench) -> None:
    run = await bench.finish(sampled())
    [item] = await bench.items(run, status="fail")
    assert item["status"] == "fail"
    assert item["datasource_item_id"] == 5
    assert item["datasource_item"] == ITEMS[5]
    [result] = item["results"]
    assert (result["name"], result["type"]) == ("exact", "string-check-grader")
    assert (result["passed"], result["score"]) == (False, 0.0)
    sample = item["sample"]
    assert sample["input"] == [
        {"role": "system", "content": "Add."},
        {"role": "user", "content": "6 and 6?"},
    ]
    assert sample["output"] == [{"role": "assistant", "content": "10"}]
    assert (sample["temperature"], sample["seed"], sample["max_completion_tokens"]) == (0, 1, 8)
    assert (sample["finish_reason"], sample["usage"]["total_tokens"]) == ("stop", 9)
    assert len(await bench.items(run, status="pass")) == 5
    page = await bench.http.get(run.report_url)
    assert "5 of 6 items passed" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_second_run_of_the_same_model_asks_nothing_again(bench: Bench) -> None:
    await bench.finish(sampled())
    again = await bench.finish(sampled())
    assert again.result_counts.passed == 5
    assert len(bench.world.asked) == 6
    [usage] = again.per_model_usage
    assert (usage.invocation_count, usage.cached_count) == (0, 6)


async def test_another_adapter_under_the_same_name_is_asked_anew(bench: Bench) -> None:
    await bench.finish(sampled(ALIAS))
    bench.world.served_sha256[ALIAS] = bench.world.answering_sha256 = "cd" * 32
    await bench.finish(sampled(ALIAS))
    assert len(bench.world.asked) == 12


async def test_items_that_ask_the_same_are_asked_once(bench: Bench) -> None:
    run = await bench.finish(sampled(items=[ITEMS[0]] * 5))
    assert run.result_counts.passed == 5
    assert len(bench.world.asked) == 1


async def test_a_run_that_was_stopped_goes_on_where_it_was(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"max_concurrency": 2})
    eval_id, run_id = await bench.start(sampled())
    bench.world.milestones[3] = asyncio.Event()
    working = asyncio.create_task(bench.work(run_id))
    await bench.world.was_asked(3)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await bench.work(run_id)
    run = await bench.get(f"/{eval_id}/runs/{run_id}")
    assert run["status"] == "completed"
    assert run["result_counts"] == {"total": 6, "passed": 5, "failed": 1, "errored": 0}
    # Two were under way when it was stopped; no other may have been asked twice.
    assert sum(bench.world.times_asked.values()) <= 8
    assert len(bench.world.times_asked) == 6


@pytest.mark.parametrize("failures", [1, 2])
async def test_what_could_not_be_written_before_a_stop_is_not_counted_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    write_now, outcomes = Turn.write_now, storage.write_outcomes
    failing, failed = threading.Event(), threading.Event()
    left = failures

    def refuse(session: Session, rows: Sequence[Any]) -> None:
        nonlocal left
        if left:
            left -= 1
            failing.set()
            failed.wait()
            raise OperationalError("update", {}, Exception("The database is away."))
        outcomes(session, rows)

    def once(turn: Turn, step: Callable[[Session], Any]) -> Any:
        with turn.transaction() as session:
            return step(session)

    graded = asyncio.Barrier(len(ITEMS) + 1)

    async def together(*args: Any) -> Outcome:
        outcome = await outcome_of(*args)
        await graded.wait()
        return outcome

    monkeypatch.setattr(running, "outcome_of", together)
    monkeypatch.setattr(running, "OUTCOMES_AT_ONCE", 1)
    monkeypatch.setattr(storage, "write_outcomes", refuse)
    monkeypatch.setattr(Turn, "write_now", once)
    eval_id, run_id = await bench.start(sampled())
    working = asyncio.create_task(bench.work(run_id))
    await graded.wait()
    await asyncio.to_thread(failing.wait)
    working.cancel()
    for _ in range(50):  # for the others' outcomes to lie there, and the stop to arrive
        await asyncio.sleep(0)
    failed.set()
    await asyncio.gather(working, return_exceptions=True)
    monkeypatch.setattr(Turn, "write_now", write_now)
    with bench.db.transaction() as session:
        session.execute(update(RunRow).values(lease_owner=None, lease_expires_at=None))
    monkeypatch.setattr(running, "outcome_of", outcome_of)
    await bench.work(run_id)
    run = await bench.get(f"/{eval_id}/runs/{run_id}")
    assert run["status"] == "completed"
    assert run["result_counts"] == {"total": 6, "passed": 5, "failed": 1, "errored": 0}


async def test_a_message_that_comes_twice_changes_nothing(bench: Bench) -> None:
    run = await bench.finish(sampled())
    await bench.work(run.id)
    assert await bench.get(f"/{run.eval_id}/runs/{run.id}") == run.model_dump()


async def test_a_canceled_run_stops_and_keeps_what_it_has(bench: Bench) -> None:
    bench.world.hold = asyncio.Event()
    eval_id, run_id = await bench.start(sampled())
    bench.world.milestones[1] = asyncio.Event()
    working = asyncio.create_task(bench.work(run_id))
    await bench.world.was_asked(1)
    canceled = await bench.post(f"/{eval_id}/runs/{run_id}/cancel", {}, 200)
    assert canceled["status"] == "canceled"
    await working
    assert (await bench.get(f"/{eval_id}/runs/{run_id}"))["status"] == "canceled"


async def test_a_model_that_refuses_one_item_leaves_it_unscored_and_goes_on(bench: Bench) -> None:
    def refuse(body: dict[str, Any]) -> InvalidRequest | None:
        third = body["messages"][-1]["content"].startswith("3 ")
        return InvalidRequest("Too long.", code="context_length_exceeded") if third else None

    bench.world.refuse = refuse
    run = await bench.finish(sampled())
    assert run.status == "completed"
    assert run.result_counts == ResultCounts(total=6, passed=4, failed=1, errored=1)
    assert run.per_testing_criteria_results[0].errored == 1
    [item] = await bench.items(run, status="error")
    assert item["results"][0]["score"] is None
    sample = item["sample"]
    assert sample["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    assert [message["content"] for message in sample["input"]] == ["Add.", "3 and 3?"]
    assert (sample["temperature"], sample["seed"], sample["max_completion_tokens"]) == (0, 1, 8)
    assert (sample["output"], sample["top_p"]) == ([], 1)


async def test_a_model_that_is_away_leaves_items_unscored_not_failed(bench: Bench) -> None:
    bench.world.refuse = lambda _: Unavailable("Away.")
    run = await bench.finish(sampled())
    assert run.result_counts == ResultCounts(total=6, errored=6)


async def test_what_is_no_chat_completion_is_unscored(bench: Bench) -> None:
    answers = iter([{"choices": []}, ["prose"], {}, {"choices": [{"message": 1}]}])
    bench.world.raw = lambda body: next(answers, completion(BASE, "1"))
    run = await bench.finish(sampled())
    assert run.result_counts.errored == 4


async def test_other_weights_than_those_asked_for_fail_the_run(bench: Bench) -> None:
    bench.world.answering_sha256 = "00" * 32
    run = await bench.finish(sampled(TUNED))
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.code == "adapter_mismatch"
    assert run.result_counts.total == 0


async def test_a_base_model_of_other_weights_is_asked_anew(bench: Bench) -> None:
    await bench.finish(sampled())
    asked = len(bench.world.asked)
    await bench.finish(sampled())
    assert len(bench.world.asked) == asked
    bench.world.base_revision = "sha256:cd"
    await bench.finish(sampled())
    assert len(bench.world.asked) == 2 * asked


async def test_a_run_that_is_taken_up_again_holds_on_to_the_weights_it_began_with(
    bench: Bench,
) -> None:
    bench.settings = bench.settings.model_copy(update={"max_concurrency": 1})
    eval_id, run_id = await bench.start(sampled(ALIAS))
    bench.world.milestones[4] = asyncio.Event()
    working = asyncio.create_task(bench.work(run_id))
    await bench.world.was_asked(4)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    bench.world.served_sha256[ALIAS] = bench.world.answering_sha256 = "cd" * 32
    asked = len(bench.world.asked)
    await bench.work(run_id)
    run = await bench.get(f"/{eval_id}/runs/{run_id}")
    assert run["status"] == "failed"
    assert run["error"]["code"] == "adapter_mismatch"
    assert len(bench.world.asked) == asked


async def test_items_come_from_a_file_and_their_samples_may_be_given(bench: Bench) -> None:
    bench.world.files["file-1"] = ("evals", lines(*ITEMS))
    source = sampled() | {"source": {"type": "file_id", "id": "file-1"}}
    run = await bench.finish(source)
    assert run.result_counts.passed == 5
    assert run.data_source == source
    known = await bench.finish(given((ITEMS[0], "2"), (ITEMS[1], "5")))
    assert known.result_counts == ResultCounts(total=2, passed=1, failed=1)
    assert known.model == ""
    assert known.per_model_usage == []
    assert len(bench.world.asked) == 6


async def test_a_file_that_cannot_be_read_for_a_moment_is_asked_for_again(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"answer_patience_s": 60.0})
    wide = [{**item, "more": "x" * 2**20} for item in ITEMS]
    bench.world.files["file-1"] = ("evals", lines(*wide))
    bench.world.files_away = 2
    run = await bench.finish(sampled() | {"source": {"type": "file_id", "id": "file-1"}})
    assert run.status == "completed", run.error
    assert run.result_counts.passed == 5


async def test_a_large_file_with_a_bad_line_fails_the_run_and_names_it(bench: Bench) -> None:
    wide = {"question": "x" * 2**20, "answer": "y"}
    bench.world.files["file-1"] = ("evals", lines(*[wide] * 5) + '\n{"item": {')
    run = await bench.finish(sampled() | {"source": {"type": "file_id", "id": "file-1"}})
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.message.startswith("Line 6 of the data")
    assert bench.world.asked == []


async def test_the_client_polls_a_run_to_its_end(bench: Bench, client: openai.AsyncOpenAI) -> None:
    created = await client.evals.create(**evaluation())
    run = await client.evals.runs.create(created.id, data_source=sampled())  # type: ignore[arg-type]
    assert run.status == "queued"
    await bench.work(run.id)
    run = await client.evals.runs.retrieve(run.id, eval_id=created.id)  # type: ignore[assignment]
    assert run.status == "completed"
    assert run.per_model_usage[0].run_model_name == BASE
    assert EXACT["name"] == run.per_testing_criteria_results[0].testing_criteria
