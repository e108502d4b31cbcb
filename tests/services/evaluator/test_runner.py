"""Experiments run to their end, over whatever happens on the way."""

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.common import leases
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import RagAsk
from services.common.errors import FineproofError, InvalidRequest, Unavailable, UpstreamFailed
from services.evaluator import models, storage
from tests.services.evaluator.conftest import BAD, DOCUMENTS, PER_DOCUMENT, Bench
from tests.services.evaluator.world import BASE, REPLICAS, SHA

ITEMS = DOCUMENTS * PER_DOCUMENT
ANSWERS = ITEMS * 3 * 3  # arms, conditions


def report_of(row: models.Experiment) -> Report:
    assert row.error is None
    assert row.status == "completed"
    return Report.model_validate(row.report)


async def test_an_arm_that_ignores_its_passages_is_found_to_hurt(bench: Bench) -> None:
    bench.put()
    report = report_of(await bench.run())
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    assert found["qa", "retrieved", "contains_answer"].verdict == "HURTS"
    assert found["qa", "retrieved", "contains_answer"].base == 1.0
    assert found["qa", "retrieved", "contains_answer"].tuned == pytest.approx(1 / 3)
    assert found["rag", "retrieved", "contains_answer"].verdict == "EQUIVALENT"
    assert found["rag", "retrieved", "token_f1"].verdict == "HELPS"
    assert found["qa", "closed_book", "contains_answer"].verdict == "EQUIVALENT"
    assert "qa HURTS retrieved contains_answer by 0.67" in report.headline
    loss = next(d for d in report.diff_in_diff if (d.arm, d.metric) == ("qa", "contains_answer"))
    assert loss.estimate == pytest.approx(-2 / 3)
    assert loss.verdict == "HURTS"


async def test_the_report_says_what_was_measured_on_what(bench: Bench) -> None:
    bench.put()
    report = report_of(await bench.run())
    assert (report.dataset.items, report.dataset.clusters) == (ITEMS, DOCUMENTS)
    assert report.counts.model_dump() == {"items": ITEMS, "answers": ANSWERS, "unscored": 0}
    assert [arm.sha256 for arm in report.arms] == [None, SHA, SHA]
    assert {arm.base_revision for arm in report.arms} == {"sha256:ab"}
    assert {(proof.adapter, proof.replica) for proof in report.adapter_proofs} == {
        (arm.adapter, replica) for arm in report.arms if arm.adapter for replica in REPLICAS
    }
    assert report.retrieval is not None
    assert report.retrieval.hit == 1.0
    assert set(report.timings) == {"proving", "retrieving", "answering", "measuring"}
    assert report.rows == "/v1/experiments/exp_1/rows"
    for name in ("report.json", "report.md", "report.html", "forest.svg"):
        assert bench.artifacts.size(f"experiments/exp_1/{name}") > 100


async def test_retrieval_happens_once_an_item_and_every_arm_is_given_the_same(
    bench: Bench,
) -> None:
    bench.put()
    await bench.run()
    assert set(bench.world.searches.values()) == {1}
    given: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for answer in bench.answers():
        given.setdefault((answer.item_id, answer.condition), set()).add(tuple(answer.passage_ids))
    assert all(len(passages) == 1 for passages in given.values())


async def test_arms_are_asked_side_by_side_and_take_turns_to_be_first(bench: Bench) -> None:
    bench.settings.max_concurrency = 1
    bench.put(conditions=["retrieved"])
    await bench.run()
    order = bench.world.asked_order
    triples = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert all(len({question for question, _, _ in triple}) == 1 for triple in triples)
    assert len({triple[0][1] for triple in triples}) == 3


async def test_a_run_that_is_stopped_goes_on_and_asks_nothing_twice(bench: Bench) -> None:
    bench.world.delay = 0.01
    bench.put()
    for stop_after in (40, 150):
        turn = asyncio.create_task(bench.run())
        await bench.world.has_answered(stop_after)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert bench.find().status == "in_progress"
        assert stop_after <= len(bench.answers()) < ANSWERS
    report = report_of(await bench.run())
    assert report.counts.answers == ANSWERS
    assert bench.world.answered.total() == ANSWERS
    assert set(bench.world.answered.values()) == {1}
    assert set(bench.world.searches.values()) == {1}


