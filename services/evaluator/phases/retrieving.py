"""Passages for every item, found once and given to all arms alike."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy.orm import Session

from services.common.contracts.retriever import (
    BatchQuery,
    ComparisonFilter,
    Passage,
    SearchResult,
)
from services.common.errors import InvalidRequest
from services.evaluator import storage
from services.evaluator.items import read_items, to_row
from services.evaluator.metrics.retrieval import DEPTH
from services.evaluator.models import Json
from services.evaluator.peers import patiently
from services.evaluator.run import Run
from services.evaluator.schemas import ItemLine
from services.evaluator.turns import Pace

BATCH = 100  # items retrieved and kept at once
_MOST_RESULTS = 50  # the retriever's own limit


async def retrieve(run: Run) -> int:
    """Keep every item with its passages; those kept on an earlier turn stay. Returns their number.

    Raises ``InvalidRequest`` with the line at fault when the file cannot be read as items.
    """
    items = await patiently(lambda: read_file(run), seconds=run.settings.answer_patience_s)
    kept = await run.write(lambda session: storage.item_ids(session, run.experiment_id))
    pace = Pace(done=len(kept), total=len(items))
    await run.enter("retrieving", done=pace.done, total=pace.total)
    for start in range(0, len(items), BATCH):
        batch = [
            (ordinal, item)
            for ordinal, item in enumerate(items[start : start + BATCH], start)
            if item.id not in kept
        ]
        if batch:
            rows = await _retrieve(run, batch)
            pace.done += len(rows)
            await _save(run, rows, pace)
    return len(items)


async def read_file(run: Run) -> list[ItemLine]:
    """The items as their file has them. Raises ``InvalidRequest`` with the line at fault."""
    async with run.peers.trainer.file_lines(run.spec.dataset.file_id) as lines:
        items = await read_items(lines, most=run.settings.max_items)
    if run.spec.retrieval.within_document:
        homeless = [item.id for item in items if item.doc_id is None]
        if homeless:
            raise InvalidRequest(
                f"retrieval.within_document needs a doc_id on every item; {len(homeless)} lack "
                f"one, the first is '{homeless[0]}'.",
                code="invalid_dataset",
            )
    return items


async def _retrieve(run: Run, batch: Sequence[tuple[int, ItemLine]]) -> list[Json]:
    stored = await _stored(run, [item for _, item in batch])
    found = await _found(run, [item for _, item in batch])
    k = run.spec.retrieval.max_num_results
    among = run.spec.retrieval.distractors == "gold_among"
    return [
        to_row(item, ordinal, found=results, stored=stored, k=k, gold_among=among)
        for (ordinal, item), results in zip(batch, found, strict=True)
    ]


async def _stored(run: Run, items: Sequence[ItemLine]) -> dict[str, Passage]:
    """The evidence of ``items`` that the store holds, by id."""
    wanted = list(dict.fromkeys(evidence for item in items for evidence in item.evidence_ids))
    # An id the wire cannot carry names no passage.
    wanted = [evidence for evidence in wanted if "/" not in evidence and len(evidence) <= 200]
    stored: dict[str, Passage] = {}
    for start in range(0, len(wanted), 1_000):
        answer = await patiently(
            partial(
                run.peers.retriever.passages,
                run.spec.vector_store_id,
                wanted[start : start + 1_000],
            ),
            seconds=run.settings.answer_patience_s,
        )
        stored.update((passage.id, passage) for passage in answer.data)
    return stored


async def _found(run: Run, items: Sequence[ItemLine]) -> list[list[SearchResult]]:
    if not {"retrieved", "distractors"} & set(run.spec.conditions):
        return [[] for _ in items]
    k = run.spec.retrieval.max_num_results
    if "distractors" in run.spec.conditions:
        # Enough to fill the places that gold passages leave.
        k = min(_MOST_RESULTS, k + max(len(item.evidence_ids) for item in items))
    k = max(k, DEPTH)  # nDCG looks further than a prompt reaches
    queries = [
        BatchQuery(
            query=item.question,
            filters=ComparisonFilter(key="doc_id", type="eq", value=item.doc_id)
            if run.spec.retrieval.within_document and item.doc_id is not None
            else None,
        )
        for item in items
    ]
    return await patiently(
        lambda: run.peers.retriever.search_batch(
            run.spec.vector_store_id, queries, max_num_results=k
        ),
        seconds=run.settings.answer_patience_s,
    )


async def _save(run: Run, rows: list[Json], pace: Pace) -> None:
    seconds = pace.lap()

    def step(session: Session) -> None:
        storage.add_items(session, run.experiment_id, rows)
        storage.set_fields(
            session, run.experiment_id, done=pace.done, seconds_left=pace.seconds_left()
        )
        storage.add_seconds(session, run.experiment_id, "retrieving", seconds)

    await run.write(step)
