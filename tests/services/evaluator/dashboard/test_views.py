"""What pages show, computed without a server."""

from collections.abc import AsyncIterator

import pytest

from services.common.contracts.evaluator import AnswerRow
from services.evaluator.dashboard.answers import RowsAsk, rows_view
from services.evaluator.dashboard.plots import curve, forest, scale
from services.evaluator.dashboard.proofs import adapter_views, findings
from services.evaluator.dashboard.training import job_view, loss_view
from services.evaluator.dashboard.verdicts import arm_tables
from services.evaluator.dashboard.words import ago, duration, figure, p_value, signed, term
from tests.services.evaluator.dashboard import samples


def test_a_scale_has_round_ticks_that_hold_every_value() -> None:
    drawn = scale([-0.63, 0.24])
    assert drawn.ticks == (-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4)
    assert drawn.percent(-0.8) == 0
    assert drawn.percent(0.4) == 100


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5], [float("nan"), 1.0], [1e9, 1e9 + 1e-9]])
def test_a_scale_bears_values_that_span_nothing(values: list[float]) -> None:
    drawn = scale(values)
    assert drawn.low < drawn.high


def test_panels_of_shares_have_one_scale_and_zero_lies_between_the_margins() -> None:
    panels = forest(samples.report("exp_1").comparisons, margin=0.05)
    assert [panel.metric for panel in panels] == ["contains_answer", "token_f1", "refusal"]
    assert len({panel.zero for panel in panels}) == 1
    assert panels[0].margin_left < panels[0].zero < panels[0].margin_right
    hurt = panels[0].rows[1]
    assert hurt.left < hurt.point < hurt.right < panels[0].zero


def test_fewer_refusals_are_better_so_the_sides_of_their_panel_change() -> None:
    panels = forest(samples.report("exp_1").comparisons, margin=0.05)
    assert [panel.right_is_better for panel in panels] == [True, True, False]


def test_a_long_curve_is_thinned_and_keeps_its_last_point() -> None:
    drawn = curve({"loss": [(step, 1 / step) for step in range(1, 5001)]})
    assert drawn is not None
    points = drawn.lines[0].points.split(" ")
    assert len(points) <= 601
    assert points[-1].startswith("1000.0,")


def test_metrics_events_without_numbers_draw_nothing() -> None:
    odd = samples.events([1.0])
    odd[1].data = {"step": "one", "train_loss": None}
    assert loss_view(odd) is None


def test_a_job_shows_resolved_hyperparameters_and_its_recipe() -> None:
    view = job_view(samples.job())
    assert view.recipe == "rag"
    assert view.settings == [("lora.r", "16"), ("n_epochs", "2")]
    assert view.share == pytest.approx(0.26)
    assert view.live


def test_a_proof_names_what_does_not_hold() -> None:
    hold = [finding.holds for finding in findings(samples.proof())]
    assert hold == [True, True, True]
    partial, silent, apart = findings(
        samples.proof(modules_matched=105, max_abs_logprob_delta=0.0, peft_max_abs_diff=0.2)
    )
    assert [partial.holds, silent.holds, apart.holds] == [False, False, False]
    assert "dropped" in partial.answer
    assert "the base model is being served" in silent.answer
    assert "not the same adapter" in apart.answer


def test_an_adapter_that_is_registered_and_loaded_is_one_adapter() -> None:
    only = samples.adapter(id="ft:other", created_at=samples.AT + 1)
    both = adapter_views([samples.record()], [samples.adapter(), only])
    assert [view.name for view in both] == ["ft:other", samples.QA]
    assert both[1].record is not None
    assert both[1].proven


def test_metrics_that_decide_nothing_stand_apart() -> None:
    [table] = arm_tables(samples.report("exp_1"))
    assert [group.metric for group in table.decides] == ["contains_answer", "token_f1"]
    assert [group.metric for group in table.besides] == ["refusal"]
    assert dict(table.tally) == {"HURTS": 1, "HELPS": 1, "EQUIVALENT": 1, "INCONCLUSIVE": 1}


async def test_an_unscored_answer_neither_loses_nor_gains() -> None:
    rows = [
        samples.row(1, "base"),
        samples.row(1, "qa", answer=None, scores={"contains_answer": None}, error="timed out"),
    ]
    for outcome, found in (("lost", 0), ("gained", 0), ("unscored", 1), ("all", 1)):
        ask = RowsAsk("retrieved", (), outcome, "contains_answer", 1)  # type: ignore[arg-type]
        view = await rows_view(_streamed(rows), samples.spec(), ask)
        assert view.found == found


async def test_a_lower_share_of_refusals_counts_as_better() -> None:
    scores = {"contains_answer": 1.0, "refusal": 1.0}
    rows = [samples.row(1, "base", scores=scores), samples.row(1, "qa", scores={"refusal": 0.0})]
    ask = RowsAsk("retrieved", (), "gained", "refusal", 1)
    view = await rows_view(_streamed(rows), samples.spec(), ask)
    [scored] = view.items[0].answers[1].scores
    assert scored.change == -1.0
    assert scored.better is True


async def test_what_a_judge_scores_lower_counts_as_worse() -> None:
    rows = [
        samples.row(1, arm, scores={"accuracy": score})
        for arm, score in (("base", 5.0), ("qa", 1.0))
    ]
    for outcome, found in (("lost", 1), ("gained", 0)):
        ask = RowsAsk("retrieved", (), outcome, "accuracy", 1)  # type: ignore[arg-type]
        assert (await rows_view(_streamed(rows), samples.spec(), ask)).found == found


async def test_each_repeat_is_shown_and_read_against_the_baselines_of_the_same() -> None:
    rows = [
        samples.row(1, arm, scores={"token_f1": score}).model_copy(update={"repeat": repeat})
        for arm, scores in (("base", (1.0, 0.0)), ("qa", (0.5, 0.5)))
        for repeat, score in enumerate(scores)
    ]
    ask = RowsAsk("retrieved", (), "lost", "token_f1", 1)
    view = await rows_view(_streamed(rows), samples.spec(), ask)
    given = view.items[0].answers
    assert [one.name for one in given] == ["base", "base, repeat 1", "qa", "qa, repeat 1"]
    assert [one.scores[0].change for one in given] == [None, None, -0.5, 0.5]


async def _streamed(rows: list[AnswerRow]) -> AsyncIterator[AnswerRow]:
    for row in rows:
        yield row


def test_figures_read_as_in_print() -> None:
    assert figure(-0.42) == "−0.42"
    assert figure(-0.001) == "0.00"
    assert figure(None) == figure(float("nan")) == "–"
    assert (signed(0.2), signed(0.0), signed(-1234.5)) == ("+0.20", "0.00", "−1,234.50")
    assert (p_value(0.0002), p_value(0.04), p_value(None)) == ("< 0.001", "0.040", "–")
    assert [duration(s) for s in (0.2, 59, 94, 3600, 4830)] == [
        "0 s",
        "59 s",
        "2 min",
        "1 h",
        "1 h 20 min",
    ]
    assert ago(0, at=90) == "1 min ago"
    assert ago(0, at=90_000) == "1 day ago"
    assert term("valid_loss") == "Valid loss"
