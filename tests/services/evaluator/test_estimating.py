"""What an experiment will take, what it has spent, and going on with one that stopped."""

import asyncio
from typing import Any

import httpx
import pytest

from services.common.contracts.budget import BudgetAsk, Estimate, Spent
from services.common.contracts.evaluator import Comparison, Experiment, ExperimentCreate
from services.common.contracts.generator import RagAsk
from services.common.errors import FineproofError, InvalidRequest
from services.evaluator.estimating import Past, PastRun, Sized, estimate, past_of
from services.evaluator.spending import BudgetExceeded, check
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench, specification
from tests.services.evaluator.world import BASE

URL = "/v1/experiments"
ITEMS = DOCUMENTS * PER_DOCUMENT
ANSWERS = ITEMS * 3 * 3
PRICES = {name: {"prompt": 1.0, "completion": 2.0} for name in ("base", "qa", "rag")}
TOKENS_AN_ANSWER = 12  # of the stand-in


def spec(**changes: Any) -> ExperimentCreate:
    return ExperimentCreate.model_validate(specification(**changes))


SIZED = Sized(
    items=100,
    documents=[10] * 10,
    answerable=40,
    prompts={"closed_book": 400.0, "retrieved": 4_000.0, "oracle": 2_000.0, "distractors": 4_000.0},
    answer_characters=40.0,
)


def test_the_figures_are_those_of_the_data_and_its_prompts() -> None:
    found = estimate(spec(prices=PRICES), SIZED, Past())
    assert found.answers == (100 + 100 + 40) * 3
    assert found.prompt_tokens == (100 * 100 + 100 * 1_000 + 40 * 500) * 3
    assert found.completion_tokens == 240 * 64 * 3
    assert found.cost == pytest.approx(
        (found.prompt_tokens + 2 * found.completion_tokens) / 1_000_000
    )
    assert found.minutes == 720 / 60
    assert {effect.source for effect in found.smallest_effects} == {"worst_case"}
    assert found.over_budget == []


def test_repeats_training_seeds_and_a_judge_are_counted() -> None:
    once = estimate(spec(), SIZED, Past())
    repeated = estimate(spec(sampling={"temperature": 1, "repeats": 3}), SIZED, Past())
    assert repeated.answers == 3 * once.answers
    tune = {"base_model": "small-base", "training_file": "file_2", "seeds": [1, 2]}
    seeded = [{"name": "base", "model": "small-base"}, {"name": "qa", "tune": tune}]
    assert estimate(spec(arms=seeded), SIZED, Past()).answers == once.answers
    judged = estimate(spec(judge={"model": "small-base"}), SIZED, Past())
    assert judged.judge_tokens > once.answers * 2 * 400
    few, more = (
        estimate(spec(judge={"model": "small-base", "exam_items": n}), SIZED, Past()).judge_tokens
        for n in (20, 30)
    )
    # Ten items more, eight answers to each, two metrics: a prompt and ten forms of each.
    assert more - few == 10 * 8 * 2 * (400 + 20 + 10 * 8)
    paired = estimate(spec(judge={"model": "small-base", "pairwise": True}), SIZED, Past())
    shown = 400 + 30  # the question's reference and two answers, without passages
    assert paired.judge_tokens - judged.judge_tokens == 2 * 240 * 2 * (shown + 8)
    assert judged.cost is None
    assert any("judge" in sentence for sentence in judged.assumptions)


def test_without_past_runs_each_metric_is_planned_on_its_own_scale() -> None:
    yes_or_no = {"name": "kind", "criterion": "Is it kind?", "scale": [0, 1]}
    judge = {"model": "small-base", "rubrics": [yes_or_no]}
    asked = spec(judge=judge, metrics=["token_f1", "accuracy", "kind"])
    found = {effect.metric: effect for effect in estimate(asked, SIZED, Past()).smallest_effects}
    assert {name: effect.deviation for name, effect in found.items()} == {
        "token_f1": 0.5,
        "accuracy": 1.0,
        "kind": 0.5,
    }


def test_passages_are_in_the_forms_of_criteria_that_see_them() -> None:
    plain, seeing = (
        estimate(spec(judge={"model": "small-base", "metrics": [name]}), SIZED, Past()).judge_tokens
        for name in ("accuracy", "faithfulness")
    )
    # The same exam; no form for the 100 answers of each arm that were given no passages.
    assert seeing - plain == 3 * ((100 * 1_000 + 40 * 500) - 100 * (400 + 20 + 10 * 8))


