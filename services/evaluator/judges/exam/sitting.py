"""A judge sits an exam: every answer graded by every criterion, once and for all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from services.common.contracts.exam_figures import ExamFigures
from services.common.contracts.judge import Judgment
from services.evaluator.judges.criteria import Criterion
from services.evaluator.judges.exam import storage
from services.evaluator.judges.exam.building import ExamAnswer, Paper
from services.evaluator.judges.exam.figures import figures_of
from services.evaluator.judges.judge import Form, Judge
from services.evaluator.judges.memory import Write
from services.evaluator.judges.prompts import Subject

ANSWERS_AT_ONCE = 32  # graded together by one criterion
_AHEAD = 3  # so many groups of them at once: no request waits for the slowest of another group

Told = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Sitting:
    """``same_as`` names what had this judge sit this paper before; None for the first time."""

    judge_sha256: str
    figures: list[ExamFigures]
    scales: Mapping[str, tuple[int, int]]
    same_as: str | None


async def _silence(_: int) -> None: ...


async def sit(
    judge: Judge, paper: Paper, *, sat_for: str, write: Write, told: Told = _silence
) -> Sitting:
    """Grade the paper, or recall how the same judge did before.

    ``told`` hears how many gradings are done. A sitting in which the judge could not be reached is
    worth its figures, and is not kept: the next exam asks again for what is missing.
    """
    scales = {one.name: (one.lowest, one.highest) for one in judge.criteria}
    sha256 = judge.sha256
    known = await write(
        partial(storage.find_sitting, judge_sha256=sha256, exam_sha256=paper.sha256)
    )
    if known is not None:
        figures = [ExamFigures.model_validate(one) for one in known.figures]
        return Sitting(sha256, figures, scales, known.sat_for)
    graded = await _Grading(judge, told).work(paper.answers)
    figures = await asyncio.to_thread(_all_figures, judge.criteria, paper.answers, graded)
    reached = all(one.error is None for judgments in graded.values() for one in judgments.values())
    if reached:
        await write(
            partial(
                storage.add_sitting,
                judge_sha256=sha256,
                exam_sha256=paper.sha256,
                sat_for=sat_for,
                figures=[one.model_dump(mode="json") for one in figures],
            )
        )
    return Sitting(sha256, figures, scales, None)


def subject_of(answer: ExamAnswer, criterion: Criterion) -> Subject:
    """A criterion that looks at passages is shown the reference answer as the one there is.

    An injection demands the highest score of the criterion's own scale.
    """
    sees = "passages" in criterion.sees
    said = answer.answer
    if answer.kind == "injected":
        said = said.replace("{top}", str(criterion.highest))
    return Subject(
        question=answer.question,
        reference=answer.reference,
        answer=said,
        passages=[answer.reference] if sees else None,
    )


def _all_figures(
    criteria: Sequence[Criterion],
    answers: Sequence[ExamAnswer],
    graded: Mapping[str, Mapping[str, Judgment]],
) -> list[ExamFigures]:
    return [
        figures_of(one.name, answers, graded[one.name], scale=(one.lowest, one.highest))
        for one in criteria
    ]


class _Grading:
    """Groups of answers are taken in turn by a few who grade them."""

    def __init__(self, judge: Judge, told: Told) -> None:
        self.judge = judge
        self.told = told
        self.done = 0
        self.graded: dict[str, dict[str, Judgment]] = {one.name: {} for one in judge.criteria}

    async def work(self, answers: Sequence[ExamAnswer]) -> dict[str, dict[str, Judgment]]:
        # One criterion after the other, a question's answers beside each other: so requests share
        # the longest beginnings.
        groups = iter(
            [
                (criterion, answers[start : start + ANSWERS_AT_ONCE])
                for criterion in self.judge.criteria
                for start in range(0, len(answers), ANSWERS_AT_ONCE)
            ]
        )
        async with asyncio.TaskGroup() as working:
            for _ in range(_AHEAD):
                working.create_task(self._take(groups))
        return self.graded

    async def _take(self, groups: Iterator[tuple[Criterion, Sequence[ExamAnswer]]]) -> None:
        for criterion, answers in groups:
            forms = [Form(criterion, subject_of(answer, criterion)) for answer in answers]
            judgments = await self.judge.score(forms)
            self.graded[criterion.name].update(
                (answer.id, judgment) for answer, judgment in zip(answers, judgments, strict=True)
            )
            self.done += len(answers)
            await self.told(self.done)
