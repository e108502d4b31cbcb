"""Test items: read from a file's lines, and told apart by the document they come from."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence

from pydantic import ValidationError

from services.common.contracts.retriever import Passage, SearchResult
from services.common.errors import InvalidRequest
from services.evaluator.models import Json
from services.evaluator.schemas import ItemLine


async def read_items(lines: AsyncIterator[str], *, most: int) -> list[ItemLine]:
    """Parse JSON lines; blank ones are skipped. ``InvalidRequest`` names the line at fault."""
    items: list[ItemLine] = []
    seen: dict[str, int] = {}
    number = 0
    async for line in lines:
        number += 1
        if not line.strip():
            continue
        item = _parse(line, number)
        if item.id in seen:
            raise _wrong(number, f"id '{item.id}' stands on line {seen[item.id]} already")
        if len(items) == most:
            raise _wrong(number, f"at most {most} items are measured at once")
        seen[item.id] = number
        items.append(item)
    if not items:
        raise InvalidRequest("The file holds no test items.", code="invalid_dataset")
    return items


def _parse(line: str, number: int) -> ItemLine:
    try:
        return ItemLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _wrong(number, f"{field}: {first['msg']}" if field else first["msg"]) from error


def _wrong(number: int, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Line {number} of the test file: {reason}.", code="invalid_dataset")


def cluster_of(item: ItemLine, stored: Mapping[str, Passage]) -> str:
    """The document an item was made from: its own ``doc_id``, else its first evidence's.

    Items that name neither are clusters of their own.
    """
    if item.doc_id is not None:
        return item.doc_id
    for evidence in item.evidence_ids:
        if evidence in stored:
            return stored[evidence].doc_id
    return item.evidence_ids[0] if item.evidence_ids else item.id


def to_row(
    item: ItemLine,
    ordinal: int,
    *,
    found: Sequence[SearchResult],
    stored: Mapping[str, Passage],
    k: int,
    gold_among: bool = False,
) -> Json:
    """An item as it is kept: with the ``k`` passages found, the gold, and the gold taken out.

    ``found`` may be longer than ``k``: what follows fills the places of gold passages among the
    distractors. ``gold_among`` puts the gold in among them, in the order of a hash.
    """
    gold = set(item.evidence_ids)
    oracle = [
        _stored(stored[evidence])
        for evidence in dict.fromkeys(item.evidence_ids)
        if evidence in stored
    ]
    misses = [_found(result) for result in found if result.passage_id not in gold]
    distractors = misses[:k]
    if gold_among and oracle:
        mixed = [*oracle[:k], *misses[: max(0, k - len(oracle))]]
        distractors = sorted(mixed, key=lambda passage: _shuffled(item.id, passage["id"]))
    return {
        "item_id": item.id,
        "ordinal": ordinal,
        "question": item.question,
        "reference": item.answer,
        "references": [item.answer, *item.alt_answers],
        "aliases": [*item.aliases, *item.exact_answer],
        "cluster": cluster_of(item, stored),
        "evidence_ids": item.evidence_ids,
        "retrieved": [_found(result) for result in found[:k]],
        "oracle": oracle,
        "ranking": [result.passage_id for result in found],
        "distractors": distractors,
    }


def _shuffled(item_id: str, passage_id: str) -> bytes:
    """A place that is the same in every run, and that rank and file have no hand in."""
    return hashlib.sha256(f"{item_id}\0{passage_id}".encode()).digest()


def _found(result: SearchResult) -> Json:
    return {
        "id": result.passage_id,
        "doc_id": result.doc_id,
        "title": result.title,
        "text": result.text,
        "score": result.score,
    }


def _stored(passage: Passage) -> Json:
    return {
        "id": passage.id,
        "doc_id": passage.doc_id,
        "title": passage.title,
        "text": passage.text,
    }