async def test_a_forgetting_panel_is_counted(http: httpx.AsyncClient) -> None:
    without, counted = [
        Estimate.model_validate_json(
            (await http.post(f"{URL}/estimate", json=specification(**changes))).content
        )
        for changes in (dict[str, Any](), {"forgetting": {}})
    ]
    assert counted.answers - without.answers == 40 * 3
    assert counted.prompt_tokens > without.prompt_tokens
    assert counted.minutes > without.minutes


def test_past_runs_say_how_long_an_answer_takes_and_how_much_scores_spread() -> None:
    compared = Comparison(
        arm="qa",
        baseline="base",
        condition="retrieved",
        metric="token_f1",
        base=0.5,
        tuned=0.5,
        diff=0.0,
        ci95=(-0.0392, 0.0392),
        p=1.0,
        p_holm=1.0,
        n=100,
        clusters=10,
        verdict="EQUIVALENT",
        primary=True,
    )
    runs = [
        PastRun(64, 100.0, Spent(asked=50, completion_tokens=500), [compared]),
        PastRun(32, 100.0, Spent(asked=50, completion_tokens=5_000), []),
        PastRun(64, 1.0, Spent(cached=50), []),
    ]
    before = past_of(runs, max_tokens=64)
    assert (before.seconds_an_answer, before.completion_tokens) == (2.0, 10.0)
    assert before.deviations["token_f1"] == pytest.approx(0.2, rel=1e-3)
    found = estimate(spec(), SIZED, before)
    assert found.completion_tokens == 720 * 10
    assert found.minutes == 720 * 2 / 60
    effects = {effect.metric: effect for effect in found.smallest_effects}
    assert effects["token_f1"].source == "past_runs"
    assert effects["contains_answer"].source == "worst_case"
    told, worst = effects["token_f1"].effect, effects["contains_answer"].effect
    assert told is not None
    assert worst is not None
    assert told < worst
    assert past_of([], max_tokens=64) == Past()


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        ({"max_tokens": 1_000}, ["max_tokens"]),
        ({"max_cost": 0.001}, ["max_cost"]),
        ({"max_minutes": 1}, ["max_minutes"]),
        ({"max_tokens": 10**9, "max_cost": 10, "max_minutes": 600}, []),
        ({"max_tokens": 1, "max_minutes": 1}, ["max_tokens", "max_minutes"]),
    ],
)
def test_each_limit_that_would_be_passed_is_named(budget: dict[str, Any], names: list[str]) -> None:
    found = estimate(spec(budget=budget, prices=PRICES), SIZED, Past())
    assert len(found.over_budget) == len(names)
    for sentence, name in zip(found.over_budget, names, strict=True):
        assert name in sentence


def test_what_was_spent_stops_at_the_limit_and_not_before() -> None:
    check(BudgetAsk(max_tokens=10), Spent(prompt_tokens=9, completion_tokens=1))
    with pytest.raises(BudgetExceeded, match="max_tokens"):
        check(BudgetAsk(max_tokens=10), Spent(prompt_tokens=9, judge_tokens=2))
    with pytest.raises(BudgetExceeded, match="max_minutes"):
        check(BudgetAsk(max_minutes=1), Spent(minutes=1.5))


