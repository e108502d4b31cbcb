"""A judge of an experiment sits an exam made of the experiment's own items."""

from typing import Any

from services.common.contracts.evaluator import Report
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench
from tests.services.evaluator.judges.fake import FakeJudge, agreeing, quoted
from tests.services.evaluator.world import BASE

JUDGE: dict[str, Any] = {"model": BASE, "metrics": ["accuracy"], "runs": 2, "seed": 3}


async def measured(bench: Bench, name: str, **judge: Any) -> Report:
    bench.put(name, conditions=["closed_book"], metrics=["accuracy"], judge=JUDGE | judge)
    row = await bench.run(name)
    assert row.error is None
    return Report.model_validate(row.report)


async def test_a_judge_that_passes_its_exam_decides_and_sits_it_once(bench: Bench) -> None:
    report = await measured(bench, "exp_1")
    assert report.judge is not None
    found = report.judge.qualification
    assert (found.qualified, report.judge.decides) == (True, True)
    (figures,) = found.figures
    assert figures.auc is not None
    assert figures.auc.value == 1.0
    assert figures.kinds[0].answers == DOCUMENTS * PER_DOCUMENT
    assert "examining" in report.timings
    assert (
        "| accuracy | 1.00 (1.00 to 1.00) |"
        in bench.artifacts.read_bytes("experiments/exp_1/report.md").decode()
    )
    again = await measured(bench, "exp_2")
    assert again.judge is not None
    assert again.judge.qualification.same_as == "exp_1"
    assert set(bench.world.judge.forms.values()) == {1}


async def test_a_judge_that_fails_its_exam_says_so_in_figures_and_its_stand_in_decides(
    bench: Bench,
) -> None:
    bench.world.judge = FakeJudge(opinion=lambda _: 4)
    report = await measured(bench, "exp_1", exam_items=20)
    assert report.judge is not None
    assert report.judge.decides is False
    assert report.primary_metrics == ["token_f1"]
    assert any("(τ-b) is 0.00; 0.50 is the least" in warning for warning in report.warnings)
    assert report.judge.qualification.figures[0].kinds[0].answers == 20
    html = bench.artifacts.read_bytes("experiments/exp_1/report.html").decode()
    assert "rank agreement" in html


async def test_a_judge_decides_by_what_it_passes_and_a_rubric_of_another_kind_takes_nothing_from_it(
    bench: Bench,
) -> None:
    bench.world.judge = FakeJudge(opinion=lambda p: 4 if "Is it polite?" in p else agreeing(p))
    tone = {"name": "tone", "criterion": "Is it polite?", "steps": ["Listen."]}
    report = await measured(bench, "exp_1", rubrics=[tone], metrics=["accuracy"])
    assert report.judge is not None
    assert (report.judge.decides, report.judge.qualification.failed) == (True, ["tone"])
    assert report.primary_metrics == ["accuracy"]
    verdicts = {one.metric: one.note for one in report.comparisons}
    assert "exam" in str(verdicts["tone"])
    assert "exam" not in str(verdicts["accuracy"])
    (said,) = [text for text in report.warnings if "not qualified" in text]
    assert "not qualified by tone: its scores are shown and decide nothing. tone:" in said
    for name in ("report.md", "report.html"):
        text = bench.artifacts.read_bytes(f"experiments/exp_1/{name}").decode()
        assert "by tone: these are shown and decide nothing." in text


async def test_one_that_fails_may_be_kept_from_scoring(bench: Bench) -> None:
    bench.world.judge = FakeJudge(opinion=lambda _: 4)
    report = await measured(bench, "exp_1", exam_items=20, score_unqualified=False)
    assert report.judge is not None
    assert report.judge.figures == []
    assert "it was not let score" in report.warnings[-1]
    assert not any(mean.metric == "accuracy" for mean in report.means)
    assert all(quoted("Reference answer", prompt) for prompt in bench.world.judge.forms)
    kinds = report.judge.qualification.figures[0].kinds
    assert bench.world.judge.forms.total() == sum(kind.answers for kind in kinds)
