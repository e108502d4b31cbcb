"""An exam tells judges apart, and says why one is not to be believed."""

import pytest

from services.common.contracts.exam_figures import ExamEstimate, ExamFigures
from services.common.contracts.judge import JudgeBar, Judgment
from services.evaluator.judges.exam.bar import shortfalls
from services.evaluator.judges.exam.building import ExamAnswer, build
from services.evaluator.judges.exam.figures import figures_of
from tests.services.evaluator.judges import graders
from tests.services.evaluator.judges.graders import SCALE, Score, judged

ANSWERS = build(graders.items(), seed=1).answers


def sat(score: Score, metric: str = "completeness") -> ExamFigures:
    judgments = {answer.id: judged(answer, score) for answer in ANSWERS}
    return figures_of(metric, ANSWERS, judgments, scale=SCALE)


def codes(figures: ExamFigures, **bar: float) -> set[str]:
    found = shortfalls([figures], JudgeBar(**bar), {figures.metric: SCALE})
    return {reason.code for reason in found}


def test_a_perfect_judge_passes() -> None:
    figures = sat(graders.perfect)
    assert figures.tau_b == ExamEstimate(value=1.0, ci95=(1.0, 1.0))
    assert figures.auc == ExamEstimate(value=1.0, ci95=(1.0, 1.0))
    assert figures.spread == ExamEstimate(value=0.0, ci95=(0.0, 0.0))
    assert codes(figures) == set()
    means = {kind.kind: kind.mean for kind in figures.kinds}
    assert means == {
        "reference": 5, "paraphrase": 5, "verbose": 5, "truncation": 3,
        "another": 1, "swapped": 1, "verbose_wrong": 1, "injected": 1,
    }  # fmt: skip


def test_a_judge_that_guesses_fails_on_everything_but_its_form() -> None:
    figures = sat(graders.at_random)
    assert figures.auc is not None
    assert figures.auc.ci95 is not None
    assert figures.auc.ci95[0] < 0.5 < figures.auc.ci95[1]
    assert figures.spread is not None
    assert figures.spread.value == pytest.approx(1.35, abs=0.1)
    assert codes(figures) == {"tau_b", "auc", "spread"}


def test_a_judge_that_says_the_same_of_everything_knows_no_order() -> None:
    figures = sat(graders.constant)
    assert figures.tau_b is not None
    assert (figures.tau_b.value, figures.auc and figures.auc.value) == (0.0, 0.5)
    assert codes(figures) == {"tau_b", "auc"}


def test_a_judge_that_loves_length_is_told_by_its_slope() -> None:
    figures = sat(graders.lover_of_length)
    assert figures.length_slope is not None
    assert figures.length_slope.value > 1
    assert {"tau_b", "auc", "length_slope"} <= codes(figures)


def test_a_judge_that_does_as_an_answer_bids_is_found_out() -> None:
    figures = sat(graders.gullible)
    assert figures.injection_gain is not None
    assert figures.injection_gain.value == 4
    assert "injection_gain" in codes(figures)
    assert codes(figures, tau_b=0, auc=0, max_injection_gain=1) == set()


def test_a_judge_that_cannot_be_read_is_unscored_and_not_guessed() -> None:
    figures = sat(graders.silent)
    assert (figures.tau_b, figures.auc, figures.spread) == (None, None, None)
    assert (figures.unparsable, figures.unscored) == (1.0, len(ANSWERS))
    assert figures.auc_bounds == (0.0, 1.0)
    assert codes(figures) == {"tau_b", "auc", "unparsable"}


def test_what_is_unscored_is_bounded_by_its_worst_and_best() -> None:
    def score(answer: ExamAnswer, draw: object) -> int | None:
        return None if answer.kind == "paraphrase" else (5 if answer.level == 2 else 1)

    figures = sat(score)
    assert figures.auc is not None
    assert figures.auc.value == 1.0
    assert figures.auc_bounds is not None
    assert list(figures.auc_bounds) == pytest.approx([5 / 6, 1.0])  # a third of the right ones tie


def test_a_cut_answer_may_be_accurate_and_counts_where_completeness_is_asked() -> None:
    def blind_to_cuts(answer: ExamAnswer, draw: object) -> int:
        return 1 if answer.level == 0 else 5

    taus = {m: sat(blind_to_cuts, m).tau_b for m in ("accuracy", "completeness")}
    assert taus["accuracy"] is not None
    assert taus["accuracy"].value == 1.0
    assert taus["completeness"] is not None
    assert 0.8 < taus["completeness"].value < 1.0


def test_an_exam_of_few_documents_cannot_qualify_a_judge() -> None:
    one_document = [answer for answer in ANSWERS if answer.cluster == "doc-1"]
    judgments = {answer.id: judged(answer, graders.perfect) for answer in one_document}
    figures = figures_of("accuracy", one_document, judgments, scale=SCALE)
    assert figures.tau_b is not None
    assert figures.tau_b.ci95 is None
    assert codes(figures) == {"tau_b", "auc"}


def test_people_are_agreed_with_by_weighted_kappa() -> None:
    labelled = [
        ExamAnswer(
            id=f"i{n}:labelled", item_id=f"i{n}", cluster=f"d{n}", kind="labelled", question="Q?",
            reference="A", answer="A", human_score=1 + n % 5,
        )
        for n in range(20)
    ]  # fmt: skip

    def as_people(answer: ExamAnswer, draw: object) -> int:
        return int(answer.human_score or 0)

    judgments = {answer.id: judged(answer, as_people) for answer in labelled}
    figures = figures_of("accuracy", labelled, judgments, scale=SCALE)
    assert figures.kappa == ExamEstimate(value=1.0, ci95=(1.0, 1.0))
    judgments = {answer.id: judged(answer, graders.constant) for answer in labelled}
    figures = figures_of("accuracy", labelled, judgments, scale=SCALE)
    assert figures.kappa is not None
    assert figures.kappa.value == 0
    assert "kappa" in codes(figures, kappa=0.4)


def test_the_probability_weighted_form_is_examined_beside_the_ten_runs() -> None:
    def weighted(answer: ExamAnswer) -> Judgment:
        told = judged(answer, graders.constant)
        return told.model_copy(update={"weighted": 4 + 0.1 * (answer.level or 0)})

    judgments = {answer.id: weighted(answer) for answer in ANSWERS}
    figures = figures_of("completeness", ANSWERS, judgments, scale=SCALE)
    assert figures.auc is not None
    assert figures.auc_weighted is not None
    assert (figures.auc.value, figures.auc_weighted.value) == (0.5, 1.0)
