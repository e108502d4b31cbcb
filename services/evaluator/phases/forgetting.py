"""The forgetting panel: the same general questions to every arm, closed book."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.common.contracts.arms import ForgettingAsk
from services.common.contracts.budget import Spent
from services.common.errors import InvalidRequest
from services.evaluator import storage
from services.evaluator.forgetting import PanelAnswer
from services.evaluator.items import read_items, to_row
from services.evaluator.metrics import score_all, unscored
from services.evaluator.models import Item
from services.evaluator.panel import MOST_ITEMS, of_panel, panel_lines
from services.evaluator.peers import patiently
from services.evaluator.phases.answers import Said, answered
from services.evaluator.phases.asking import Asker, asker_of, remembered
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.phases.questions import Question
from services.evaluator.run import Run
from services.evaluator.spending import check
from services.evaluator.turns import Pace

AT_ONCE = 40  # questions of an arm asked together


async def recall(run: Run, arms: Sequence[ProvenArm]) -> None:
    """Ask every arm the panel, if the experiment has one. What was asked before is in the cache."""
    if run.spec.forgetting is None:
        return
    items = await _items(run, run.spec.forgetting)
    pace = Pace(done=0, total=len(items) * len(arms))
    await run.enter("forgetting", done=0, total=pace.total)
    kept: list[PanelAnswer] = []
    async with asker_of(run) as asker:
        for start in range(0, len(items), AT_ONCE):
            for arm in arms:  # side by side: a drift of the server hits them alike
                kept += await _ask(run, arm, items[start : start + AT_ONCE], pace, asker)
    await run.write(
        lambda session: storage.set_fields(
            session, run.experiment_id, panel=[one.model_dump() for one in kept]
        )
    )


async def _items(run: Run, ask: ForgettingAsk) -> list[Item]:
    async def read() -> list[Item]:
        async with panel_lines(ask, run.peers) as lines:
            asked = await read_items(lines, most=MOST_ITEMS)
        return [Item(**to_row(item, n, found=(), stored={}, k=1)) for n, item in enumerate(asked)]

    try:
        return await patiently(read, seconds=run.settings.answer_patience_s)
    except InvalidRequest as error:
        raise of_panel(error) from error


async def _ask(
    run: Run, arm: ProvenArm, items: Sequence[Item], pace: Pace, asker: Asker
) -> list[PanelAnswer]:
    questions = [Question(item, "closed_book", arm, 0, run.spec.sampling) for item in items]
    known = await run.write(
        lambda session: remembered(session, [one.cache_key for one in questions])
    )

    async def said(question: Question) -> Said:
        before = known.get(question.cache_key)
        if before is not None:
            return answered(question, before)
        return (await asker.ask([question]))[0]

    async with asyncio.TaskGroup() as asking:
        tasks = [asking.create_task(said(question)) for question in questions]
    answers = [task.result() for task in tasks]
    await asker.flush()  # the next arm may be of the same weights
    samples = [one.sample for one in answers if one.sample is not None]
    scores = iter(await asyncio.to_thread(score_all, samples, run.similarity))
    pace.done += len(answers)
    cached = sum(one.sample is not None and one.fresh is None for one in answers)
    seconds = pace.lap()

    def keep(session: Session) -> Spent:
        storage.set_fields(
            session, run.experiment_id, done=pace.done, seconds_left=pace.seconds_left()
        )
        storage.add_seconds(session, run.experiment_id, "forgetting", seconds)
        return storage.add_spent(session, run.experiment_id, Spent(cached=cached))

    check(run.spec.budget, await run.write(keep))
    return [
        PanelAnswer(
            arm=arm.name,
            training_seed=arm.training_seed or 0,
            item_id=question.item.item_id,
            cluster=question.item.cluster,
            question=question.item.question,
            reference=question.item.reference,
            text=one.row["text"],
            scores=next(scores) if one.sample is not None else unscored(),
            error=one.row["error"],
        )
        for question, one in zip(questions, answers, strict=True)
    ]
