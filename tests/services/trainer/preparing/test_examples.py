import io
import json
from typing import Any

import pytest

from services.trainer.preparing.examples import (
    MAX_LINE_BYTES,
    Conversation,
    InvalidTrainingFile,
    Pair,
    read_examples,
)
from tests.services.trainer.conftest import jsonl, pairs

USER = {"role": "user", "content": "Q"}
ASSISTANT = {"role": "assistant", "content": "A"}
SYSTEM = {"role": "system", "content": "S"}


def read(content: bytes, recipe: Any = "qa") -> list[Any]:
    return list(read_examples(io.BytesIO(content), recipe))


def complaint(lines: list[bytes], recipe: Any = "qa") -> str:
    with pytest.raises(InvalidTrainingFile) as wrong:
        read(jsonl(pairs(10)) + b"\n".join(lines), recipe)
    return str(wrong.value)


def test_plain_pairs_and_conversations_may_be_mixed() -> None:
    rows = [
        *pairs(9),
        {"question": "Q", "answer": "A", "evidence_ids": ["p1"], "context": "C"},
        {"messages": [SYSTEM, USER, ASSISTANT, USER, ASSISTANT]},
    ]
    examples = read(jsonl(rows))
    assert examples[9] == Pair(10, "Q", "A", ("p1",), ("C",))
    assert examples[10] == Conversation(11, (SYSTEM, USER, ASSISTANT, USER, ASSISTANT))


def test_blank_lines_count_but_are_not_examples() -> None:
    content = b"\xef\xbb\xbf\n\n" + jsonl(pairs(10)) + b"\n"
    with pytest.raises(InvalidTrainingFile, match="line 1"):
        read(content)
    assert [example.line for example in read(b"\n" + jsonl(pairs(10)))] == list(range(2, 12))
    assert len(read(b"\xef\xbb\xbf" + jsonl(pairs(10)))) == 10


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"answer": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b"[1]", "is not a JSON object"),
        (b"{}", "has neither"),
        (b'{"question": "Q"}', "has no 'answer'"),
        (b'{"answer": "A"}', "has no 'question'"),
        (b'{"question": "Q", "answer": " "}', "has an empty 'answer'"),
        (b'{"question": 3, "answer": "A"}', "has no text in 'question'"),
        (b'{"question": "\\ud800", "answer": "A"}', "not valid Unicode in 'question'"),
        (b'{"question": "\\u0000", "answer": "A"}', "NUL character in 'question'"),
        (b'{"question": "Q", "answer": "A", "evidence_ids": "p"}', "'evidence_ids'"),
        (b'{"question": "Q", "answer": "A", "context": [1]}', "'context'"),
        (b'{"messages": {}}', "not a list of messages"),
        (b'{"messages": []}', "not a list of messages"),
        (b'{"messages": [1]}', "message 1 that is not an object"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', 'the role "tool" in message 1'),
        (b'{"messages": [{"role": ["user"], "content": "x"}]}', "the role"),
        (json.dumps({"messages": [USER]}).encode(), "does not end with a message of the assistant"),
        (json.dumps({"messages": [USER, SYSTEM, ASSISTANT]}).encode(), "system message in place 2"),
        (json.dumps({"messages": [USER, USER, ASSISTANT]}).encode(), "does not alternate"),
        (json.dumps({"messages": [ASSISTANT]}).encode(), "does not alternate"),
        (json.dumps({"messages": [USER, {"role": "assistant"}]}).encode(), "no text in 'content'"),
    ],
)
def test_a_wrong_line_is_named_with_its_reason(line: bytes, reason: str) -> None:
    told = complaint([line])
    assert told.startswith("1 of 11 examples cannot be used: line 11 ")
    assert reason in told


def test_at_most_five_lines_are_named() -> None:
    told = complaint([b"{}"] * 8)
    assert told.count("line ") == 5
    assert told.endswith("line 15 has neither 'question' and 'answer' nor 'messages'; and 3 more.")


def test_a_line_too_long_is_skipped_without_being_held() -> None:
    long = b'{"question": "' + b"x" * (3 * MAX_LINE_BYTES) + b'"}'
    told = complaint([long, b"{}"])
    assert "line 11 is longer than 4 MiB" in told


def test_a_file_with_a_line_too_long_keeps_counting_right() -> None:
    long = b"x" * (3 * MAX_LINE_BYTES)
    assert "line 12 has neither" in complaint([long, b"{}"])


def test_fewer_than_ten_examples_are_refused() -> None:
    with pytest.raises(InvalidTrainingFile, match="9 examples; at least 10"):
        read(jsonl(pairs(9)))
    with pytest.raises(InvalidTrainingFile, match="0 examples"):
        read(b"\n\n")


@pytest.mark.parametrize("recipe", ["rag", "raft"])
def test_recipes_with_passages_need_questions(recipe: Any) -> None:
    line = json.dumps({"messages": [USER, ASSISTANT]}).encode()
    with pytest.raises(InvalidTrainingFile, match=f"line 1 has 'messages', but recipe '{recipe}'"):
        read(line, recipe)


def test_recipe_raft_needs_gold_passages_or_a_context() -> None:
    rows = [row | {"context": "C"} for row in pairs(10)]
    assert len(read(jsonl(rows), "raft")) == 10
    with pytest.raises(InvalidTrainingFile, match="line 11 has neither 'evidence_ids' nor"):
        read(jsonl([*rows, *pairs(1)]), "raft")


def test_within_documents_each_row_names_its_own_or_brings_its_passages() -> None:
    row = {"question": "Q", "answer": "A"}
    rows = [{**row, "doc_id": "d"}] * 9 + [{**row, "context": "c"}]
    content = b"\n".join(json.dumps(each).encode() for each in [*rows, row])
    assert len(read(content, "rag")) == 11
    with pytest.raises(InvalidTrainingFile, match="line 11 has no 'doc_id'"):
        list(read_examples(io.BytesIO(content), "rag", needs_doc_ids=True))


def test_reasoning_is_read_for_raft_alone() -> None:
    rows = [row | {"context": "C", "reasoning": 3} for row in pairs(10)]
    assert read(jsonl(rows), "rag")[0].reasoning is None
    with pytest.raises(InvalidTrainingFile, match="line 1 has no text in 'reasoning'"):
        read(jsonl(rows), "raft")
