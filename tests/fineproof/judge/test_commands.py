"""``fineproof judge`` before a stack of agreed answers, at a real address."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.errors import UserError
from services.common.contracts.exam import Exam, ExamCreate, ExamProgress
from services.common.contracts.exam_figures import ExamFigures
from services.common.errors import NotFound, add_handlers
from services.evaluator.judges.exam.bar import shortfalls
from services.evaluator.judges.exam.building import build
from services.evaluator.judges.exam.figures import figures_of
from tests.services.evaluator.judges import graders
from tests.services.generator.conftest import serving

BASE, JUDGE = "small-base", "ft:small-base:judge:ftjob_1"
ANSWERS = build(graders.items(), seed=1).answers


def figures(score: graders.Score, metric: str) -> ExamFigures:
    judgments = {answer.id: graders.judged(answer, score) for answer in ANSWERS}
    return figures_of(metric, ANSWERS, judgments, scale=graders.SCALE)


class FakeStack:
    """Takes files, makes one adapter, and examines: the base guesses, the adapter knows."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.jobs: list[dict[str, Any]] = []
        self.exams: list[ExamCreate] = []
        self.examples: list[dict[str, Any]] = []
        self.job_status = "succeeded"
        self.app = FastAPI()
        add_handlers(self.app)
        route = self.app.add_api_route
        route("/healthz", lambda: {"status": "ok"})
        route("/v1/models", lambda: {"data": [{"id": BASE, "created": 0}]})
        route("/v1/files", self.take, methods=["POST"])
        route("/v1/files/{file_id}", self.file)
        route("/v1/fine_tuning/jobs", self.start, methods=["POST"])
        route("/v1/fine_tuning/jobs/{job_id}", self.job)
        route("/v1/adapters", self.load, methods=["POST"])
        route("/v1/judges/examples", self.teach, methods=["POST"])
        route("/v1/judges/exams", self.examine, methods=["POST"])
        route("/v1/judges/exams/{exam_id}", self.exam)

    async def take(self, request: Request) -> dict[str, Any]:
        form = await request.form()
        upload = form["file"]
        assert not isinstance(upload, str)
        self.files.append((str(form["purpose"]), await upload.read()))
        return self.file(f"file_{len(self.files) - 1}")

    def file(self, file_id: str) -> dict[str, Any]:
        number = int(file_id.removeprefix("file_"))
        if number >= len(self.files):
            raise NotFound("No such file.")
        return {
            "id": file_id, "bytes": 1, "created_at": 0, "filename": "f", "status": "processed",
            "purpose": self.files[number][0], "sha256": "ab" * 32,
        }  # fmt: skip

    async def start(self, request: Request) -> dict[str, Any]:
        self.jobs.append(await request.json())
        return self.job("ftjob_1")

    def job(self, job_id: str) -> dict[str, Any]:
        failed = {"code": "out_of_memory", "message": "It did not fit."}
        return {
            "id": job_id, "created_at": 0, "finished_at": 1, "estimated_finish": None,
            "model": BASE, "fine_tuned_model": JUDGE, "status": self.job_status,
            "training_file": "file_2", "validation_file": None, "result_files": [],
            "trained_tokens": 1, "hyperparameters": {}, "method": {}, "seed": 0,
            "error": failed if self.job_status == "failed" else None,
            "metadata": {}, "progress": {"step": 5, "total_steps": 5},
        }  # fmt: skip

    def load(self, ask: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": ask["name"], "created_at": 0, "base_model": BASE, "recipe": "qa",
            "sha256": "ab" * 32, "rank": 16, "status": "loaded", "proof": None, "error": None,
        }  # fmt: skip

    def teach(self, ask: dict[str, Any]) -> PlainTextResponse:
        self.examples.append(ask)
        return PlainTextResponse('{"messages": []}\n' * 12)

    def examine(self, ask: ExamCreate) -> Exam:
        self.exams.append(ask)
        return self.exam(f"exam_{len(self.exams) - 1}")

    def exam(self, exam_id: str) -> Exam:
        ask = self.exams[int(exam_id.removeprefix("exam_"))]
        score = graders.perfect if ask.model == JUDGE else graders.at_random
        found = [figures(score, name) for name in ask.metrics]
        reasons = shortfalls(found, ask.bar, dict.fromkeys(ask.metrics, graders.SCALE))
        return Exam(
            id=exam_id, created_at=0, finished_at=1, model=ask.model, adapter_sha256=None,
            status="completed", progress=ExamProgress(done=9, total=9), spec=ask,
            file_sha256="ab" * 32, exam_sha256="ab" * 32, judge_sha256="cd" * 32, items=40,
            documents=20, figures=found, qualified=not reasons, reasons=reasons,
        )  # fmt: skip


