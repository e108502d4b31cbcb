"""Questions are told apart by the documents they are about."""

import json
from pathlib import Path
from typing import Any

import pytest

from fineproof.data.documents import Corpus
from fineproof.errors import UserError
from fineproof.judge.documents import keep_apart, questions

CORPUS = [
    {"id": "p1", "text": "One.", "doc_id": "d1"},
    {"id": "p2", "text": "Two.", "title": "A title"},
    {"id": "p3", "text": "Three.", "title": "A title"},
    {"id": "p4", "text": "Four."},
]


def row(number: int, *evidence: str, **fields: Any) -> dict[str, Any]:
    asked = {"id": f"q{number}", "question": f"What is {number}?", "answer": "it"}
    return asked | {"evidence_ids": list(evidence)} | fields


def folder(where: Path, **files: list[dict[str, Any]]) -> Path:
    for name, rows in files.items():
        (where / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return where


def test_a_question_belongs_to_the_document_it_names_or_its_evidence_is_in(tmp_path: Path) -> None:
    rows = [row(1, "p1"), row(2, "p3"), row(3, "p4"), row(4, "gone"), row(5, doc_id="own"), row(6)]
    data = folder(tmp_path, corpus=CORPUS, test=rows)
    found = questions(data, "test.jsonl", Corpus.read(data))
    named = [one.get("doc_id") for one in found]
    assert named == ["d1", "A title", "p4", "gone", "own", None]


def test_training_and_test_questions_about_one_document_are_refused(tmp_path: Path) -> None:
    corpus = Corpus.read(folder(tmp_path, corpus=CORPUS))
    keep_apart([row(1, "p1")], [row(2, "p2")], corpus)
    with pytest.raises(UserError, match=r"1 training questions.*\(q1\)"):
        keep_apart([row(1, "p1", "p3")], [row(2, "p2")], corpus)


def test_a_question_that_is_asked_in_the_test_is_refused_whatever_it_is_about(
    tmp_path: Path,
) -> None:
    corpus = Corpus.read(folder(tmp_path, corpus=CORPUS))
    for question in ("What  is 2?", "what is 2", 'What is "2"?'):
        with pytest.raises(UserError, match="asked"):
            keep_apart([row(1, "p1", question=question)], [row(2, "p2")], corpus)


def test_a_folder_without_a_corpus_has_its_evidence_for_documents(tmp_path: Path) -> None:
    data = folder(tmp_path, test=[row(1, "p9")])
    assert questions(data, "test.jsonl", Corpus.read(data))[0]["doc_id"] == "p9"
    with pytest.raises(UserError, match=r"train\.jsonl"):
        questions(data, "train.jsonl", Corpus.read(data))
