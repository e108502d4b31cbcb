import json
from pathlib import Path
from typing import Any

import pytest

from bench.questions import Questions, read
from fineproof.errors import UserError

CORPUS = [
    {"id": "a1", "text": "Moss grows.", "doc_id": "a"},
    {"id": "a2", "title": "Trees", "text": "Oaks grow.", "doc_id": "a"},
    {"id": "b1", "text": "Ice melts.", "doc_id": "b"},
]


def asked(*gold: str, doc_id: str | None = None) -> dict[str, Any]:
    return {"id": "q", "question": "What?", "evidence_ids": gold, "doc_id": doc_id}


def folder(path: Path, *questions: dict[str, Any]) -> Path:
    for name, rows in (("corpus", CORPUS), ("test", questions)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_all(path: Path, **changes: Any) -> Questions:
    return read(path, "test", **{"limit": None, "scope": "auto", **changes})


def test_questions_are_asked_of_the_document_that_holds_all_of_their_gold(tmp_path: Path) -> None:
    questions = asked("a1", "a2", doc_id="a"), asked("b1", doc_id="b"), asked("a2", doc_id="a")
    data = read_all(folder(tmp_path, *questions))
    assert data.within
    assert list(data.groups()) == [([0, 2], [0, 1]), ([1], [2])]
    assert data.documents() == ["a", "b", "a"]


@pytest.mark.parametrize(
    "question", [asked("a1", "b1", doc_id="a"), asked("a1", doc_id="b"), asked("a1")]
)
def test_else_they_are_asked_of_the_corpus(tmp_path: Path, question: dict[str, Any]) -> None:
    data = read_all(folder(tmp_path, question, asked("b1", doc_id="b")))
    assert not data.within
    assert list(data.groups()) == [([0, 1], [0, 1, 2])]


def test_the_scope_may_be_said(tmp_path: Path) -> None:
    path = folder(tmp_path, asked("a1", doc_id="a"))
    assert not read_all(path, scope="corpus").within
    with pytest.raises(UserError, match=r"1 questions of .* name no 'doc_id'"):
        read_all(folder(tmp_path, asked("a1")), scope="document")


def test_a_question_without_gold_is_left_out_and_counted(tmp_path: Path) -> None:
    data = read_all(folder(tmp_path, asked(), asked("a1")))
    assert (len(data.asked), data.without_gold) == (1, 1)
    with pytest.raises(UserError, match="No question"):
        read_all(folder(tmp_path, asked()))


def test_only_the_first_questions_are_read_where_a_limit_is_set(tmp_path: Path) -> None:
    assert len(read_all(folder(tmp_path, asked("a1"), asked("b1")), limit=1).asked) == 1


def test_a_title_is_part_of_what_is_searched(tmp_path: Path) -> None:
    data = read_all(folder(tmp_path, asked("a1")))
    assert [passage.text for passage in data.passages][:2] == ["Moss grows.", "Trees\nOaks grow."]


def test_a_folder_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no corpus\.jsonl"):
        read_all(tmp_path)
