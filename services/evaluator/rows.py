"""The answers of an experiment with their scores, a line each."""

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy.orm import Session

from services.common.contracts.evaluator import AnswerRow, ExperimentCreate
from services.common.contracts.findings import Attribution
from services.common.contracts.generator import Citation, Condition
from services.common.contracts.judge import Judgment, Preferred
from services.common.db import Database
from services.common.errors import InvalidRequest
from services.evaluator import models, storage
from services.evaluator.schemas import RowQuery
from services.evaluator.service import row_of

ROWS_AT_ONCE = 100  # items whose answers are read in one transaction


def check_rows(session: Session, query: RowQuery) -> RowQuery:
    """Refuse rows of an experiment or an arm that is not there."""
    arms = [arm["name"] for arm in row_of(session, query.experiment_id).spec["arms"]]
    if query.arm is not None and query.arm not in arms:
        raise InvalidRequest(
            f"There is no arm '{query.arm}'; the arms are {', '.join(arms)}.",
            code="unknown_arm",
            param="arm",
        )
    return query


async def row_lines(db: Database, query: RowQuery) -> AsyncIterator[bytes]:
    """The answers as JSON lines, in the order of items, conditions and arms.

    One short transaction for ``ROWS_AT_ONCE`` items, none while a line is on its way.
    """
    start = 0
    while True:
        lines, total = await asyncio.to_thread(_some_lines, db, query, start)
        for line in lines:
            yield line
        start += ROWS_AT_ONCE
        if start >= total:
            return


def _some_lines(db: Database, query: RowQuery, start: int) -> tuple[list[bytes], int]:
    with db.transaction() as session:
        experiment = storage.find(session, query.experiment_id)
        if experiment is None:  # deleted under the reader
            return [], 0
        spec = ExperimentCreate.model_validate(experiment.spec)
        arms = {arm.name: n for n, arm in enumerate(spec.arms)}
        models = {(arm["name"], arm["training_seed"]): arm["model"] for arm in experiment.arms}
        found = storage.rows(
            session,
            query.experiment_id,
            start,
            start + ROWS_AT_ONCE,
            arm=query.arm,
            condition=query.condition,
        )
        ordered = sorted(
            found,
            key=lambda row: (
                row[0].ordinal,
                spec.conditions.index(condition_of(row[1])),
                arms[row[1].arm],
                row[1].training_seed,
                row[1].repeat,
            ),
        )
        lines = []
        for item, answer in ordered:
            arm = spec.arms[arms[answer.arm]]
            seed = answer.training_seed if arm.tune and arm.tune.trains else None
            model = models.get((arm.name, seed)) or arm.model or ""
            row = to_row(item, answer, model).model_copy(update={"training_seed": seed})
            lines.append(row.model_dump_json().encode() + b"\n")
        return lines, storage.count_items(session, query.experiment_id)


def condition_of(answer: models.Answer) -> Condition:
    return answer.condition  # type: ignore[return-value]  # the column holds nothing else


def to_row(item: models.Item, answer: models.Answer, model: str) -> AnswerRow:
    return AnswerRow(
        experiment_id=answer.experiment_id,
        item_id=item.item_id,
        cluster=item.cluster,
        arm=answer.arm,
        model=model,
        adapter_sha256=answer.adapter_sha256,
        condition=condition_of(answer),
        question=item.question,
        reference=item.reference,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        passage_ids=answer.passage_ids,
        citations=[Citation.model_validate(citation) for citation in answer.citations],
        prompt_sha256=answer.prompt_sha256,
        completion_tokens=answer.completion_tokens,
        scores=answer.scores,
        judgments={
            name: Judgment.model_validate(one) for name, one in (answer.judgments or {}).items()
        },
        preference=Preferred.model_validate(answer.preference) if answer.preference else None,
        repeat=answer.repeat,
        attribution=Attribution.model_validate(answer.attribution) if answer.attribution else None,
        error=answer.error,
    )
