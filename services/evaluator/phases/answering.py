"""Every arm answers every item under every condition, each exactly once."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.common.contracts.generator import Condition, GivenPassage, RagAnswer, RagAsk
from services.common.errors import FineproofError, UpstreamFailed
from services.evaluator import storage
from services.evaluator.metrics import Sample, score, unscored
from services.evaluator.models import Item, Json
from services.evaluator.peers import patiently
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.run import LeaseLost, Pace, Run

log = structlog.get_logger(__name__)

ITEMS_AT_ONCE = 200  # read in one transaction
ANSWERS_AT_ONCE = 16  # kept in one transaction
_WAIT_SECONDS = 0.5  # for a batch to fill


@dataclass(frozen=True)
class Question:
    item: Item
    condition: Condition
    arm: ProvenArm

    @property
    def passages(self) -> list[Json] | None:
        """What the prompt is given; None for ``closed_book``."""
        given: Mapping[Condition, list[Json]] = {
            "retrieved": self.item.retrieved,
            "oracle": self.item.oracle,
            "distractors": self.item.distractors,
        }
        return given.get(self.condition)

    @property
    def key(self) -> storage.AnswerKey:
        return storage.AnswerKey(self.item.item_id, self.arm.name, self.condition)


def questions(
    item: Item, conditions: Sequence[Condition], arms: Sequence[ProvenArm]
) -> Iterator[Question]:
    """All that is asked about one item, arms beside each other so that a drift hits them alike.

    Each item starts with another arm: none is always the one that meets a cold prefix cache.
    Items without gold passages are not asked under ``oracle``.
    """
    first = item.ordinal % len(arms)
    for condition in conditions:
        if condition == "oracle" and not item.oracle:
            continue
        for arm in (*arms[first:], *arms[:first]):
            yield Question(item, condition, arm)


async def answer(run: Run, arms: Sequence[ProvenArm], items: int) -> None:
    """Ask what has no answer yet. What was answered before this returns, or is cancelled, is kept.

    Raises ``adapter_mismatch`` when another adapter than the proven one answered.
    """
    answered, with_evidence = await run.write(
        lambda session: (
            storage.answered(session, run.experiment_id),
            storage.count_items(session, run.experiment_id, with_evidence=True),
        )
    )
    total = len(arms) * sum(
        with_evidence if condition == "oracle" else items for condition in run.spec.conditions
    )
    pace = Pace(done=len(answered), total=total)
    await run.enter("answering", done=pace.done, total=total)
    if pace.done < total:
        await _Answering(run, arms, answered, pace).work(items)


class _Answering:
    """Questions go from a planner to askers, answers from them to a keeper, through two queues."""

    def __init__(
        self, run: Run, arms: Sequence[ProvenArm], answered: set[storage.AnswerKey], pace: Pace
    ) -> None:
        self.run = run
        self.arms = arms
        self.answered = answered
        self.pace = pace
        self.concurrency = run.settings.answer_concurrency
        self.questions: asyncio.Queue[Question | None] = asyncio.Queue(self.concurrency)
        self.answers: asyncio.Queue[Json | None] = asyncio.Queue()

    async def work(self, items: int) -> None:
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keep())
            async with asyncio.TaskGroup() as asking:
                asking.create_task(self._plan(items))
                for _ in range(self.concurrency):
                    asking.create_task(self._ask_on())
            await self.answers.put(None)

    async def _plan(self, items: int) -> None:
        for start in range(0, items, ITEMS_AT_ONCE):
            page = await self.run.write(
                partial(
                    storage.items,
                    experiment_id=self.run.experiment_id,
                    start=start,
                    stop=start + ITEMS_AT_ONCE,
                )
            )
            for item in page:
                for question in questions(item, self.run.spec.conditions, self.arms):
                    if question.key not in self.answered:
                        await self.questions.put(question)
        for _ in range(self.concurrency):
            await self.questions.put(None)

    async def _ask_on(self) -> None:
        while (question := await self.questions.get()) is not None:
            self.answers.put_nowait(await ask(self.run, question))

    async def _keep(self) -> None:
        batch: list[Json] = []
        try:
            while True:
                ended = await self._gather(batch)
                if batch:
                    await self._save(batch)
                    batch.clear()
                if ended:
                    return
        except asyncio.CancelledError:
            # What is answered was paid for: keep it, so that the next turn need not ask again.
            while not self.answers.empty():
                if (late := self.answers.get_nowait()) is not None:
                    batch.append(late)
            if batch:
                with contextlib.suppress(LeaseLost):
                    self.run.write_now(self._step(list(batch)))
            raise

    async def _gather(self, batch: list[Json]) -> bool:
        """Fill ``batch`` until it is full or ``_WAIT_SECONDS`` have passed; True at the end."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while len(batch) < ANSWERS_AT_ONCE:
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    row = await self.answers.get()
            except TimeoutError:
                return False
            if row is None:
                return True
            batch.append(row)
        return False

    async def _save(self, batch: list[Json]) -> None:
        self.pace.done += len(batch)
        await self.run.write(self._step(list(batch)))

    def _step(self, batch: list[Json]) -> "_Keep":
        return _Keep(self.run.experiment_id, batch, self.pace, self.pace.lap())


