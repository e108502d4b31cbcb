"""Reports built from answers, and how they read."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from services.common.contracts.evaluator import ExperimentCreate, Report, ReportArm
from services.common.contracts.generator import AdapterProof, Condition
from services.common.contracts.leakage import KnownFacts, ReportTraining, TrainingOverlap
from services.evaluator.environment import environment
from services.evaluator.figures import forest_svg
from services.evaluator.metrics import METRICS
from services.evaluator.rendering import render_html, render_markdown
from services.evaluator.report import Measured, MeasuredAnswer, MeasuredItem, build_report
from tests.services.evaluator.conftest import specification

CONDITIONS: tuple[Condition, ...] = ("closed_book", "retrieved", "oracle")
HOSTILE = "<script>alert(1)</script> | x"


def measured(documents: int = 24, *, failing: str = "", **spec: Any) -> Measured:
    """Arm ``qa`` gets half of what the base gets right once it has passages."""
    ask = ExperimentCreate.model_validate(specification(**spec))
    items = [
        MeasuredItem(f"i{n}", f"d{n // 2}", [f"p{n}"], ["x", f"p{n}"], [f"p{n}"])
        for n in range(2 * documents)
    ]
    answers = [
        MeasuredAnswer(
            item_id=item.item_id,
            arm=arm.name,
            condition=condition,
            scores=dict.fromkeys(METRICS)
            if arm.name == failing
            else dict.fromkeys(
                METRICS,
                float(condition != "closed_book" and (arm.name != "qa" or n % 2 == 0)),
            ),
            finish_reason="length" if arm.name == "rag" else "stop",
            left_out=0,
            failed=arm.name == failing,
        )
        for n, item in enumerate(items)
        for condition in ask.conditions
        for arm in ask.arms
    ]
    proof = AdapterProof(
        adapter="ft:small-base:qa:1",
        replica="r",
        sha256="ab" * 32,
        modules_in_file=210,
        modules_matched=210,
        max_abs_logprob_delta=1.234,
        peft_max_abs_diff=0.01,
        tolerance=0.05,
        checked_at=0,
    )
    return Measured(
        experiment_id="exp_1",
        created_at=1_700_000_000,
        name=ask.name,
        spec=ask,
        dataset_sha256="cd" * 32,
        arms=[
            ReportArm(
                name=arm.name, model=arm.model or "ft:made", adapter=None, recipe=None, sha256=None
            )
            for arm in ask.arms
        ],
        proofs=[proof],
        items=items,
        answers=answers,
        timings={"answering": 12.5},
        environment=environment(),
    )


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(measured())


def test_every_arm_condition_and_metric_has_its_mean_and_comparison(report: Report) -> None:
    assert len(report.means) == 3 * 3 * len(METRICS)
    assert len(report.comparisons) == 2 * 3 * len(METRICS)
    family = [c for c in report.comparisons if c.primary]
    assert len(family) == 2 * 3 * 2
    assert all(c.p_holm is not None and c.p_holm >= c.p for c in family)
    assert all(c.p_holm is None for c in report.comparisons if not c.primary)


def test_a_difference_is_the_difference_of_the_two_means(report: Report) -> None:
    for comparison in report.comparisons:
        assert comparison.diff == pytest.approx(comparison.tuned - comparison.base)
        assert comparison.ci95[0] <= comparison.diff <= comparison.ci95[1]


def test_a_metric_where_less_is_better_turns_the_verdict_round(report: Report) -> None:
    found = {c.metric: c for c in report.comparisons if (c.arm, c.condition) == ("qa", "oracle")}
    assert found["contains_answer"].diff == found["refusal"].diff == -0.5
    assert (found["contains_answer"].verdict, found["refusal"].verdict) == ("HURTS", "HELPS")
    assert found["answer_length"].verdict == "INCONCLUSIVE"
    assert "neither side" in (found["answer_length"].note or "")


def test_the_value_of_retrieval_is_its_own_family(report: Report) -> None:
    loss = {(d.arm, d.metric): d for d in report.diff_in_diff}
    assert set(loss) == {(a, m) for a in ("qa", "rag") for m in report.primary_metrics}
    assert loss["qa", "token_f1"].estimate == -0.5
    assert loss["qa", "token_f1"].verdict == "HURTS"
    assert loss["rag", "token_f1"].verdict == "EQUIVALENT"


def test_without_closed_book_there_is_no_difference_in_differences() -> None:
    assert build_report(measured(conditions=["retrieved"])).diff_in_diff == []


def test_answers_that_are_cut_off_are_warned_of(report: Report) -> None:
    assert (
        "144 of 432 answers were cut off at 64 tokens, most of rag's under closed_book (48 of 48)."
        in report.warnings
    )


def test_an_arm_without_a_scored_answer_is_no_figure_but_a_warning() -> None:
    report = build_report(measured(failing="qa"))
    assert not [mean for mean in report.means if mean.arm == "qa"]
    assert not [c for c in report.comparisons if c.arm == "qa"]
    assert any("6 of 12 declared comparisons" in warning for warning in report.warnings)
    assert report.counts.unscored == 48 * 3


def test_answers_that_never_came_bound_the_comparison_and_may_undo_its_verdict() -> None:
    whole = measured()
    lost = {f"i{n}" for n in range(0, 48, 2)}
    answers = [
        replace(answer, scores=dict.fromkeys(METRICS), failed=True)
        if answer.arm == "qa" and answer.condition == "retrieved" and answer.item_id in lost
        else answer
        for answer in whole.answers
    ]
    report = build_report(replace(whole, answers=answers))
    first = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    hit = first["qa", "retrieved", "token_f1"]
    assert (hit.n, hit.unscored, hit.bounds) == (24, 24, (-1.0, -0.5))
    untouched = first["rag", "retrieved", "token_f1"]
    assert (untouched.unscored, untouched.bounds) == (0, None)
    value = next(d for d in report.diff_in_diff if (d.arm, d.metric) == ("qa", "token_f1"))
    assert value.verdict == "HURTS"
    report = build_report(replace(whole, answers=[a for a in answers if a.condition == "oracle"]))
    assert all(c.unscored == 0 for c in report.comparisons)


def test_repeats_that_never_came_are_counted_and_bounded() -> None:
    """One scored answer of ten is no scored item."""
    whole = measured()
    lost = [
        replace(a, scores=dict.fromkeys(METRICS), failed=True) if a.arm == "rag" else a
        for a in whole.answers
    ]
    report = build_report(replace(whole, answers=[*whole.answers, *lost * 9]))
    found = {(c.arm, c.condition, c.metric): c for c in report.comparisons}
    hit = found["rag", "retrieved", "token_f1"]
    assert (hit.verdict, hit.n, hit.unscored) == ("INCONCLUSIVE", 48, 432)
    assert hit.bounds == pytest.approx((-0.9, 0.0))
    untouched = found["qa", "retrieved", "token_f1"]
    assert (untouched.verdict, untouched.unscored, untouched.bounds) == ("HURTS", 0, None)
    value = next(d for d in report.diff_in_diff if (d.arm, d.metric) == ("rag", "token_f1"))
    assert (value.verdict, value.unscored) == ("INCONCLUSIVE", 864)


def trained(*lacking: int) -> Measured:
    """Arm ``qa`` of three trainings, the ``lacking`` of which were not heard in its later half."""
    tuned = {"base_model": "small-base", "training_file": "file_2", "seeds": [1, 2, 3]}
    arms = [{"name": "base", "model": "small-base"}, {"name": "qa", "tune": tuned}]
    one = measured()
    answers = [
        replace(
            a,
            training_seed=seed,
            scores=dict.fromkeys(METRICS)
            if seed in lacking and int(a.item_id[1:]) >= 24
            else a.scores,
        )
        for a in one.answers
        if a.arm != "rag"
        for seed in ((1, 2, 3) if a.arm == "qa" else (0,))
    ]
    spec = ExperimentCreate.model_validate(specification(arms=arms))
    return replace(one, spec=spec, arms=one.arms[:1], answers=answers)


def test_items_that_one_training_has_no_score_of_are_bounded_and_in_no_mean() -> None:
    report = build_report(trained(2))
    found = next(c for c in report.comparisons if c.condition == "retrieved")
    assert (found.n, found.clusters, found.unscored) == (24, 12, 24)
    assert found.tuned - found.base == found.diff == -0.5
    # A third of the answers to half the items: a sixth of all, between 0 and 1.
    assert found.bounds == pytest.approx((0.5 * 5 / 6 - 1, 0.5 * 5 / 6 + 1 / 6 - 1))
    value = next(d for d in report.diff_in_diff if d.metric == "token_f1")
    assert (value.verdict, value.n, value.clusters) == ("HURTS", 24, 12)
    assert (value.unscored, value.margin) == (48, 0.05)
    assert value.bounds is not None
    assert value.bounds[0] < value.estimate < value.bounds[1] < 0


def test_repeats_are_averaged_within_their_item_and_their_spread_is_told() -> None:
    whole = measured(sampling={"repeats": 2, "temperature": 0.7})
    other = [replace(a, scores={**a.scores, "token_f1": 0.5}) for a in whole.answers]
    report = build_report(replace(whole, answers=[*whole.answers, *other]))
    base = next(m for m in report.means if (m.arm, m.condition) == ("base", "retrieved"))
    assert (base.metric, base.mean, base.spread) == ("contains_answer", 1.0, 0.0)
    f1 = [m for m in report.means if m.metric == "token_f1" and m.arm == "base"]
    # Repeats of 1 and 0.5, or of 0 and 0.5: a quarter either side of their mean.
    assert [m.mean for m in f1] == [0.25, 0.75, 0.75]
    assert [m.spread for m in f1] == pytest.approx([0.125**0.5] * 3)
    compared = next(c for c in report.comparisons if c.metric == "token_f1")
    assert compared.n == 48


def test_trainings_of_one_arm_are_told_apart_in_its_comparison() -> None:
    report = build_report(trained())
    found = next(c for c in report.comparisons if c.condition == "retrieved")
    assert (found.verdict, found.n, found.clusters) == ("HURTS", 48, 24)
    assert found.seeds is not None
    assert found.seeds.diffs == [-0.5] * 3
    assert found.seeds.deviation == 0


def test_few_documents_and_few_resamples_are_warned_of() -> None:
    report = build_report(
        measured(documents=4, statistics={"resamples": 1000, "permutations": 1000})
    )
    assert any("4 documents" in warning for warning in report.warnings)
    assert any("1000 resamples are few for 12" in warning for warning in report.warnings)
    assert not {c.verdict for c in report.comparisons} & {"HELPS", "HURTS"}


def test_a_report_survives_json_and_holds_no_nan(report: Report) -> None:
    text = report.model_dump_json()
    assert Report.model_validate_json(text) == report
    assert "NaN" not in text
    assert "Infinity" not in text


class Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#")
        ]


def test_the_page_is_one_file_that_fetches_and_runs_nothing(report: Report) -> None:
    html = render_html(report, forest_svg(report))
    page = Page()
    page.feed(html)
    assert page.fetched == []
    assert "script" not in page.tags
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    for text in (report.headline, "HURTS", "210 of 210", "prefers-color-scheme: dark"):
        assert text in html


def test_names_from_outside_cannot_become_markup(report: Report) -> None:
    hostile = report.model_copy(
        update={
            "name": HOSTILE,
            "headline": HOSTILE,
            "warnings": [HOSTILE],
            "dataset": report.dataset.model_copy(update={"name": HOSTILE}),
        }
    )
    html = render_html(hostile, forest_svg(hostile))
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 4
    markdown = render_markdown(hostile)
    assert "<script>" not in markdown.replace("\\<", "")
    assert "\\| x" in markdown


def test_the_figure_is_plain_svg_in_the_page_s_own_ink(report: Report) -> None:
    svg = forest_svg(report)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "qa · retrieved · contains_answer" in svg
    assert svg == forest_svg(report)


def test_markdown_tables_have_as_many_cells_in_each_row(report: Report) -> None:
    widths: list[int] = []
    for line in [*render_markdown(report).splitlines(), ""]:
        if line.startswith("|"):
            widths.append(line.count("|"))
        elif widths:
            assert len(set(widths)) == 1
            assert len(widths) > 2
            widths = []


def test_the_machine_is_named() -> None:
    made_on = environment()
    assert made_on.cpu
    assert made_on.cores >= 1
    assert made_on.memory_bytes > 2**28
    assert {"python", "fineproof", "numpy", "scipy"} <= set(made_on.versions)


def test_what_the_arms_were_tuned_on_stands_in_both_forms(report: Report) -> None:
    told = report.model_copy(
        update={
            "training": [
                ReportTraining(
                    arm="qa",
                    training_file="file_1",
                    overlap=TrainingOverlap(rows=200, items=48, gold=7),
                    facts=KnownFacts(asked=10, known=0.5, weakly_known=0.25, unknown=0.25),
                ),
                ReportTraining(arm="rag", reason="No such job."),
            ]
        }
    )
    assert "| qa | 200 | 0 | 0 | 7 | 0 | 25 % |" in render_markdown(told)
    page = render_html(told, forest_svg(told))
    assert "What the arms were tuned on" in page
    assert "What the arms were tuned on" not in render_html(report, forest_svg(report))