async def test_a_worker_that_died_without_a_word_is_followed_when_its_lease_is_over(
    bench: Bench,
) -> None:
    bench.put()
    with bench.db.transaction() as session:
        assert leases.claim(
            session, models.Experiment, "exp_1", owner="dead", statuses=storage.ACTIVE
        )
    await bench.run()
    assert bench.world.answered.total() == 0
    with bench.db.transaction() as session:
        storage.set_fields(
            session, "exp_1", lease_expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )
    assert report_of(await bench.run()).counts.answers == ANSWERS


async def test_a_message_that_arrives_twice_runs_the_experiment_once(bench: Bench) -> None:
    bench.put()
    await asyncio.gather(bench.run(), bench.run())
    await bench.run()
    assert set(bench.world.answered.values()) == {1}
    assert bench.find().attempts == 1


async def test_a_cancelled_run_stops_asking_and_stays_cancelled(bench: Bench) -> None:
    bench.world.delay = 0.02
    bench.put()
    turn = asyncio.create_task(bench.run())
    await bench.world.has_answered(20)
    with bench.db.transaction() as session:
        assert storage.cancel(session, "exp_1")
    row = await asyncio.wait_for(turn, 10)
    assert row.status == "canceled"
    assert row.report is None
    assert bench.world.answered.total() < ANSWERS


async def test_progress_is_told_while_it_runs(bench: Bench) -> None:
    bench.world.delay = 0.03
    bench.put()
    turn = asyncio.create_task(bench.run())
    seen: Counter[str] = Counter()
    while not turn.done():
        row = await asyncio.to_thread(bench.find)
        seen[row.phase] += 1
        if row.phase == "answering" and row.done:
            assert row.total == ANSWERS
            assert row.seconds_left is not None
        await asyncio.sleep(0.05)
    assert seen["answering"] > 1
    assert (await turn).phase == "done"


async def test_an_adapter_without_effect_fails_the_experiment_before_a_question(
    bench: Bench,
) -> None:
    bench.world.proof_error = UpstreamFailed("It changes nothing.", code="adapter_no_effect")
    bench.settings.answer_patience_s = 60
    bench.put()
    row = await asyncio.wait_for(bench.run(), 30)
    assert row.status == "failed"
    assert row.error == {"code": "adapter_no_effect", "message": "It changes nothing."}
    assert bench.world.answered.total() == 0


async def test_answers_by_another_adapter_than_the_proven_one_fail_the_experiment(
    bench: Bench,
) -> None:
    bench.world.served_sha256 = "00" * 32
    bench.put()
    row = await bench.run()
    assert row.error is not None
    assert row.error["code"] == "adapter_mismatch"


async def test_an_answer_that_never_comes_is_unscored_and_said_so(bench: Bench) -> None:
    def refusal(ask: RagAsk) -> FineproofError | None:
        lost = ask.model == BAD and ask.condition == "oracle" and "part0x" in ask.question
        return InvalidRequest("The prompt is too long.", code="too_long") if lost else None

    bench.world.refusal = refusal
    bench.put()
    report = report_of(await bench.run())
    assert report.counts.unscored == PER_DOCUMENT
    assert any(f"{PER_DOCUMENT} of {ITEMS} answers of qa" in text for text in report.warnings)
    lost = [answer for answer in bench.answers() if answer.error]
    assert {answer.error for answer in lost} == {"too_long: The prompt is too long."}
    assert all(value is None for answer in lost for value in answer.scores.values())
    pairs = {(c.arm, c.condition): c.n for c in report.comparisons if c.metric == "token_f1"}
    assert pairs["qa", "oracle"] == ITEMS - PER_DOCUMENT
    assert pairs["rag", "oracle"] == ITEMS


async def test_a_peer_that_is_away_for_a_moment_is_asked_again(bench: Bench) -> None:
    away = Counter({"left": 15})

    def refusal(_: RagAsk) -> FineproofError | None:
        away["left"] -= 1
        return Unavailable("Starting.") if away["left"] >= 0 else None

    bench.world.refusal = refusal
    bench.settings.answer_patience_s = 30
    bench.put(conditions=["closed_book"])
    assert report_of(await bench.run()).counts.unscored == 0