async def test_an_estimate_counts_the_items_of_the_file_and_asks_no_model(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    response = await http.post(f"{URL}/estimate", json=specification(prices=PRICES))
    assert response.status_code == 200, response.text
    found = Estimate.model_validate_json(response.content)
    assert (found.items, found.documents, found.answers) == (ITEMS, DOCUMENTS, ANSWERS)
    assert found.spec_sha256 == spec().sha256
    assert found.cost is not None
    assert bench.world.asked_order == []
    assert (await http.get(URL)).json()["data"] == []
    bench.put()
    await bench.run()
    later = (await http.post(f"{URL}/estimate", json=specification())).json()
    assert later["completion_tokens"] == 3 * ANSWERS
    assert later["minutes"] < found.minutes
    assert sum("past runs" in sentence for sentence in later["assumptions"]) == 2


async def test_a_file_that_cannot_be_read_cannot_be_estimated_either(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.world.raw_lines = ["not json"]
    refused = await http.post(f"{URL}/estimate", json=specification())
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_dataset")


async def test_what_would_pass_its_budget_is_refused_before_it_is_kept(
    http: httpx.AsyncClient,
) -> None:
    refused = await http.post(URL, json=specification(budget={"max_tokens": 1_000}))
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "budget_exceeded",
        "budget",
    )
    assert "max_tokens" in error["message"]
    assert (await http.get(URL)).json()["data"] == []
    allowed = await http.post(URL, json=specification(budget={"max_tokens": 10**7}))
    assert allowed.status_code == 201


async def test_a_run_that_passes_its_budget_stops_and_goes_on_with_a_larger_one(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.settings.max_concurrency = 4
    bench.put(budget={"max_tokens": 100 * TOKENS_AN_ANSWER}, prices=PRICES)
    stopped = await bench.run()
    assert stopped.error is not None
    assert (stopped.status, stopped.error["code"]) == ("failed", "budget_exceeded")
    asked = bench.world.answered.total()
    assert 100 < asked <= 100 + bench.settings.max_concurrency
    assert len(bench.answers()) == asked
    shown = Experiment.model_validate_json((await http.get(f"{URL}/exp_1")).content)
    assert shown.spent.asked == asked
    assert shown.spent.tokens == asked * TOKENS_AN_ANSWER
    assert shown.spent.cost == pytest.approx(asked * (9 + 2 * 3) / 1e6)

    refused = await http.post(f"{URL}/exp_1/resume")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "budget_exceeded")
    resumed = await http.post(f"{URL}/exp_1/resume", json={"budget": {"max_tokens": 10**6}})
    assert resumed.status_code == 200, resumed.text
    assert resumed.json()["status"] == "queued"
    assert resumed.json()["error"] is None
    assert (await bench.run()).status == "completed"
    assert set(bench.world.answered.values()) == {1}


async def test_a_cancelled_run_goes_on_where_it_was(http: httpx.AsyncClient, bench: Bench) -> None:
    bench.world.delay = 0.02
    bench.put()
    turn = asyncio.create_task(bench.run())
    await bench.world.has_answered(20)
    assert (await http.post(f"{URL}/exp_1/resume")).status_code == 409
    assert (await http.post(f"{URL}/exp_1/cancel")).status_code == 200
    assert (await asyncio.wait_for(turn, 10)).status == "canceled"
    kept = len(bench.answers())
    bench.world.delay = 0
    assert (await http.post(f"{URL}/exp_1/resume")).json()["status"] == "queued"
    before = len(bench.world.asked_order)
    assert (await bench.run()).status == "completed"
    assert len(bench.world.asked_order) - before <= ANSWERS - kept
    finished = await http.post(f"{URL}/exp_1/resume")
    assert (finished.status_code, finished.json()["error"]["code"]) == (409, "experiment_finished")
    assert (await http.post(f"{URL}/exp_none/resume")).status_code == 404


async def test_what_never_got_an_answer_is_asked_again_on_resuming(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    def refusal(_: RagAsk) -> FineproofError | None:
        return InvalidRequest("Not now.")

    bench.world.refusal = refusal
    bench.put(conditions=["closed_book"])
    assert (await bench.run()).status == "failed"
    bench.world.refusal = lambda _: None
    assert (await http.post(f"{URL}/exp_1/resume", json={})).status_code == 200
    assert (await bench.run()).status == "completed"
    assert not any(answer.error for answer in bench.answers())


async def test_a_judge_spends_of_the_budget_too(http: httpx.AsyncClient, bench: Bench) -> None:
    answers = ITEMS * 3 * TOKENS_AN_ANSWER
    bench.put(
        conditions=["closed_book"],
        judge={"model": BASE, "runs": 2, "metrics": ["accuracy"]},
        budget={"max_tokens": answers + 100},
        prices={"judge": {"prompt": 1_000_000, "completion": 0}},
    )
    stopped = await bench.run()
    assert stopped.error is not None
    assert (stopped.phase, stopped.error["code"]) == ("examining", "budget_exceeded")
    shown = Experiment.model_validate_json((await http.get(f"{URL}/exp_1")).content)
    assert shown.spent.judge_tokens > 100
    assert shown.spent.tokens == answers + shown.spent.judge_tokens
    assert shown.spent.cost > 0
    await http.post(f"{URL}/exp_1/resume", json={"budget": {}})
    assert (await bench.run()).status == "completed"
    assert set(bench.world.judge.forms.values()) == {1}
    assert set(bench.world.answered.values()) == {1}


async def test_what_an_unqualified_judges_exam_took_is_spent(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.put(
        conditions=["closed_book"],
        judge={"model": BASE, "runs": 2, "bar": {"kappa": 0.5}, "score_unqualified": False},
    )
    assert (await bench.run()).status == "completed"
    shown = Experiment.model_validate_json((await http.get(f"{URL}/exp_1")).content)
    forms = bench.world.judge.forms
    assert shown.spent.judge_tokens >= forms.total() > 0


async def test_minutes_that_are_spent_stop_a_run_before_it_asks(bench: Bench) -> None:
    bench.put(budget={"max_minutes": 1e-6})
    stopped = await bench.run()
    assert stopped.error is not None
    assert stopped.error["code"] == "budget_exceeded"
    assert bench.world.asked_order == []
