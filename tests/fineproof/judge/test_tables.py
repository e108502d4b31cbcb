import io

from rich.console import Console

from fineproof.judge.tables import show
from services.common.contracts.exam import Exam
from services.evaluator.judges.exam.building import build
from services.evaluator.judges.exam.figures import figures_of
from tests.services.evaluator.judges import graders

LONG = "ft:smollm2-135m-instruct:judge:ftjob_01a226998378890b803cbc57"


def exam(score: graders.Score) -> Exam:
    answers = build(graders.items(), seed=1).answers
    judgments = {answer.id: graders.judged(answer, score) for answer in answers}
    figures = figures_of("accuracy", answers, judgments, scale=graders.SCALE)
    return Exam.model_construct(
        model=LONG,
        items=40,
        documents=20,
        spec=type("Spec", (), {"runs": 10}),
        figures=[figures],
        qualified=True,
        reasons=[],
    )


def test_figures_are_whole_under_long_names_on_a_narrow_terminal() -> None:
    printed = io.StringIO()
    exams = {LONG: exam(graders.at_random), "another-judge": exam(graders.perfect)}
    show(exams, Console(file=printed, width=80))
    text = printed.getvalue()
    assert "…" not in text
    for words in ("right against wrong, AUC", "mean of verbose_wrong (40)", "1.00 [1.00, 1.00]"):
        assert words in text