async def test_no_answer_at_all_fails_the_experiment(bench: Bench) -> None:
    bench.world.refusal = lambda _: Unavailable("Away.")
    bench.put()
    row = await bench.run()
    assert row.error is not None
    assert row.error["code"] == "nothing_answered"


async def test_items_without_evidence_are_left_out_of_oracle_and_counted(bench: Bench) -> None:
    for item in bench.world.items[:5]:
        item["evidence_ids"] = []
    bench.put()
    report = report_of(await bench.run())
    assert report.counts.answers == ANSWERS - 5 * 3
    assert any("5 of 36 items have no evidence" in warning for warning in report.warnings)


async def test_distractors_hold_no_gold_and_as_many_passages(bench: Bench) -> None:
    bench.put(conditions=["retrieved", "distractors"])
    report = report_of(await bench.run())
    gold = {item["id"]: item["evidence_ids"][0] for item in bench.world.items}
    for answer in bench.answers():
        assert len(answer.passage_ids) == 3
        assert (gold[answer.item_id] in answer.passage_ids) == (answer.condition == "retrieved")
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    assert found["rag", "distractors", "contains_answer"].base == 0.0


async def test_under_all_four_conditions_each_is_given_its_own_passages(bench: Bench) -> None:
    conditions = ["closed_book", "retrieved", "oracle", "distractors"]
    bench.put(conditions=conditions, retrieval={"distractors": "gold_among"})
    report = report_of(await bench.run())
    assert report.conditions == conditions
    assert report.counts.answers == ITEMS * 4 * 3
    gold = {item["id"]: item["evidence_ids"][0] for item in bench.world.items}
    given: dict[str, set[int]] = {}
    for answer in bench.answers():
        given.setdefault(answer.condition, set()).add(len(answer.passage_ids))
        held = gold[answer.item_id] in answer.passage_ids
        assert held == (answer.condition != "closed_book")
    assert given == {"closed_book": {0}, "retrieved": {3}, "oracle": {1}, "distractors": {3}}
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    assert found["qa", "distractors", "contains_answer"].verdict == "HURTS"
    assert {effect.arm for effect in report.diff_in_diff} == {"qa", "rag"}


async def test_questions_about_one_paper_are_searched_in_it(bench: Bench) -> None:
    for item, passage in zip(bench.world.items, bench.world.passages, strict=True):
        item["doc_id"] = passage.doc_id
    bench.put(retrieval={"max_num_results": 3, "within_document": True})
    report_of(await bench.run())
    homes = {passage.id: passage.doc_id for passage in bench.world.passages}
    own = {item["id"]: item["doc_id"] for item in bench.world.items}
    for answer in bench.answers():
        assert all(homes[passage] == own[answer.item_id] for passage in answer.passage_ids)


async def test_two_arms_of_the_same_model_are_equivalent_throughout(bench: Bench) -> None:
    bench.put(arms=[{"name": "base", "model": BASE}, {"name": "again", "model": BASE}])
    report = report_of(await bench.run())
    judged = [c for c in report.comparisons if c.metric != "answer_length"]
    assert {c.verdict for c in judged} == {"EQUIVALENT"}
    assert {d.verdict for d in report.diff_in_diff} == {"EQUIVALENT"}


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        (["not json"], "Line 1"),
        (['{"id": "a", "question": "q"}'], "Line 1 of the test file: answer"),
        (['{"id": "a", "question": "q", "answer": "b"}'] * 2, "Line 2 .* line 1 already"),
        (["[]"], "Line 1"),
        (["", " "], "no test items"),
        (['{"id": "a", "question": "q\\u0000", "answer": "b"}'], "Line 1"),
        (['{"id": 7, "question": "q", "answer": {}}'], "Line 1 of the test file: answer"),
    ],
)
async def test_a_file_that_holds_no_items_fails_with_the_line_at_fault(
    bench: Bench, lines: list[str], hint: str
) -> None:
    bench.world.raw_lines = lines
    bench.put()
    row = await bench.run()
    assert row.error is not None
    assert row.error["code"] == "invalid_dataset"
    assert re.search(hint, row.error["message"])


