"""Before a judge judges: it sits an exam made of the experiment's own items."""

import asyncio
from functools import partial

from sqlalchemy.orm import Session

from services.common.contracts.budget import Spent
from services.common.contracts.judge import Qualification
from services.evaluator import storage
from services.evaluator.judges.exam.bar import shortfalls
from services.evaluator.judges.exam.building import build
from services.evaluator.judges.exam.sitting import sit
from services.evaluator.judges.judge import Judge
from services.evaluator.peers import patiently
from services.evaluator.phases.retrieving import read_file
from services.evaluator.run import Run
from services.evaluator.spending import JudgeLedger, check
from services.evaluator.turns import Pace


async def examine(run: Run, met: Judge, ledger: JudgeLedger) -> Qualification:
    """Whether the judge may decide. The same judge sits the same exam once, in this experiment or
    another; questions cluster by the documents that the experiment found for them. Raises
    ``BudgetExceeded`` once more is spent than the budget has."""
    assert run.spec.judge is not None  # it is the one that was met
    lines = await patiently(lambda: read_file(run), seconds=run.settings.answer_patience_s)
    documents = await run.write(partial(storage.documents, experiment_id=run.experiment_id))
    items = [line.model_copy(update={"doc_id": documents.get(line.id)}) for line in lines]
    ask = run.spec.judge
    paper = await asyncio.to_thread(build, items, seed=ask.seed, max_items=ask.exam_items)
    pace = Pace(done=0, total=len(paper.answers) * len(met.criteria))
    await run.enter("examining", done=0, total=pace.total)

    async def told(done: int) -> None:
        pace.done = done
        seconds, left, more = pace.lap(), pace.seconds_left(), ledger.take()

        def keep(session: Session) -> Spent:
            storage.set_fields(session, run.experiment_id, done=done, seconds_left=left)
            storage.add_seconds(session, run.experiment_id, "examining", seconds)
            return storage.add_spent(session, run.experiment_id, more)

        check(run.spec.budget, await run.write(keep))

    sitting = await sit(met, paper, sat_for=run.experiment_id, write=run.write, told=told)
    found = shortfalls(sitting.figures, ask.bar, sitting.scales)
    failed = list(dict.fromkeys(reason.metric for reason in found))
    return Qualification(
        judge_sha256=met.sha256,
        qualified=len(failed) < len(met.criteria),
        failed=failed,
        reasons=[reason.message for reason in found],
        exam_sha256=paper.sha256,
        same_as=sitting.same_as,
        figures=sitting.figures,
    )
