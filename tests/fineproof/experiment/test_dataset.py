import json
from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.experiment.dataset import passage_lines, prepare

ROW = {"id": "q1", "question": "Who?", "answer": "Ada", "evidence_ids": ["p1"]}


def folder_with(tmp_path: Path, *, test: str | None = None) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    passages = [
        {"id": f"p{n}", "title": "T", "text": "x" * 1000, "origin": "a"} for n in range(200)
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in passages))
    rows = [ROW | {"id": f"q{n}"} for n in range(30)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines)
    (folder / "test.jsonl").write_text(lines if test is None else test)
    return folder


def test_the_first_rows_are_taken_and_counted(tmp_path: Path) -> None:
    dataset = prepare(folder_with(tmp_path), pairs=20, items=100, into=tmp_path / "used")
    assert (dataset.passages, dataset.pairs, dataset.items) == (200, 20, 30)
    kept = [json.loads(line)["id"] for line in dataset.train.read_text().splitlines()]
    assert kept == [f"q{n}" for n in range(20)]


def test_the_hash_follows_the_rows_used(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    twenty = prepare(folder, pairs=20, items=10, into=tmp_path / "a")
    again = prepare(folder, pairs=20, items=10, into=tmp_path / "b")
    more = prepare(folder, pairs=21, items=10, into=tmp_path / "c")
    assert twenty.sha256 == again.sha256 != more.sha256
    assert twenty.corpus_sha256 == more.corpus_sha256


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"has no train\.jsonl"):
        prepare(folder, pairs=20, items=10, into=tmp_path / "used")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: a row is a JSON object"),
        ('{"id": "a", "question": "Q"}', "line 2: 'answer' is missing or empty"),
        ('{"id": "a", "question": " ", "answer": "A"}', "line 2: 'question' is missing or empty"),
    ],
)
def test_the_first_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    folder = folder_with(tmp_path, test=json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(UserError, match=complaint):
        prepare(folder, pairs=20, items=10, into=tmp_path / "used")


async def test_the_corpus_streams_in_blocks_of_whole_lines(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    blocks = [block async for block in passage_lines(folder / "corpus.jsonl")]
    assert len(blocks) > 1
    rows = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(200)]
    assert set(rows[0]) == {"id", "doc_id", "title", "text"}


async def test_numbers_serve_as_ids(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, test='{"id": 7, "question": "Q", "answer": "A", "doc_id": 3}\n')
    (folder / "corpus.jsonl").write_text('{"id": 1, "text": "x", "title": null, "doc_id": 3}\n')
    dataset = prepare(folder, pairs=20, items=10, into=tmp_path / "used")
    assert json.loads(dataset.test.read_text()) == {
        "id": "7",
        "question": "Q",
        "answer": "A",
        "doc_id": "3",
    }
    blocks = [block async for block in passage_lines(dataset.corpus)]
    assert json.loads(blocks[0]) == {"id": "1", "text": "x", "title": "", "doc_id": "3"}


async def test_passages_of_one_title_are_of_one_document(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    passages = [{"id": "1", "title": "T"}, {"id": "2", "title": "T"}, {"id": "3"}]
    corpus.write_text("".join(json.dumps(each | {"text": "x"}) + "\n" for each in passages))
    [block] = [block async for block in passage_lines(corpus)]
    assert [json.loads(line)["doc_id"] for line in block.splitlines()] == ["T", "T", "3"]