async def test_an_experiment_that_kills_every_worker_is_given_up(bench: Bench) -> None:
    bench.put()
    with bench.db.transaction() as session:
        storage.set_fields(session, "exp_1", attempts=bench.settings.max_attempts)
    row = await bench.run()
    assert row.error is not None
    assert row.error["code"] == "too_many_attempts"


async def test_an_experiment_that_cannot_be_read_any_more_fails_at_once(bench: Bench) -> None:
    bench.put()
    with bench.db.transaction() as session:
        storage.set_fields(session, "exp_1", spec={"of": "another time"})
    row = await bench.run()
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["code"] == "internal_error"


async def test_text_that_a_database_cannot_hold_is_kept_without_its_nul(bench: Bench) -> None:
    bench.world.speak = lambda _: "teal\x00\ud7ff"
    bench.put(conditions=["closed_book"])
    report_of(await bench.run())
    assert {answer.text for answer in bench.answers()} == {"teal\ufffd\ud7ff"}


async def test_the_same_answers_give_the_same_report(bench: Bench) -> None:
    def figures(row: models.Experiment) -> dict[str, Any]:
        kept = report_of(row).model_dump()
        return {name: kept[name] for name in ("comparisons", "means", "diff_in_diff", "headline")}

    bench.put("exp_1")
    bench.put("exp_2")
    assert figures(await bench.run("exp_1")) == figures(await bench.run("exp_2"))


async def test_what_one_experiment_asked_another_is_told_without_asking(bench: Bench) -> None:
    bench.put("exp_1")
    first = report_of(await bench.run("exp_1"))
    asked = len(bench.world.asked_order)
    bench.put("exp_2")
    bench.put("exp_3", conditions=["closed_book"], sampling={"max_tokens": 32})
    second = report_of(await bench.run("exp_2"))
    assert len(bench.world.asked_order) == asked == ANSWERS
    assert second.comparisons == first.comparisons
    assert [a.text for a in bench.answers("exp_2")] == [a.text for a in bench.answers("exp_1")]
    assert [a.citations for a in bench.answers("exp_2")] == [
        a.citations for a in bench.answers("exp_1")
    ]
    await bench.run("exp_3")
    assert len(bench.world.asked_order) == asked + ITEMS * 3


async def test_arms_of_the_same_weights_are_asked_once(bench: Bench) -> None:
    bench.put(arms=[{"name": "base", "model": BASE}, {"name": "again", "model": BASE}])
    report = report_of(await bench.run())
    assert report.counts.answers == ITEMS * 3 * 2
    assert set(bench.world.answered.values()) == {1}


async def test_an_answer_that_never_came_is_asked_again_by_the_next(bench: Bench) -> None:
    bench.world.refusal = lambda ask: InvalidRequest("No.") if ask.model == BAD else None
    bench.put("exp_1", conditions=["closed_book"])
    assert report_of(await bench.run("exp_1")).counts.unscored == ITEMS
    bench.world.refusal = lambda _: None
    bench.put("exp_2", conditions=["closed_book"])
    assert report_of(await bench.run("exp_2")).counts.unscored == 0
    assert set(bench.world.answered.values()) == {1}


async def test_repeats_are_asked_with_seeds_of_their_own_and_averaged_in_their_item(
    bench: Bench,
) -> None:
    speak = bench.world.speak
    seeds: set[int | None] = set()

    def lucky(ask: RagAsk) -> str:
        seeds.add(ask.seed)
        return speak(ask) if ask.seed == 7 else "I do not know."

    bench.world.speak = lucky
    sampling = {"temperature": 1.0, "seeds": [7, 3], "repeats": 2}
    bench.put(conditions=["oracle"], sampling=sampling)
    report = report_of(await bench.run())
    assert seeds == {7, 3}
    assert report.counts.answers == ITEMS * 3 * 2
    found = {(c.arm, c.metric): c for c in report.comparisons}
    assert found["rag", "contains_answer"].n == ITEMS
    assert found["rag", "contains_answer"].base == 0.5
    assert "McNemar" not in (found["rag", "contains_answer"].note or "")
    assert {answer.repeat for answer in bench.answers()} == {0, 1}
    asked = len(bench.world.asked_order)
    bench.put("exp_2", conditions=["oracle"], sampling=sampling | {"seeds": [7, 4]})
    await bench.run("exp_2")
    assert len(bench.world.asked_order) == asked + ITEMS * 3