@dataclass(frozen=True)
class _Keep:
    """One batch of answers with the progress they make, as a step of a transaction."""

    experiment_id: str
    batch: list[Json]
    pace: Pace
    seconds: float

    def __call__(self, session: Session) -> None:
        storage.add_answers(session, self.experiment_id, self.batch)
        storage.set_fields(
            session,
            self.experiment_id,
            done=self.pace.done,
            seconds_left=self.pace.seconds_left(),
        )
        storage.add_seconds(session, self.experiment_id, "answering", self.seconds)


async def ask(run: Run, question: Question) -> Json:
    """Ask one question; the row to keep, with its scores, or with the error that kept it unscored.

    ``adapter_mismatch`` is raised: it puts every answer in doubt.
    """
    row: Json = {
        "item_id": question.item.item_id,
        "arm": question.arm.name,
        "condition": question.condition,
    }
    try:
        said = await patiently(
            lambda: run.peers.generator.rag(_wording(run, question)),
            seconds=run.settings.answer_patience_s,
        )
    except FineproofError as error:
        log.warning("unanswered", experiment=run.experiment_id, code=error.code, **row)
        return row | _blank(f"{error.code}: {error.message}")
    except ValidationError as error:
        return row | _blank(f"unreadable_answer: {error.error_count()} fields are not as agreed")
    _check_adapter(question.arm, said)
    return row | _answered(question, said)


def _wording(run: Run, question: Question) -> RagAsk:
    passages = question.passages
    return RagAsk(
        question=question.item.question,
        model=question.arm.model,
        passages=None
        if passages is None
        else [GivenPassage.model_validate(passage) for passage in passages],
        condition=question.condition,
        max_tokens=run.spec.sampling.max_tokens,
        temperature=run.spec.sampling.temperature,
        seed=run.spec.sampling.seed,
    )


def _check_adapter(arm: ProvenArm, said: RagAnswer) -> None:
    if said.adapter_sha256 != arm.sha256:
        raise UpstreamFailed(
            f"Arm '{arm.name}' was answered by {said.adapter_sha256 or 'the base model'}, but "
            f"{arm.sha256 or 'the base model'} is under test.",
            code="adapter_mismatch",
        )


def _blank(error: str) -> Json:
    return {
        "text": None,
        "finish_reason": None,
        "passage_ids": [],
        "left_out": [],
        "prompt_sha256": None,
        "adapter_sha256": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "generation_ms": None,
        "scores": unscored(),
        "error": error.replace("\x00", "\ufffd")[:2_000],
    }


def _answered(question: Question, said: RagAnswer) -> Json:
    text = said.answer.replace("\x00", "\ufffd")  # PostgreSQL keeps no NUL
    scores = score(
        Sample(
            answer=text,
            references=question.item.references,
            aliases=question.item.aliases,
            passages=None
            if question.condition == "closed_book"
            else [passage.text for passage in said.passages],
        )
    )
    return {
        "text": text,
        "finish_reason": said.finish_reason,
        "passage_ids": [passage.id for passage in said.passages],
        "left_out": said.left_out,
        "prompt_sha256": said.prompt_sha256,
        "adapter_sha256": said.adapter_sha256,
        "prompt_tokens": said.usage.prompt_tokens,
        "completion_tokens": said.usage.completion_tokens,
        "generation_ms": said.timings.generation_ms,
        "scores": scores,
        "error": None,
    }
