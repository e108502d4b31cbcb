"""Test items as data sets write them."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.common.contracts.retriever import Content, Passage, SearchResult
from services.common.errors import InvalidRequest
from services.evaluator.items import cluster_of, read_items, to_row
from services.evaluator.schemas import ItemLine


async def lines(*rows: dict[str, Any] | str) -> AsyncIterator[str]:
    for row in rows:
        yield row if isinstance(row, str) else json.dumps(row)


def item(**changes: Any) -> ItemLine:
    return ItemLine.model_validate({"id": "1", "question": "q", "answer": "a"} | changes)


def stored(passage_id: str, doc_id: str) -> Passage:
    return Passage(id=passage_id, doc_id=doc_id, title="", text=f"text of {passage_id}")


def found(ids: Sequence[str]) -> list[SearchResult]:
    return [
        SearchResult(
            file_id="d",
            filename="",
            score=1.0,
            attributes=None,
            content=[Content(text=f"text of {id_}")],
            passage_id=id_,
            doc_id="d",
            title="",
        )
        for id_ in ids
    ]


async def test_fields_that_data_sets_add_or_leave_empty_do_not_matter() -> None:
    read = await read_items(
        lines(
            {"id": 7, "question": "q", "answer": "a", "split": "dev", "aliases": None},
            "",
            {"id": "b", "question": "q", "answer": "a", "exact_answer": [["x; y"], "z"]},
        ),
        most=10,
    )
    assert [one.id for one in read] == ["7", "b"]
    assert read[1].exact_answer == ["x", "y", "z"]


async def test_an_empty_alias_is_none_and_a_number_is_its_text() -> None:
    row = {"id": "a", "question": "q", "answer": "a", "aliases": ["", " ", "b"]}
    (read,) = await read_items(
        lines(row | {"alt_answers": [""], "exact_answer": [5, [2.5, None]]}), most=10
    )
    assert (read.aliases, read.alt_answers, read.exact_answer) == (["b"], [], ["5", "2.5"])


async def test_more_items_than_allowed_are_refused_at_their_line() -> None:
    rows = [{"id": str(n), "question": "q", "answer": "a"} for n in range(3)]
    with pytest.raises(InvalidRequest, match=r"Line 3 .* at most 2"):
        await read_items(lines(*rows), most=2)


def test_an_item_belongs_to_its_document_however_that_is_known() -> None:
    known = {"p2": stored("p2", "doc-2")}
    assert cluster_of(item(doc_id="doc-1", evidence_ids=["p2"]), known) == "doc-1"
    assert cluster_of(item(evidence_ids=["p1", "p2"]), known) == "doc-2"
    assert cluster_of(item(evidence_ids=["p1"]), known) == "p1"
    assert cluster_of(item(), known) == "1"


def test_gold_is_taken_out_of_the_distractors_and_what_follows_fills_its_place() -> None:
    row = to_row(
        item(evidence_ids=["b", "lost", "b"]),
        4,
        found=found(["a", "b", "c", "d"]),
        stored={"b": stored("b", "d")},
        k=2,
    )
    assert [passage["id"] for passage in row["retrieved"]] == ["a", "b"]
    assert [passage["id"] for passage in row["oracle"]] == ["b"]
    assert [passage["id"] for passage in row["distractors"]] == ["a", "c"]
    assert row["ordinal"] == 4


def test_gold_among_near_misses_stands_in_no_fixed_place() -> None:
    places = set()
    for number in range(20):
        row = to_row(
            item(id=str(number), evidence_ids=["b"]),
            number,
            found=found(["a", "b", "c", "d"]),
            stored={"b": stored("b", "d")},
            k=3,
            gold_among=True,
        )
        given = [passage["id"] for passage in row["distractors"]]
        assert sorted(given) == ["a", "b", "c"]
        places.add(given.index("b"))
    assert places == {0, 1, 2}