@pytest.fixture
def stack() -> FakeStack:
    return FakeStack()


Run = Callable[..., str]


@pytest.fixture
def run(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """``run(*arguments)`` gives what ``fineproof judge`` prints."""
    monkeypatch.setenv("COLUMNS", "200")

    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["judge", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    with serving(stack.app) as url:
        monkeypatch.setenv("FINEPROOF_URL", url)
        yield told


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, first in (("train", 0), ("test", 100)):
        rows = [
            {"id": f"q{n}", "question": f"What is {n}?", "answer": f"It {n}", "doc_id": f"d{n}"}
            for n in range(first, first + 20)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_an_exam_is_shown_as_a_table_with_the_reasons_for_a_no(
    run: Run, stack: FakeStack, data: Path
) -> None:
    said = run("exam", "--model", BASE, "--data", str(data), "--items", "30", "--runs", "5")
    assert "Exam by accuracy" in said
    assert "Exam by completeness" in said
    assert "right against wrong, AUC" in said
    assert f"{BASE} does not pass: accuracy" in said
    assert "rank agreement with the known order" in said
    (ask,) = stack.exams
    assert (ask.max_items, ask.runs, ask.steps) == (30, 5, {})
    purpose, content = stack.files[0]
    assert purpose == "evals"
    assert len(content.splitlines()) == 20


def test_an_exam_is_told_as_json_to_programs(run: Run, data: Path) -> None:
    said = run(
        "exam", "--model", JUDGE, "--data", str(data), "--metric", "accuracy", "--plain", "--json"
    )
    told = Exam.model_validate_json(said)
    assert told.qualified is True
    assert told.spec.metrics == ["accuracy"]
    assert told.spec.steps["accuracy"]


def test_a_metric_that_is_none_is_a_sentence(run: Run, data: Path) -> None:
    with pytest.raises(UserError, match="bleurt: a metric is accuracy"):
        run("exam", "--model", BASE, "--data", str(data), "--metric", "bleurt")


def test_a_judge_is_trained_and_stands_beside_its_base(
    run: Run, stack: FakeStack, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = run("train", "--data", str(data), "--out", str(out), "--pairs", "15", "--items", "12")
    assert "base does not pass" in said
    assert "judge passes" in said
    assert "12 examples" in said
    found = json.loads((out / "judge.json").read_text())
    assert found["base"]["figures"][0]["auc"]["value"] < 0.7
    assert found["judge"]["figures"][0]["auc"]["value"] == 1.0
    assert [ask.model for ask in stack.exams] == [BASE, JUDGE]
    assert stack.exams[0].steps == stack.exams[1].steps != {}
    assert stack.examples == [
        {"file_id": "file_1", "metric": "accuracy", "max_items": 15, "seed": 0}
    ]
    assert [purpose for purpose, _ in stack.files] == ["evals", "evals", "fine-tune"]
    assert stack.jobs[0]["training_file"] == "file_2"


def test_a_training_goes_on_where_it_stopped_and_a_failed_one_is_made_anew(
    run: Run, stack: FakeStack, data: Path, tmp_path: Path
) -> None:
    arguments = ("train", "--data", str(data), "--out", str(tmp_path / "out"))
    stack.job_status = "failed"
    with pytest.raises(UserError, match="It did not fit"):
        run(*arguments)
    stack.job_status = "succeeded"
    run(*arguments)
    run(*arguments)
    assert len(stack.jobs) == 2
    assert len(stack.files) == 3
    run(*arguments, "--fresh")
    assert len(stack.jobs) == 3


def test_nothing_is_trained_on_documents_of_the_test(
    run: Run, stack: FakeStack, data: Path, tmp_path: Path
) -> None:
    with (data / "train.jsonl").open("a") as train:
        train.write(json.dumps({"id": "x", "question": "Q?", "answer": "A", "doc_id": "d100"}))
    with pytest.raises(UserError, match=r"\(x\)"):
        run("train", "--data", str(data), "--out", str(tmp_path / "out"))
    assert stack.files == []
