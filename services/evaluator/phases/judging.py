"""A judge scores every answer by every criterion, each exactly once, if the experiment has one."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from sqlalchemy.orm import Session

from services.common.contracts.budget import Spent
from services.common.contracts.judge import (
    JudgeAsk,
    Judgment,
    Preferred,
    Qualification,
    ReportJudge,
)
from services.common.errors import FineproofError
from services.evaluator import judging_storage, storage
from services.evaluator.judges.asking import Asking, JudgeChanged
from services.evaluator.judges.judge import Form, Judge
from services.evaluator.judges.meeting import meet
from services.evaluator.judges.memory import remembering
from services.evaluator.judges.prompts import Subject, prompts_sha256
from services.evaluator.models import Answer, Item, Json
from services.evaluator.phases.answers import shown
from services.evaluator.phases.examining import examine
from services.evaluator.run import Run
from services.evaluator.spending import JudgeLedger, check
from services.evaluator.turns import Pace

log = structlog.get_logger(__name__)

ITEMS_AT_ONCE = 10  # whose answers are judged together, and kept in one transaction
_AHEAD = 3  # so many groups of them at once: no request waits for the slowest of another group


async def judge(run: Run, items: int) -> None:
    """Judge what is not judged yet. Scores are kept with the answers, by ten items.

    Raises ``judge_changed`` when other weights answer than at first. A judge that does not answer
    at all leaves its metrics unscored, and the report says so. ``BudgetExceeded`` is raised once
    more is spent than the budget has.
    """
    if run.spec.judge is None:
        return
    total, done, known = await run.write(
        lambda session: (
            storage.count_answers(session, run.experiment_id),
            storage.count_answers(session, run.experiment_id, judged=True),
            storage.judge(session, run.experiment_id),
        )
    )
    judge_before = known and known["qualification"]["judge_sha256"]
    pace = Pace(done=done, total=total)
    ledger = JudgeLedger(run.spec.prices.get("judge"))
    try:
        async with remembering(run.aside) as memory:
            asking = Asking(
                run.peers.models, run.concurrency, run.settings.answer_patience_s, ledger.hear
            )
            try:
                met = await meet(run.spec.judge, asking, memory)
            except JudgeChanged:
                raise
            except FineproofError as error:
                log.warning("judge_absent", experiment=run.experiment_id, code=error.code)
                await _introduce(run, _absent(run.spec.judge, error, judge_before or ""))
                return
            if done and judge_before and judge_before != met.sha256:
                raise JudgeChanged(
                    f"'{met.ask.model}' is another judge than the one that judged {done} answers "
                    "of this experiment before."
                )
            qualification = await examine(run, met, ledger)
            await run.enter("judging", done=done, total=total)
            await _introduce(run, _introduced(met, qualification))
            if qualification.qualified or run.spec.judge.score_unqualified:
                await _Judging(run, met, pace, ledger).work(items)
    finally:
        # However it ends: what was heard since was paid for.
        await run.aside(
            partial(storage.add_spent, experiment_id=run.experiment_id, more=ledger.take())
        )


class _Judging:
    """Groups of items are taken in turn by a few who judge them."""

    def __init__(self, run: Run, met: Judge, pace: Pace, ledger: JudgeLedger) -> None:
        self.run = run
        self.ledger = ledger
        self.judge = met
        self.pace = pace

    async def work(self, items: int) -> None:
        groups = iter(range(0, items, ITEMS_AT_ONCE))
        async with asyncio.TaskGroup() as working:
            for _ in range(_AHEAD):
                working.create_task(self._take(groups))

    async def _take(self, groups: Iterator[int]) -> None:
        for start in groups:
            answers = await self.run.write(
                partial(
                    judging_storage.unjudged,
                    experiment_id=self.run.experiment_id,
                    start=start,
                    stop=start + ITEMS_AT_ONCE,
                )
            )
            if answers:
                await self._judge(answers)

    async def _judge(self, answers: Sequence[tuple[Item, Answer]]) -> None:
        judged = [_Judged(item, answer) for item, answer in answers]
        # One criterion after the other, an item's answers beside each other: so requests share
        # the longest beginnings.
        forms = [
            (one, Form(criterion, one.subject))
            for criterion in self.judge.criteria
            for one in judged
        ]
        forms = [(one, form) for one, form in forms if form.applies]
        judgments = await self.judge.score([form for _, form in forms])
        for (one, form), judgment in zip(forms, judgments, strict=True):
            one.judgments[form.criterion.name] = judgment
        if self.judge.ask.pairwise:
            await self._prefer(judged)
        self.pace.done += len(judged)
        seconds = self.pace.lap()
        more = self.ledger.take()

        def keep(session: Session) -> Spent:
            judging_storage.add_judgments(
                session, self.run.experiment_id, [one.row() for one in judged]
            )
            storage.set_fields(
                session,
                self.run.experiment_id,
                done=self.pace.done,
                seconds_left=self.pace.seconds_left(),
            )
            storage.add_seconds(session, self.run.experiment_id, "judging", seconds)
            return storage.add_spent(session, self.run.experiment_id, more)

        check(self.run.spec.budget, await self.run.write(keep))

    async def _prefer(self, judged: Sequence["_Judged"]) -> None:
        # Among those judged before a stop as well.
        baseline = self.run.spec.baseline
        bases = await self.run.aside(
            partial(
                judging_storage.said_by,
                experiment_id=self.run.experiment_id,
                arm=baseline,
                item_ids={one.item.item_id for one in judged},
            )
        )
        pairs: list[tuple[_Judged, str]] = []
        for one in judged:
            base = bases.get(one.place)
            if one.arm == baseline or base is None:
                continue
            if one.subject.answer == base:
                one.preferred = Preferred()  # the same words need no judge
            else:
                pairs.append((one, base))
        found = await self.judge.prefer([(one.subject, base) for one, base in pairs])
        for (one, _), preferred in zip(pairs, found, strict=True):
            one.preferred = preferred


@dataclass
class _Judged:
    """An answer on its way to its scores."""

    item: Item
    answer: Answer
    judgments: dict[str, Judgment] = field(default_factory=dict)
    preferred: Preferred | None = None

    @property
    def arm(self) -> str:
        return self.answer.arm

    @property
    def place(self) -> tuple[str, str, int]:
        return self.item.item_id, self.answer.condition, self.answer.repeat

    @property
    def subject(self) -> Subject:
        given = {
            passage["id"]: shown(passage.get("title"), passage["text"])
            for passage in (*self.item.retrieved, *self.item.oracle, *self.item.distractors)
        }
        texts = [given[passage] for passage in self.answer.passage_ids if passage in given]
        return Subject(
            question=self.item.question,
            reference=self.item.reference,
            answer=self.answer.text or "",
            passages=texts or None,
        )

    def row(self) -> Json:
        means = {name: judgment.mean for name, judgment in self.judgments.items()}
        return {
            "item_id": self.item.item_id,
            "arm": self.answer.arm,
            "condition": self.answer.condition,
            "training_seed": self.answer.training_seed,
            "repeat": self.answer.repeat,
            "scores": self.answer.scores | means,
            "judgments": {
                name: judgment.model_dump(mode="json") for name, judgment in self.judgments.items()
            },
            "preference": self.preferred and self.preferred.model_dump(mode="json"),
        }


async def _introduce(run: Run, known: ReportJudge) -> None:
    kept = known.model_dump(mode="json")
    await run.write(lambda session: storage.set_fields(session, run.experiment_id, judge=kept))


def _introduced(met: Judge, qualification: Qualification) -> ReportJudge:
    return ReportJudge(
        model=met.ask.model,
        adapter_sha256=met.served_by.adapter_sha256,
        prompt_sha256=prompts_sha256(),
        runs=met.ask.runs,
        temperature=met.ask.temperature,
        qualification=qualification,
        decides=qualification.qualified,
        stand_in=met.ask.stand_in if qualification.failed else None,
        criteria=met.read_out(),
        figures=[],
    )


def _absent(ask: JudgeAsk, error: FineproofError, before: str) -> ReportJudge:
    """``before`` is the digest of the judge that was met earlier, empty where none was."""
    return ReportJudge(
        model=ask.model,
        adapter_sha256=None,
        prompt_sha256=prompts_sha256(),
        runs=ask.runs,
        temperature=ask.temperature,
        qualification=Qualification(
            judge_sha256=before, qualified=False, reasons=[f"It did not answer: {error.message}"]
        ),
        decides=False,
        stand_in=ask.stand_in,
        criteria=[],
        figures=[],
    )
