"""``fineproof data``, on folders written here."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fineproof.cli import app
from fineproof.errors import UserError


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Qasper's form: 40 papers with four questions each."""

    def paper(n: int) -> dict[str, Any]:
        texts = [f"Paper {n} counts thing {k} as number {n * 10 + k}." for k in range(4)]
        return {
            "title": f"Paper {n}",
            "abstract": f"About {n}.",
            "full_text": [{"section_name": "S", "paragraphs": texts}],
            "qas": [
                {
                    "question": f"What is thing {k} of paper {n}?",
                    "question_id": f"{n}-{k}",
                    "answers": [
                        {
                            "answer": {
                                "unanswerable": False,
                                "extractive_spans": [str(n * 10 + k)],
                                "yes_no": None,
                                "free_form_answer": "",
                                "evidence": [texts[k]],
                            }
                        }
                    ],
                }
                for k in range(4)
            ],
        }

    path = tmp_path / "qasper-train-v0.3.json"
    path.write_text(json.dumps({f"p{n}": paper(n) for n in range(40)}))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sample_is_a_folder_that_passes_the_check(papers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = invoke("prepare", papers, out, "--pairs", 50, "--items", 20, "--seed", 3, "--json")
    assert made.exit_code == 0, made.output
    manifest = json.loads(made.stdout)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["pairs"] == 50
    assert manifest["licence"].endswith("CC BY 4.0")
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert manifest["samples"] == {"50": manifest["files"]["train.jsonl"]}
    checked = invoke("check", out, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["warnings"] == []


def test_train_and_test_come_from_other_documents(papers: Path, tmp_path: Path) -> None:
    invoke("prepare", papers, tmp_path / "out", "--pairs", 100, "--items", 20)
    train, test = (rows_of(tmp_path / "out" / f"{name}.jsonl") for name in ("train", "test"))
    assert {row["doc_id"] for row in train}.isdisjoint(row["doc_id"] for row in test)
    known = {row["id"] for row in rows_of(tmp_path / "out" / "corpus.jsonl")}
    assert all(id_ in known for row in (*train, *test) for id_ in row["evidence_ids"])


def test_samples_are_nested_and_differ_in_the_training_alone(papers: Path, tmp_path: Path) -> None:
    for pairs in (30, 60):
        invoke("prepare", papers, tmp_path / str(pairs), "--pairs", pairs, "--items", 20)
    small, large = tmp_path / "30", tmp_path / "60"
    assert (large / "train.jsonl").read_text().startswith((small / "train.jsonl").read_text())
    for name in ("corpus.jsonl", "test.jsonl"):
        assert (small / name).read_bytes() == (large / name).read_bytes()


def test_the_order_of_the_file_moves_nothing_and_the_seed_does(
    papers: Path, tmp_path: Path
) -> None:
    invoke("prepare", papers, tmp_path / "a", "--pairs", 30, "--items", 20)
    content = json.loads(papers.read_text())
    papers.write_text(json.dumps(dict(reversed(content.items()))))
    invoke("prepare", papers, tmp_path / "b", "--pairs", 30, "--items", 20)
    invoke("prepare", papers, tmp_path / "c", "--pairs", 30, "--items", 20, "--seed", 1)
    trains = [(tmp_path / name / "train.jsonl").read_text() for name in "abc"]
    assert trains[0] == trains[1] != trains[2]


def test_too_few_documents_are_said_and_nothing_is_written(papers: Path, tmp_path: Path) -> None:
    failed = invoke("prepare", papers, tmp_path / "out", "--pairs", 150, "--items", 20)
    assert isinstance(failed.exception, UserError)
    assert "20 test questions and then 140 training pairs" in str(failed.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(papers: Path, tmp_path: Path) -> None:
    failed = invoke("prepare", papers, tmp_path, "--pairs", 30, "--items", 20)
    assert "there already" in str(failed.exception)


def folder(tmp_path: Path, **files: list[dict[str, Any]]) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    usual = {
        "corpus": [{"id": f"p{n}", "text": f"Text {n} of the corpus."} for n in range(4)],
        "train": [{"id": "t1", "question": "Who is it?", "answer": "Ada", "evidence_ids": ["p0"]}],
        "test": [
            {"id": "q1", "question": "Where is it?", "answer": "Oslo", "evidence_ids": ["p1"]}
        ],
    }
    for name, rows in (usual | files).items():
        write(path / f"{name}.jsonl", rows)
    return path


def test_a_folder_s_own_split_and_corpus_are_kept(tmp_path: Path) -> None:
    data = folder(
        tmp_path,
        train=[
            {"id": f"t{n}", "question": f"Q{n}?", "answer": "A", "doc_id": f"d{n % 12}"}
            for n in range(24)
        ],
        test=[
            {
                "id": f"q{n}",
                "question": f"T{n}?",
                "answer": "A",
                "doc_id": f"d{n}",
                "aliases": ["B"],
            }
            for n in range(2)
        ],
    )
    made = invoke("prepare", data, tmp_path / "out", "--pairs", 20, "--items", 2, "--json")
    assert made.exit_code == 0, made.exception
    assert json.loads(made.stdout)["counts"]["passages"] == 4
    test = rows_of(tmp_path / "out" / "test.jsonl")
    assert {row["id"] for row in test} == {"q0", "q1"}
    assert all(row["aliases"] == ["B"] for row in test)
    train = rows_of(tmp_path / "out" / "train.jsonl")
    assert not {row["doc_id"] for row in train} & {"d0", "d1"}


def test_the_check_names_file_and_line(tmp_path: Path) -> None:
    data = folder(tmp_path)
    with (data / "test.jsonl").open("a") as target:
        target.write('{"id": "q2"}\n\nnonsense\n{"id": "q1", "question": "Q", "answer": "A"}\n')
        target.write('{"id": "q3", "question": "Q", "answer": "A", "evidence_ids": "p1"}\n')
    checked = invoke("check", data, "--json")
    assert checked.exit_code == 1
    found = json.loads(checked.stdout)
    assert not found["ok"]
    assert found["problems"] == [
        "test.jsonl, line 2: 'question' is missing or empty.",
        "test.jsonl, line 4: not JSON (Expecting value).",
        "test.jsonl, line 5: id 'q1' stands on line 1 already.",
        "test.jsonl, line 6: 'evidence_ids' is not a list.",
    ]
    assert "problem: test.jsonl, line 4" in invoke("check", data).stdout


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"question": "What is \ud83d?"}, "holds half a character (a lone surrogate)"),
        ({"aliases": ["\ud83d"]}, "holds half a character (a lone surrogate)"),
        ({"alt_answers": [None]}, "'alt_answers' holds what is no text"),
        ({"aliases": ["one", 1]}, "'aliases' holds what is no text"),
        ({"evidence_ids": ["p1", None]}, "'evidence_ids' holds what is no id"),
        ({"question": "What is \U0001f600?", "evidence_ids": ["p1", 5]}, None),
    ],
)
def test_the_check_finds_what_no_service_takes(
    tmp_path: Path, fields: dict[str, Any], problem: str | None
) -> None:
    data = folder(tmp_path)
    with (data / "test.jsonl").open("a") as target:
        target.write(json.dumps({"id": "q9", "question": "Q", "answer": "A"} | fields) + "\n")
    found = json.loads(invoke("check", data, "--json").stdout)
    assert found["problems"] == ([f"test.jsonl, line 2: {problem}."] if problem else [])


