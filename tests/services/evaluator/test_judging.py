"""Experiments with a judge: every answer is scored, and the exam says what the scores are worth."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from services.common.contracts.evaluator import Report
from services.common.contracts.judge import Qualification
from services.common.errors import InvalidRequest, Unavailable
from services.evaluator import models, runner
from services.evaluator.phases import judging
from tests.services.evaluator.conftest import DOCUMENTS, GOOD, PER_DOCUMENT, Bench, specification

ITEMS = DOCUMENTS * PER_DOCUMENT
ANSWERS = ITEMS * 3 * 3  # arms, conditions
JUDGE = "small-base"


def judged(**changes: Any) -> dict[str, Any]:
    return {
        "metrics": ["accuracy"],
        "judge": {"model": JUDGE, "metrics": ["accuracy", "completeness"]} | changes,
    }


def report_of(row: models.Experiment) -> Report:
    assert row.error is None
    return Report.model_validate(row.report)


@pytest.fixture
def qualified(monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(run: Any, met: Any, *_: Any) -> Qualification:
        return Qualification(judge_sha256=met.sha256, qualified=True)

    monkeypatch.setattr(judging, "examine", examine)


async def test_a_qualified_judge_decides(bench: Bench, qualified: None) -> None:
    bench.put(**judged())
    report = report_of(await bench.run())
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    loss = found["qa", "retrieved", "accuracy"]
    assert (loss.base, loss.primary, loss.verdict) == (5.0, True, "HURTS")
    assert loss.margin == 0.25
    assert found["rag", "retrieved", "accuracy"].verdict == "EQUIVALENT"
    assert "qa HURTS retrieved accuracy by 2.67" in report.headline
    assert report.primary_metrics == ["accuracy"]
    assert report.judge is not None
    assert report.judge.decides
    assert "judging" in report.timings


async def test_a_judge_below_its_bar_decides_nothing_and_its_stand_in_does(bench: Bench) -> None:
    bench.put(**judged(stand_in="contains_answer", bar={"kappa": 0.5}))  # nobody labelled answers
    report = report_of(await bench.run())
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    shown = found["qa", "retrieved", "accuracy"]
    assert (shown.base, shown.verdict, shown.primary) == (5.0, "INCONCLUSIVE", False)
    assert "exam" in str(shown.note)
    assert report.primary_metrics == ["contains_answer"]
    assert found["qa", "retrieved", "contains_answer"].primary
    assert "HURTS retrieved contains_answer" in report.headline
    assert any("contains_answer decides in place of accuracy" in text for text in report.warnings)
    for name in ("report.md", "report.html"):
        text = bench.artifacts.read_bytes(f"experiments/exp_1/{name}").decode()
        assert "The judge" in text
        assert "not qualified" in text


async def test_every_answer_is_judged_once_by_each_criterion(bench: Bench) -> None:
    bench.put(**judged())
    report = report_of(await bench.run())
    answers = bench.answers()
    assert len(answers) == ANSWERS
    assert all(set(answer.judgments or {}) == {"accuracy", "completeness"} for answer in answers)
    one = next(a for a in answers if a.arm == "base" and a.condition == "retrieved")
    assert one.scores["accuracy"] == 5.0
    assert (one.judgments or {})["accuracy"]["scores"] == [5] * 10
    assert set(bench.world.judge.forms.values()) == {1}
    assert report.judge is not None
    figures = {(f.arm, f.condition, f.metric): f for f in report.judge.figures}
    assert figures["base", "retrieved", "accuracy"].mean == 5.0
    assert figures["base", "retrieved", "accuracy"].n == ITEMS
    assert {len(c.steps) for c in report.judge.criteria} == {3}


async def test_faithfulness_is_judged_by_all_that_the_model_was_shown(
    bench: Bench, qualified: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.world, "speak", lambda _: "The Handbook.")
    asked = judged(metrics=["faithfulness"]) | {"metrics": ["groundedness"]}
    bench.put(conditions=["retrieved"], **asked)
    await bench.run()
    assert all('"Handbook ' in prompt for prompt in bench.world.judge.forms)
    assert {answer.scores["groundedness"] for answer in bench.answers()} == {1.0}


async def test_the_same_words_are_judged_once_whoever_says_them(
    bench: Bench, qualified: None
) -> None:
    bench.put(**judged())
    await bench.run()
    # "I do not know." under three conditions by three arms is one form an item and criterion.
    assert bench.world.judge.forms.total() < 2 * ANSWERS / 2
    bench.put("exp_2", **judged())
    before = bench.world.judge.forms.total()
    await bench.run("exp_2")
    assert bench.world.judge.forms.total() == before


async def test_other_weights_in_the_middle_fail_the_experiment(bench: Bench) -> None:
    bench.put(**judged())
    turn = asyncio.create_task(bench.run())
    await bench.world.judge.has_answered(30)
    bench.world.judge.adapter_sha256 = "ab" * 32
    row = await turn
    assert row.error is not None
    assert row.error["code"] == "judge_changed"


async def test_two_answers_are_compared_in_both_orders(bench: Bench) -> None:
    bench.put(conditions=["retrieved"], **judged(pairwise=True))
    report = report_of(await bench.run())
    assert report.judge is not None
    found = {p.arm: p for p in report.judge.preferences}
    # The fake judge prefers what is shorter: the colour alone to a sentence with it.
    assert (found["rag"].wins, found["rag"].losses, found["rag"].ties) == (ITEMS, 0, 0)
    assert found["rag"].p == 2 / 2**DOCUMENTS
    rows = [a for a in bench.answers() if a.arm == "base"]
    assert all(row.preference is None for row in rows)


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """A turn ends when the first of what it judges is kept, while there is anything in this."""
    left: list[type] = [InvalidRequest]
    keep = judging._Judging._judge

    async def then_stop(phase: Any, answers: Any) -> None:
        await keep(phase, answers)
        if left:
            raise left[0]("Stopped.", code="stopped")

    monkeypatch.setattr(judging._Judging, "_judge", then_stop)
    return left


async def test_what_a_judge_could_not_be_asked_is_asked_on_resuming_and_nothing_else(
    bench: Bench, http: httpx.AsyncClient, qualified: None, stops: list[type]
) -> None:
    judge = bench.world.judge
    bench.put(conditions=["retrieved"], **judged(metrics=["accuracy"], pairwise=True))
    judge.fault, judge.at = "refused", "part0x0"
    assert (await bench.run()).status == "failed"
    assert any(_errors(answer) for answer in bench.answers())
    judge.fault = None
    stops.clear()
    assert (await http.post("/v1/experiments/exp_1/resume")).is_success
    report_of(await bench.run())
    assert not any(_errors(answer) for answer in bench.answers())
    assert set(judge.forms.values()) == {1}


def _errors(answer: models.Answer) -> list[str]:
    each = [*(answer.judgments or {}).values(), answer.preference or {}]
    return [one["error"] for one in each if one.get("error")]


async def test_an_answer_that_came_late_is_compared_with_the_baselines_of_before(
    bench: Bench, http: httpx.AsyncClient, qualified: None, stops: list[type]
) -> None:
    bench.world.refusal = lambda ask: InvalidRequest("No.") if ask.model == GOOD else None
    bench.put(conditions=["retrieved"], **judged(metrics=["accuracy"], pairwise=True))
    assert (await bench.run()).status == "failed"
    bench.world.refusal = lambda _: None
    stops.clear()
    await http.post("/v1/experiments/exp_1/resume")
    report = report_of(await bench.run())
    assert report.judge is not None
    found = {p.arm: p for p in report.judge.preferences}
    assert (found["rag"].wins, found["rag"].losses, found["rag"].ties) == (ITEMS, 0, 0)


async def test_a_judge_that_was_away_for_a_turn_is_the_same_when_it_is_back(
    bench: Bench,
    http: httpx.AsyncClient,
    qualified: None,
    stops: list[type],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.put(conditions=["retrieved"], **judged(metrics=["accuracy"]))
    assert (await bench.run()).status == "failed"
    stops.clear()

    async def away(*_: Any) -> Any:
        raise Unavailable("Away.")

    with monkeypatch.context() as gone:
        gone.setattr(judging, "meet", away)
        gone.setattr(runner, "measure", away)
        await http.post("/v1/experiments/exp_1/resume")
        assert (await bench.run()).status == "failed"
    await http.post("/v1/experiments/exp_1/resume")
    report_of(await bench.run())


async def test_rows_say_what_a_score_was_made_from(bench: Bench, http: httpx.AsyncClient) -> None:
    bench.put(conditions=["retrieved"], **judged())
    await bench.run()
    answer = await http.get("/v1/experiments/exp_1/rows", params={"arm": "base"})
    row = json.loads(answer.text.splitlines()[0])
    assert row["scores"]["accuracy"] == 5.0
    assert row["judgments"]["accuracy"]["runs"] == 10


@pytest.mark.parametrize(
    ("judge", "code", "param"),
    [
        ({"model": "nobody"}, "model_not_found", "judge.model"),
        ({"stand_in": "accuracy"}, "metric_cannot_decide", "judge.stand_in"),
        ({"stand_in": "nonsense"}, "metric_cannot_decide", "judge.stand_in"),
        (
            {"rubrics": [{"name": "token_f1", "criterion": "Good?"}]},
            "metric_exists",
            "judge.rubrics",
        ),
        ({"metrics": ["beauty"]}, None, "judge.metrics.0"),
        ({"metrics": []}, None, "judge"),
        ({"temperature": 0}, None, "judge"),
        (
            {"rubrics": [{"name": "tone", "criterion": "Nice?", "scale": [5, 1]}]},
            None,
            "judge.rubrics.0.scale",
        ),
        ({"bar": {"tau_b": 2}}, None, "judge.bar.tau_b"),
    ],
)
async def test_a_judge_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, judge: dict[str, Any], code: str | None, param: str
) -> None:
    asked = specification(**judged(**judge))
    answer = await http.post("/v1/experiments", json=asked)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert code in (None, error["code"])


async def test_a_judges_metric_needs_the_judge(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/experiments", json=specification(metrics=["accuracy"]))
    assert answer.json()["error"]["code"] == "unknown_metric"
