"""What files of scores may look like, and what is refused with the line at fault."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fineproof.comparison.conftest import Compare, Write

ROWS = [{"id": n, "score": n % 3 / 2} for n in range(40)]


def test_ids_pair_items_in_any_order_as_numbers_or_text(compare: Compare) -> None:
    tuned = [{"id": str(row["id"]), "score": row["score"]} for row in reversed(ROWS)]
    assert compare(ROWS, tuned).result["verdict"] == "EQUIVALENT"
    floats = [{"id": float(row["id"]), "score": row["score"]} for row in ROWS]
    assert compare(ROWS, floats).result["paired_by"] == "id"


@pytest.mark.parametrize("name", ["item_id", "question_id"])
def test_usual_names_of_ids_are_found(compare: Compare, name: str) -> None:
    rows = [{name: f"x{n}", "score": 1} for n in range(10)]
    assert compare(rows, rows[::-1]).result["paired_by"] == name


def test_without_ids_lines_are_paired_and_it_is_said(compare: Compare) -> None:
    rows = [{"score": row["score"]} for row in ROWS]
    told = compare(rows, rows)
    assert (told.result["paired_by"], told.code) == (None, 0)
    refused = compare(rows, rows[:-1])
    assert refused.code == 3
    assert "line by line" in refused.stderr
    by_line = compare(ROWS, [{"id": 999, "score": 1}] * len(ROWS), "--id", "none")
    assert by_line.result["n"] == len(ROWS)


def test_ids_that_not_every_line_names_alike_are_no_pairs_line_by_line(compare: Compare) -> None:
    named = [{"item_id": row["id"], "score": row["score"]} for row in reversed(ROWS)]
    bare = [{"score": row["score"]} for row in ROWS]
    for other, has in ((named, "item_id"), (bare, "none")):
        told = compare(ROWS, other)
        assert told.code == 3
        assert "base.jsonl has id" in told.result["error"]
        assert f"tuned.jsonl has {has}. --id names one" in told.result["error"]
    assert compare(ROWS, named, "--id", "none").result["paired_by"] is None
    late = [bare[0], *ROWS[1:]]
    assert "line 1: the id 'id' is missing" in compare(late, ROWS).result["error"]
    both = [{**row, "item_id": row["id"]} for row in ROWS]
    both[0].pop("id")
    assert compare(both, named).result["paired_by"] == "item_id"


def test_documents_that_any_line_of_either_file_names_keep_items_together(compare: Compare) -> None:
    docs = [{**row, "doc_id": n // 4} for n, row in enumerate(ROWS)]
    late = [ROWS[0], *docs[1:]]
    for base, tuned in ((docs, ROWS), (ROWS, docs), (late, docs), (late, ROWS)):
        told = compare(base, tuned).result
        assert (told["clustered_by"], told["clusters"]) == (
            "doc_id",
            11 if base is late and tuned is ROWS else 10,
        )
    assert compare(late, ROWS, "--cluster", "doc_id").result["clusters"] == 11
    assert "Neither file has" in compare(docs, docs, "--cluster", "page").result["error"]
    mixed = [{**docs[0], "cluster": "x"}, *docs[1:]]  # most items name the other
    assert compare(mixed, ROWS).result["clustered_by"] == "doc_id"
    twice = [line for row, doc in zip(ROWS, docs, strict=True) for line in (row, doc)]
    assert compare(twice, ROWS, "--repeats").result["clusters"] == 10


def test_what_only_one_file_holds_is_counted(compare: Compare) -> None:
    told = compare(ROWS[:35], ROWS[5:])
    assert told.result["n"] == 30
    files = told.result["files"]
    assert (files["base"]["only_here"], files["tuned"]["only_here"]) == (5, 5)
    assert files["base"]["examples"] == ["0", "1", "2", "3", "4"]
    assert any("10 items" in note for note in told.result["notes"])


def test_scores_lie_at_dotted_paths_or_under_names_with_dots(compare: Compare) -> None:
    nested = [{"id": n, "scores": {"token_f1": 0.5, "n": None}, "judge.a": 1} for n in range(9)]
    assert compare(nested, nested, "--score", "scores.token_f1").result["base"] == 0.5
    assert compare(nested, nested, "--score", "judge.a").result["base"] == 1
    assert compare(nested, nested, "--score", "scores.n").code == 3
    refused = compare(nested, nested, "--score", "scores.f1")
    assert refused.code == 3
    assert "line 1 has no field 'scores.f1'. It has scores.token_f1" in _flat(refused.stderr)


def test_repeats_are_averaged_within_the_item_when_asked(compare: Compare) -> None:
    repeated = [{"id": n, "score": score} for n in range(20) for score in (0.0, 1.0, None)]
    refused = compare(repeated, repeated)
    assert refused.code == 3
    assert "id '0' stands on line 1 and on line 2" in _flat(refused.stderr)
    told = compare(repeated, repeated, "--repeats")
    assert (told.result["n"], told.result["base"]) == (20, 0.5)
    assert told.result["files"]["base"]["repeated"] == 20


def test_one_file_may_hold_both_sides(compare: Compare, write: Write) -> None:
    rows = [
        {"item_id": n, "arm": arm, "condition": condition, "cluster": f"c{n}", "score": score}
        for n in range(20)
        for arm, score in (("base", 1.0), ("rag", 0.0))
        for condition in ("closed_book", "retrieved")
    ]
    path = write("rows.jsonl", rows)
    refused = compare(path, path)
    assert "--where arm=… (base, rag)" in _flat(refused.stderr)
    sides = ("--base-where", "arm=base", "--tuned-where", "arm=rag")
    told = compare(path, path, *sides, "--where", "condition=retrieved")
    assert (told.result["verdict"], told.result["diff"]) == ("HURTS", -1)
    assert told.result["clustered_by"] == "cluster"
    none = compare(path, path, "--where", "arm=qa")
    assert "no item has arm=qa" in _flat(none.stderr)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_blank_lines_ends_of_lines_and_marks_do_not_matter(compare: Compare, end: str) -> None:
    text = "\ufeff" + end.join(
        json.dumps(row | {"note": "a\u2028b"}, ensure_ascii=False) for row in ROWS
    )
    assert compare(text, ROWS).result["n"] == len(ROWS)


def test_a_file_may_be_compressed_or_one_list_of_json(compare: Compare, write: Write) -> None:
    assert compare(write("base.jsonl.gz", ROWS), ROWS).result["n"] == len(ROWS)
    assert compare(json.dumps(ROWS), json.dumps(ROWS, indent=2)).result["n"] == len(ROWS)
    document = {"model": "tuned", "results": ROWS}
    assert compare(ROWS, document).result["n"] == len(ROWS)
    assert compare(ROWS, json.dumps(document, indent=1)).result["n"] == len(ROWS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('{"id": 1, "score": 1}\n{"id": 2, "score": }\n', "line 2 is not JSON"),
        ('{"id": 1, "score": 1', "line 1 is not JSON"),
        ("id,score\n1,0.5\n", "line 1 is not JSON"),
        (b"\x00\xff\xfe\x01" * 50, "line 1 is not JSON: it is not UTF-8 text"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
        ("[" * 200_000, "line 1 is not JSON"),
        ("[]", "holds no items"),
        ("3\n4\n", "line 1 is no JSON object"),
        ('{"id": 1, "points": 1}\n', "has no field 'score'. It has points"),
        ('{"id": 1, "score": 1}\n{"id": 2}\n', "line 2 has no field 'score'"),
        ('{"id": 1, "score": "0.5"}\n', "is the text '0.5'"),
        ('{"id": 1, "score": [1, 2]}\n', "is a list"),
        ('{"id": 1, "score": {"value": 1}}\n', "is an object (its fields: value)"),
        ('{"id": 1, "score": NaN}\n', "line 1: 'score' is nan"),
        ('{"id": 1, "score": 1}\n{"id": 2, "score": Infinity}\n', "line 2: 'score' is inf"),
        ('{"id": 1, "score": 1e999}\n', "'score' is inf"),
        ('{"id": 1, "score": -1e308}\n', "'score' is -1e+308; scores are reckoned with up to"),
        (f'{{"id": 1, "score": 1{"0" * 400}}}\n', "'score' is 1000"),
        (f'{{"id": 1, "score": 1{"0" * 5000}}}\n', "line 1 is not JSON"),
        ('{"id": 1, "score": 1}\n{"id": 2, "score": true}\n', "line 2: 'score' is a boolean"),
        (
            '{"id": 1, "score": 1}\n{"id": "1", "score": 1}\n',
            "id '1' stands on line 1 and on line 2",
        ),
        ('{"id": null, "score": 1}\n', "the id 'id' is null"),
        ('{"id": true, "score": 1}\n', "the id 'id' is True"),
        ('{"id": 1.5, "score": 1}\n', "the id 'id' is 1.5"),
        ('{"id": 1, "score": 1}\n{"score": 1}\n', "line 2: the id 'id' is missing"),
        ('{"id": "other", "score": 1}\n', "no id in common"),
        ('{"id": 1, "score": null}\n', "No item has a score in both files"),
    ],
)
def test_bad_input_is_told_with_its_place_and_ends_in_3(
    compare: Compare, content: Any, said: str
) -> None:
    for told in (compare(content, ROWS), compare(ROWS, content)):
        assert told.code == 3
        assert said in _flat(told.stderr)
        assert told.result["verdict"] is None
        assert told.result["error"] in told.stderr


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "x" * 300])
def test_a_file_that_is_not_there_or_a_folder_ends_in_3(
    compare: Compare, tmp_path: Path, name: str
) -> None:
    told = compare(tmp_path / name, ROWS)
    assert told.code == 3
    assert "mistake in fineproof" not in told.stderr
    assert str(tmp_path) in _flat(told.stderr)


def test_true_and_false_meet_1_and_0_but_no_other_numbers(compare: Compare) -> None:
    booleans = [{"id": n, "score": n % 2 == 0} for n in range(20)]
    numbers = [{"id": n, "score": 1 - n % 2} for n in range(20)]
    assert compare(booleans, numbers).result["verdict"] == "EQUIVALENT"
    twice = [{"id": n, "score": score} for n in range(20) for score in (0, 1)]
    assert compare(booleans, twice, "--repeats").result["tuned"] == 0.5
    told = compare(booleans, [{"id": n, "score": 0.5} for n in range(20)])
    assert told.code == 3
    assert "is a boolean" in told.stderr


def test_files_that_disagree_about_documents_are_refused(compare: Compare) -> None:
    base = [{"id": n, "doc_id": n // 2, "score": 1} for n in range(20)]
    told = compare(base, [row | {"doc_id": 0} for row in base])
    assert told.code == 3
    assert "belongs to '1'" in _flat(told.stderr)
    assert compare(base, base, "--cluster", "page").code == 3
    alone = compare(
        [row | {"doc_id": None} for row in base], [row | {"doc_id": None} for row in base]
    )
    assert alone.result["clusters"] == 20


@pytest.mark.parametrize(
    "options",
    [
        ("--margin", "0"),
        ("--margin", "nan"),
        ("--margin", "much"),
        ("--alpha", "0.5"),
        ("--alpha", "nan"),
        ("--seed", "-1"),
        ("--where", "arm"),
        ("--from", "excel"),
        ("--scores", "f1"),
    ],
)
def test_an_option_that_is_wrong_ends_in_3_and_not_in_2(
    compare: Compare, options: tuple[str, ...]
) -> None:
    told = compare(ROWS, ROWS, *options)
    assert (told.code, told.result["verdict"], told.result["exit_code"]) == (3, None, 3)
    assert options[0] in told.result["error"]


def _flat(text: str) -> str:
    return " ".join(text.split())
