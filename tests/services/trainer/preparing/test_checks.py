"""What is looked for in a training file, example by example."""

import json
import tracemalloc
from pathlib import Path

from services.common.clients.retriever import RetrieverClient
from services.trainer.preparing.checks import Duplicates, StoreOverlap, TestOverlap
from services.trainer.preparing.examples import Conversation, Pair, batches, read_examples
from services.trainer.preparing.findings import Notes
from tests.services.retriever.conftest import Retriever


def pair(line: int, question: str, answer: str = "A", **more: tuple[str, ...]) -> Pair:
    return Pair(line, question, answer, **more)


async def test_duplicates_are_told_apart_by_how_alike_they_are() -> None:
    notes = Notes()
    check = Duplicates(notes, drop=True)
    await check.look([pair(1, "Who wrote the notes?"), pair(2, "Who wrote it?")])
    await check.look([pair(3, "Who wrote the notes?"), pair(4, "who wrote notes")])
    [finding] = check.findings()
    assert finding.data == {"check": "duplicates", "examples": 4, "exact": 1, "near": 1}
    assert "(lines 3, 4)" in finding.message
    assert [line for line in range(1, 5) if notes.is_marked(line)] == [3, 4]


async def test_conversations_are_duplicates_by_all_that_comes_before_the_answer() -> None:
    def chat(line: int, question: str, answer: str) -> Conversation:
        roles = ("user", "assistant")
        said = zip(roles, (question, answer), strict=True)
        return Conversation(line, tuple({"role": role, "content": text} for role, text in said))

    check = Duplicates(Notes(), drop=False)
    await check.look([chat(1, "Q", "A"), chat(2, "Q", "B"), chat(3, "R", "A")])
    [finding] = check.findings()
    assert finding.data is not None
    assert finding.data["exact"] == 1


async def test_without_letters_a_question_is_compared_as_it_stands() -> None:
    check = Duplicates(Notes(), drop=False)
    await check.look([pair(1, "?"), pair(2, "!")])
    assert check.findings() == []


async def test_a_test_set_is_found_by_its_questions_and_its_long_answers() -> None:
    notes = Notes()
    test = [pair(1, "Who wrote the notes?", "Yes"), pair(2, "Q", "It was Ada Lovelace herself.")]
    check = TestOverlap(notes, test, drop=True)
    await check.look(
        [
            pair(1, "who wrote notes", "No"),
            pair(2, "Other", "Yes"),
            pair(3, "Another", "it was Ada Lovelace herself"),
        ]
    )
    [finding] = check.findings()
    assert finding.data == {
        "check": "test_file",
        "examples": 3,
        "test_examples": 2,
        "questions": 1,
        "answers": 1,
    }
    assert notes.marked() == {"overlap": 2}


async def test_a_vector_store_is_found_in_questions_and_contexts(
    retriever: Retriever,
) -> None:
    store_id = retriever.fill(
        [
            {"id": "p1", "text": "FAQ. Where does the old kiln stand? In hall 1."},
            {"id": "p2", "text": "The loom is in hall 2."},
        ]
    )
    notes = Notes()
    async with RetrieverClient.connect(retriever.url) as client:
        check = StoreOverlap(notes, client, store_id, drop=True)
        await check.look(
            [
                pair(1, "Where does the old kiln stand?"),
                pair(2, "Loom?", context=("Nothing.", "the loom is in hall 2")),
                pair(3, "Where does the press stand?"),
            ]
        )
    [finding] = check.findings()
    assert finding.data is not None
    assert (finding.data["questions"], finding.data["contexts"]) == (1, 1)
    assert [line for line in (1, 2, 3) if notes.is_marked(line)] == [1, 2]


async def test_many_lines_are_not_held_in_memory(tmp_path: Path) -> None:
    lines, path = 100_000, tmp_path / "train.jsonl"
    with path.open("w") as file:
        for line in range(lines):
            row = {"question": f"What is {line % (lines // 2)} and a half?", "answer": "A"}
            file.write(json.dumps(row) + "\n")
    notes = Notes()
    check = Duplicates(notes, drop=True)
    tracemalloc.start()
    with path.open("rb") as source:
        for batch in batches(read_examples(source, "qa"), 200):
            await check.look(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert notes.marked() == {"duplicates": lines // 2}
    assert peak < 2 * 2**20  # a set of the keys alone takes twice as much