def test_the_check_warns_of_what_is_there_twice_and_on_both_sides(tmp_path: Path) -> None:
    asked = {"question": "who is it", "answer": "Eve", "evidence_ids": ["p0", "gone"]}
    data = folder(
        tmp_path,
        corpus=[{"id": f"p{n}", "text": "The same."} for n in range(2)],
        test=[{"id": "q1"} | asked, {"id": "q2", "question": "Who is it?", "answer": "Eve"}],
    )
    checked = invoke("check", data, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["warnings"] == [
        "corpus.jsonl: 1 row (line 2) has the text of an earlier passage.",
        "test.jsonl: 1 row (line 2) has a question asked before.",
        "test.jsonl: 1 row (line 2) has no evidence_ids.",
        "test.jsonl: 1 row (line 1) has evidence that is not in corpus.jsonl.",
        "test.jsonl: 1 row (line 1) has a question of train.jsonl.",
        "test.jsonl: 1 of its documents are in train.jsonl too.",
        "test.jsonl: 1 of its gold passages are gold in train.jsonl too.",
    ]


def test_an_audit_finds_the_test_in_the_training_data(tmp_path: Path) -> None:
    text = "The pump in the northern hall was installed by the crew of Nordvik in 2014."
    data = folder(
        tmp_path,
        corpus=[
            {"id": "p0", "text": text, "doc_id": "d1"},
            {"id": "p1", "text": text.replace("2014", "2015"), "doc_id": "d2"},
        ],
        test=[{"id": "q1", "question": "Who is it?", "answer": "ada!", "evidence_ids": ["p1"]}],
    )
    audited = invoke("audit", data, "--json")
    assert audited.exit_code == 0
    found = json.loads(audited.stdout)["test.jsonl"]
    assert found["questions"] == {"exact": 1, "same": 0, "near": 0}
    assert (found["repeated"], found["gold"], found["documents"]) == (1, 0, 0)
    assert found["passages"] == {"exact": 0, "same": 0, "near": 1}
    spoken = invoke("audit", data).stdout
    assert "1 of 1 test questions stand in 1 of 1 training rows" in spoken
    assert "question, exact (1.00): train t1, test q1: Who is it?" in spoken


def test_passages_of_one_title_are_one_document_to_all_that_look_at_a_folder(
    tmp_path: Path,
) -> None:
    titled = [{"id": f"p{n}", "title": "One", "text": f"Text {n} of it."} for n in range(2)]
    write(tmp_path / "corpus.jsonl", titled)
    for name, question, gold in (("train", "First thing?", "p0"), ("test", "Other matter?", "p1")):
        row = {"id": name, "question": question, "answer": "it", "evidence_ids": [gold]}
        write(tmp_path / f"{name}.jsonl", [row])
    assert "1 of its documents are in train.jsonl too" in invoke("check", tmp_path).output
    found = json.loads(invoke("audit", tmp_path, "--json").stdout)
    assert found["test.jsonl"]["documents"] == 1
    made = invoke("prepare", tmp_path, tmp_path / "out", "--pairs", 1, "--items", 1)
    assert made.exit_code != 0


def test_an_audit_of_a_clean_folder_says_so(tmp_path: Path) -> None:
    assert (
        "Nothing of the test is in the training data." in invoke("audit", folder(tmp_path)).stdout
    )
