"""The page of judges."""

from typing import Any

from starlette.testclient import TestClient

from services.common.contracts.exam import ExamCreate
from services.evaluator.judges.exam import storage
from services.evaluator.judges.exam.bar import shortfalls
from services.evaluator.judges.exam.building import build
from services.evaluator.judges.exam.figures import figures_of
from services.evaluator.judges.exam.models import ExamRow
from services.evaluator.judges.exam.service import Outcome
from tests.services.evaluator.dashboard.conftest import HOSTILE
from tests.services.evaluator.judges import graders


def insert_exams(app: Any) -> None:
    answers = build(graders.items(), seed=1).answers
    judgments = {answer.id: graders.judged(answer, graders.constant) for answer in answers}
    figures = [figures_of("accuracy", answers, judgments, scale=(1, 5))]
    ask = ExamCreate(model="a-judge", file_id="file_1", metrics=["accuracy"])
    outcome = Outcome(
        exam_sha256="ab" * 32,
        judge_sha256="cd" * 32,
        items=40,
        documents=20,
        figures=figures,
        qualified=False,
        reasons=shortfalls(figures, ask.bar, {"accuracy": (1, 5)}),
        same_as="exam_0",
    )
    shared = {"spec": ask.model_dump(mode="json"), "file_sha256": "ef" * 32}
    with app.state.db.transaction() as session:
        storage.add(
            session,
            ExamRow(
                id="exam_1",
                model="a-judge",
                status="completed",
                outcome=outcome.model_dump(mode="json"),
                **shared,
            ),
        )
        storage.add(
            session,
            ExamRow(id="exam_2", model=HOSTILE, status="in_progress", done=3, total=9, **shared),
        )
        storage.add(
            session,
            ExamRow(
                id="exam_3",
                model="gone",
                status="failed",
                error={"code": "model_not_found", "message": "There is no such model."},
                **shared,
            ),
        )


def test_the_page_shows_what_a_judge_made_of_its_exam_and_why_it_failed(client: TestClient) -> None:
    assert "No exam here." in client.get("/judges").text
    insert_exams(client.app)
    page = client.get("/judges")
    assert page.status_code == 200
    assert "Not qualified: its scores are shown and decide nothing." in page.text
    assert "(τ-b) is 0.00; 0.50 is the least." in page.text
    assert "recalled, as sat for exam_0" in page.text
    assert "3 of 9 answers graded" in page.text
    assert "There is no such model." in page.text
    assert "<script>alert" not in page.text
    assert page.text.index("gone") < page.text.index("a-judge")
