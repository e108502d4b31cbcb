"""Every arm answers every item under every condition; nothing is asked that was ever answered.

What a model said is remembered as it comes, whoever holds the lease by then; its row, with its
scores, comes after.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.orm import Session

from services.common.contracts.budget import Spent
from services.common.contracts.generator import RagAnswer
from services.evaluator import event_storage, storage
from services.evaluator.metrics import score_all, unscored
from services.evaluator.models import Item, Json
from services.evaluator.phases.answers import Said, answered
from services.evaluator.phases.asking import Asker, asker_of, remembered, spent_on
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.phases.questions import Question, count, questions
from services.evaluator.run import Run
from services.evaluator.spending import BudgetExceeded, check, plus
from services.evaluator.turns import LeaseLost, Pace

ITEMS_AT_ONCE = 100  # read in one transaction
ANSWERS_AT_ONCE = 16  # kept in one transaction


async def answer(run: Run, arms: Sequence[ProvenArm], items: int) -> None:
    """Ask what has no answer yet. What was answered before this returns, or is cancelled, is kept.

    Raises ``adapter_mismatch`` when another adapter than the proven one answered, and
    ``BudgetExceeded`` once more is spent than the budget has.
    """
    there, with_evidence, spent = await run.write(
        lambda session: (
            storage.answered(session, run.experiment_id),
            storage.count_items(session, run.experiment_id, with_evidence=True),
            storage.add_spent(session, run.experiment_id, Spent()),
        )
    )
    total = count(run.spec, len(arms), items=items, with_evidence=with_evidence)
    pace = Pace(done=len(there), total=total)
    await run.enter("answering", done=pace.done, total=total)
    if pace.done < total:
        async with asker_of(run) as asker:
            await _Answering(run, arms, there, pace, spent, asker).work(items)


@dataclass(frozen=True)
class _Asked:
    """One request to the generator, for all the ``questions`` that come to the same."""

    cache_key: str
    questions: list[Question] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    """Answers to keep, and which of them had been said before."""

    rows: list[Json]
    cached: set[storage.AnswerKey]


class _Answering:
    """Questions go from a planner to askers, answers from them to a keeper, through two queues."""

    def __init__(
        self,
        run: Run,
        arms: Sequence[ProvenArm],
        there: set[storage.AnswerKey],
        pace: Pace,
        spent: Spent,
        asker: Asker,
    ) -> None:
        self.run = run
        self.asker = asker
        self.arms = arms
        self.there = there
        self.pace = pace
        self.spent = spent
        self.started = time.monotonic()
        # Set once the budget is spent: what is under way is waited for, nothing more is asked.
        self.over: BudgetExceeded | None = None
        self.askers = run.settings.max_concurrency
        self.asked: asyncio.Queue[_Asked | None] = asyncio.Queue(self.askers)
        # An asker waits for room before it asks: none may wait with what was paid for in hand.
        self.room = asyncio.Semaphore(2 * self.askers)
        self.answers: asyncio.Queue[list[Said] | None] = asyncio.Queue()

    async def work(self, items: int) -> None:
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keep())
            async with asyncio.TaskGroup() as asking:
                asking.create_task(self._plan(items))
                for _ in range(self.askers):
                    asking.create_task(self._ask_on())
            await self.answers.put(None)
        if self.over is not None:
            raise self.over

    async def _plan(self, items: int) -> None:
        for start in range(0, items, ITEMS_AT_ONCE):
            if self.over is not None:
                break
            page, said = await self.run.write(partial(self._look, start=start))
            known = [
                answered(question, said[one.cache_key])
                for one in page
                if one.cache_key in said
                for question in one.questions
            ]
            for begin in range(0, len(known), ITEMS_AT_ONCE):
                await self._save(known[begin : begin + ITEMS_AT_ONCE])
            for one in page:
                if one.cache_key not in said:
                    await self.asked.put(one)
        for _ in range(self.askers):
            await self.asked.put(None)

    def _look(self, session: Session, *, start: int) -> tuple[list[_Asked], dict[str, RagAnswer]]:
        """What is still to be answered of a page of items, and what of that was said before."""
        stop = start + ITEMS_AT_ONCE
        page = storage.items(session, self.run.experiment_id, start=start, stop=stop)
        asked = self._to_ask(page)
        return asked, remembered(session, [one.cache_key for one in asked])

    def _to_ask(self, page: Sequence[Item]) -> list[_Asked]:
        asked: dict[str, _Asked] = {}
        for item in page:
            for question in questions(item, self.run.spec, self.arms):
                if question.key not in self.there:
                    key = question.cache_key
                    asked.setdefault(key, _Asked(key)).questions.append(question)
        return list(asked.values())

    async def _ask_on(self) -> None:
        while (asked := await self.asked.get()) is not None:
            await self.room.acquire()
            if self.over is not None:
                self.room.release()
                continue
            every = await self.asker.ask(asked.questions)
            self.answers.put_nowait(every)
            for said in every:
                self._count(said)

    def _count(self, said: Said) -> None:
        """Stop once the budget is spent, without waiting for the keeper."""
        self.spent = plus(self.spent, spent_on(said, self.run.spec.prices))
        minutes = self.spent.minutes + (time.monotonic() - self.started) / 60
        try:
            check(self.run.spec.budget, self.spent.model_copy(update={"minutes": minutes}))
        except BudgetExceeded as error:
            self.over = error

    async def _keep(self) -> None:
        batch: list[Said] = []
        try:
            while True:
                ended = await self._gather(batch)
                if batch:
                    await self._save(batch)
                    batch.clear()
                if ended:
                    return
        except asyncio.CancelledError:
            # What is answered is remembered; scored and kept, it need not be looked up.
            while not self.answers.empty():
                late = self.answers.get_nowait() or []
                batch += late
                self.pace.done += len(late)
            if batch:
                with contextlib.suppress(LeaseLost):
                    self.run.write_now(self._step(self._scored(batch)))
            raise

    async def _gather(self, batch: list[Said]) -> bool:
        """Wait for an answer and take those that came with it into ``batch``; True at the end."""
        said = await self.answers.get()
        while said is not None:
            self.room.release()
            batch += said
            if len(batch) >= ANSWERS_AT_ONCE or self.answers.empty():
                return False
            said = self.answers.get_nowait()
        return True

    async def _save(self, batch: Sequence[Said]) -> None:
        self.pace.done += len(batch)
        scored = await asyncio.to_thread(self._scored, batch)
        await self.run.write(self._step(scored))

    def _scored(self, batch: Sequence[Said]) -> _Batch:
        """Rows with their scores, all of a batch at once: an embedding model works in batches."""
        scores = iter(
            score_all([said.sample for said in batch if said.sample], self.run.similarity)
        )
        return _Batch(
            [said.row | {"scores": next(scores) if said.sample else unscored()} for said in batch],
            {storage.key_of(said.row) for said in batch if said.sample and not said.fresh},
        )

    def _step(self, batch: _Batch) -> "_Keep":
        return _Keep(self.run.experiment_id, batch, self.pace, self.pace.lap())


@dataclass(frozen=True)
class _Keep:
    """One batch of answers with the progress they make, as a step of a transaction.

    Safe to repeat, also where a stop came between a commit and the news of it: what is kept
    already counts no more.
    """

    experiment_id: str
    batch: _Batch
    pace: Pace
    seconds: float

    def __call__(self, session: Session) -> None:
        new = storage.add_answers(session, self.experiment_id, self.batch.rows)
        storage.set_fields(
            session,
            self.experiment_id,
            done=self.pace.done,
            seconds_left=self.pace.seconds_left(),
        )
        if not new:
            return
        storage.add_seconds(session, self.experiment_id, "answering", self.seconds)
        storage.add_spent(session, self.experiment_id, Spent(cached=len(new & self.batch.cached)))
        errors = [row["error"] for row in self.batch.rows if row["error"]]
        for code, many in Counter(error.partition(":")[0] for error in errors).items():
            message = f"Questions are left without an answer: {code}."
            event_storage.warn(session, self.experiment_id, code, message, many)
