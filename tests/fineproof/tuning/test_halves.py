"""Test questions in two halves that share no document."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fineproof.data.documents import Corpus, Row
from fineproof.data.reading import PAIR, rows
from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset, prepare
from fineproof.tuning.halves import LEAST_DOCUMENTS, Halves, apart, halve
from services.evaluator.statistics.power import MIN_CLUSTERS

PAIRS = [{"id": f"t{n}", "question": f"Why {n}?", "answer": "So."} for n in range(12)]


def row(number: int, **fields: Any) -> Row:
    return {"id": f"q{number}", "question": f"What is {number}?", "answer": "it"} | fields


def dataset(where: Path, questions: Sequence[Row], corpus: Sequence[Row] = ()) -> Dataset:
    folder = where / "data"
    folder.mkdir(exist_ok=True)
    passages = [*corpus, {"id": "other", "text": "Nothing."}]
    for name, content in (("corpus", passages), ("train", PAIRS), ("test", questions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in content))
    return prepare(folder, pairs=None, items=None, into=where / "used")


def ids(halves: Halves) -> tuple[list[str], list[str]]:
    search, confirmation = (
        [one["id"] for one in rows(half.dataset.test, PAIR)]
        for half in (halves.search, halves.confirmation)
    )
    return search, confirmation


def test_every_question_is_in_one_half_and_every_document_too(tmp_path: Path) -> None:
    questions = [row(n, doc_id=f"d{n // 3}") for n in range(42)]
    whole = dataset(tmp_path, questions)
    halves = halve(whole, seed=0, into=tmp_path)
    search, confirmation = ids(halves)
    assert sorted(search + confirmation) == sorted(one["id"] for one in questions)
    document = {one["id"]: one["doc_id"] for one in questions}
    assert {document[id_] for id_ in search}.isdisjoint(document[id_] for id_ in confirmation)
    assert (halves.search.documents, halves.confirmation.documents) == (7, 7)
    assert (halves.search.dataset.items, halves.confirmation.dataset.items) == (21, 21)
    hashes = {whole.sha256, halves.search.dataset.sha256, halves.confirmation.dataset.sha256}
    assert len(hashes) == 3
    assert halves.search.dataset.train == halves.confirmation.dataset.train == whole.train


def test_the_seed_deals_and_the_order_of_the_file_does_not(tmp_path: Path) -> None:
    questions = [row(n, doc_id=f"d{n // 2}") for n in range(40)]
    one = ids(halve(dataset(tmp_path, questions), seed=1, into=tmp_path))
    again = ids(halve(dataset(tmp_path, questions[::-1]), seed=1, into=tmp_path))
    other = ids(halve(dataset(tmp_path, questions), seed=2, into=tmp_path))
    assert set(one[0]) == set(again[0]) != set(other[0])


def test_questions_stay_together_whatever_they_share_a_document_by(tmp_path: Path) -> None:
    corpus = [
        {"id": "p1", "text": "One.", "doc_id": "d1"},
        {"id": "p2", "text": "Two.", "title": "A title"},
        {"id": "p3", "text": "Three.", "title": "A title"},
    ]
    chained = [
        row(0, doc_id="d1"),
        row(1, evidence_ids=["p1", "p2"]),
        row(2, evidence_ids=["p3"]),
        row(3, evidence_ids=["gone"], doc_id="A title"),
    ]
    alone = [row(n) for n in range(4, 20)]
    whole = dataset(tmp_path, [*chained, *alone], corpus)
    for seed in range(8):
        search, confirmation = ids(halve(whole, seed=seed, into=tmp_path))
        together = {one["id"] for one in chained}
        assert together <= set(search) or together <= set(confirmation)


def test_too_few_documents_are_refused_in_a_sentence(tmp_path: Path) -> None:
    assert LEAST_DOCUMENTS == MIN_CLUSTERS
    questions = [row(n, doc_id=f"d{n % 11}") for n in range(99)]
    with pytest.raises(UserError) as caught:
        halve(dataset(tmp_path, questions), seed=0, into=tmp_path)
    assert str(caught.value) == (
        "The 99 test questions are about 11 documents that have no question in common, and a "
        "search needs 12: 6 to choose by and 6 others to confirm on."
    )
    enough = [*questions, row(99, doc_id="d11")]
    assert halve(dataset(tmp_path, enough), seed=0, into=tmp_path).search.documents == 6


DOCUMENTS = st.lists(st.sets(st.integers(0, 12).map(str), max_size=3), min_size=1, max_size=40)


@settings(deadline=None)
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_groups_share_nothing_and_are_as_small_as_can_be(
    about: list[set[str]], random: Any
) -> None:
    questions = [row(n, evidence_ids=sorted(documents)) for n, documents in enumerate(about)]
    groups = apart(questions, Corpus({}))
    assert sum(map(len, groups.values())) == len(questions)
    touched = [{id_ for one in group for id_ in one["evidence_ids"]} for group in groups.values()]
    assert sum(map(len, touched)) == len(set().union(*touched))
    for group in groups.values():
        assert _hangs_together([set(one["evidence_ids"]) for one in group])
    random.shuffle(questions)
    assert {name: len(group) for name, group in apart(questions, Corpus({})).items()} == {
        name: len(group) for name, group in groups.items()
    }


def _hangs_together(sets: list[set[str]]) -> bool:
    reached = sets.pop()
    while near := next((one for one in sets if one & reached), None):
        sets.remove(near)
        reached |= near
    return not sets
