"""What the arms were tuned on, compared with what they are asked."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from services.common.contracts.leakage import KnownFacts, ReportTraining, TrainingOverlap
from services.common.errors import FineproofError
from services.common.overlap import Overlap, Row
from services.evaluator import storage
from services.evaluator.models import Item
from services.evaluator.peers import patiently
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.run import Run

LINES_AT_ONCE = 200
CHARACTERS_AT_ONCE = 4 * 2**20
ITEMS_AT_ONCE = 500


async def audit(run: Run, arms: Sequence[ProvenArm]) -> list[ReportTraining]:
    """One entry an adapter's training file, read once however many arms were tuned on it.

    Files are streamed, test items held. What the trainer no longer knows, or cannot say just now,
    is a reason in the entry and fails nothing.
    """
    found: list[ReportTraining] = []
    read: dict[str, TrainingOverlap] = {}
    for arm in arms:
        if arm.adapter is None or (arm.job_id is None and _is_told(found, arm.name)):
            continue
        said = ReportTraining(arm=arm.name)
        try:
            said.training_file, said.facts = await _job(run, arm)
            if _is_told(found, arm.name, said.training_file):
                continue  # the same pairs with another seed
            if said.training_file not in read:
                read[said.training_file] = await _overlap(run, said.training_file)
            said.overlap = read[said.training_file]
        except FineproofError as error:
            said.reason = error.message
        found.append(said)
    return found


def _is_told(found: Sequence[ReportTraining], arm: str, file: str | None = None) -> bool:
    return any(said.arm == arm and file in (None, said.training_file) for said in found)


async def _job(run: Run, arm: ProvenArm) -> tuple[str, KnownFacts | None]:
    trainer, seconds = run.peers.trainer, run.settings.answer_patience_s
    job_id = arm.job_id
    if job_id is None:
        record = await patiently(lambda: trainer.adapter(str(arm.adapter)), seconds=seconds)
        job_id = record.job_id
    job = await patiently(lambda: trainer.job(job_id), seconds=seconds)
    if not job.checks.get("known_facts"):
        return job.training_file, None
    # What was found out about the data stands before the first step's figures.
    events = await patiently(lambda: trainer.events(job_id, limit=100), seconds=seconds)
    facts = [
        KnownFacts.model_validate({name: event.data[name] for name in KnownFacts.model_fields})
        for event in events.data
        if event.data and event.data.get("check") == "known_facts" and "unknown" in event.data
    ]
    return job.training_file, facts[-1] if facts else None


async def _overlap(run: Run, file_id: str) -> TrainingOverlap:
    async def read() -> TrainingOverlap:
        overlap = Overlap()
        await _hold_items(run, overlap)
        async with run.peers.trainer.file_lines(file_id) as lines:
            async for batch in _batches(lines):
                await asyncio.to_thread(_meet, overlap, batch)
        return overlap.found()

    return await patiently(read, seconds=run.settings.answer_patience_s)


async def _hold_items(run: Run, overlap: Overlap) -> None:
    start = 0
    while page := await run.write(
        lambda session: storage.items(session, run.experiment_id, start, start + ITEMS_AT_ONCE)  # noqa: B023
    ):
        await asyncio.to_thread(_hold, overlap, page)
        start += ITEMS_AT_ONCE


def _hold(overlap: Overlap, page: Sequence[Item]) -> None:
    for item in page:
        overlap.hold(_held(item))


def _held(item: Item) -> Row:
    return Row(
        id=item.item_id,
        question=item.question,
        answer=item.reference,
        gold=frozenset(item.evidence_ids),
        documents=frozenset({item.cluster, *(passage["doc_id"] for passage in item.oracle)}),
        passages={passage["id"]: passage["text"] for passage in item.oracle},
    )


async def _batches(lines: AsyncIterator[str]) -> AsyncIterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    number = size = 0
    async for line in lines:
        number += 1
        size += len(line)
        batch.append((number, line))
        if len(batch) == LINES_AT_ONCE or size > CHARACTERS_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _meet(overlap: Overlap, batch: Sequence[tuple[int, str]]) -> None:
    for number, line in batch:
        # The trainer has read the file to its end; what is odd all the same is not compared.
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            if line.strip() and (row := trained(number, json.loads(line))) is not None:
                overlap.meet(row)


def trained(number: int, line: dict[str, Any]) -> Row | None:
    """A line of a training file: a pair, or a conversation or preference, whose last question
    counts."""
    if "question" not in line:
        messages = line.get("messages") or line.get("input", {}).get("messages", [])
        asked = [said["content"] for said in messages if said["role"] == "user"]
        answers = line.get("preferred_output") or messages
        if not asked or not answers:
            return None
        return Row(f"line {number}", str(asked[-1]), str(answers[-1]["content"]))
    gold = frozenset(map(str, line.get("evidence_ids") or ()))
    document = line.get("doc_id")
    context = line.get("context") or ()
    return Row(
        id=f"line {number}",
        question=line["question"],
        answer=line["answer"],
        gold=gold,
        documents=frozenset() if document is None else frozenset({str(document)}),
        passages={f"line {number}, context {at}": text for at, text in enumerate(context, 1)},
    )
