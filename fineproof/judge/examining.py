"""Has judges sit exams on a running stack."""

import asyncio
from pathlib import Path

from fineproof.errors import UserError
from fineproof.experiment.progress import Board
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.exam import Exam, ExamCreate

POLL_SECONDS = 1.0


async def examine(evaluator: EvaluatorClient, ask: ExamCreate, board: Board, *, title: str) -> Exam:
    """Raises :class:`UserError` when the exam does not come to an end of its own."""
    exam = await evaluator.create_exam(ask)
    with board.bar(title, None) as bar:
        while exam.status in ("queued", "in_progress"):
            bar.at(exam.progress.done, exam.progress.total or None, note=exam.status)
            await asyncio.sleep(POLL_SECONDS)
            exam = await evaluator.exam(exam.id)
        bar.at(exam.progress.done, exam.progress.total or None, note=exam.status)
    if exam.status != "completed":
        reason = exam.error.message if exam.error else "no reason given"
        raise UserError(f"Exam {exam.id} {exam.status}: {reason}")
    return exam


async def upload(trainer: TrainerClient, path: Path) -> str:
    return (await trainer.upload_file(path, "evals")).id
