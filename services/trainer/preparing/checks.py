"""What is looked for in a training file beyond the form of its lines, example by example."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.retriever import BatchQuery
from services.common.text import comparable, is_long
from services.trainer.preparing.examples import Example, Pair
from services.trainer.preparing.findings import Finding, Notes
from services.trainer.preparing.rendering import MAX_QUERY

NAMED_LINES = 5


class Check(Protocol):
    async def look(self, examples: Sequence[Example]) -> None: ...

    def findings(self) -> list[Finding]: ...


class Tally:
    """How many lines were found by kind, and the first of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.lines: list[int] = []

    def add(self, line: int, *kinds: str) -> None:
        self.counts.update(kinds)
        if len(self.lines) < NAMED_LINES:
            self.lines.append(line)

    @property
    def named(self) -> str:
        """``line 3``, or ``lines 3, 4, …``."""
        more = ", …" if sum(self.counts.values()) > len(self.lines) else ""
        return f"line{'s' * (len(self.lines) > 1)} {', '.join(map(str, self.lines))}{more}"


def question_of(example: Example) -> str:
    """What is asked: the question, or all of a conversation before its last answer."""
    if isinstance(example, Pair):
        return example.question
    return "\n".join(f"{said['role']}: {said['content']}" for said in example.messages[:-1])


def answer_of(example: Example) -> str:
    return example.answer if isinstance(example, Pair) else example.messages[-1]["content"]


class Duplicates:
    """Questions asked on an earlier line: ``exact`` letter for letter, ``near`` but for case,
    punctuation and articles."""

    def __init__(self, notes: Notes, *, drop: bool) -> None:
        self._notes = notes
        self._drop = drop
        self._tally = Tally()
        self._examples = 0

    async def look(self, examples: Sequence[Example]) -> None:
        for example in examples:
            self._examples += 1
            question = question_of(example)
            met = self._notes.meet("question", comparable(question), exact=question)
            if met != "new":
                self._tally.add(example.line, met)
                if self._drop:
                    self._notes.mark(example.line, "duplicates")

    def findings(self) -> list[Finding]:
        exact, near = self._tally.counts["exact"], self._tally.counts["near"]
        if not exact + near:
            return []
        return [
            Finding(
                message=f"{exact + near} of {self._examples} examples ask what an earlier line "
                f"asks, {near} of them in slightly other words ({self._tally.named}).",
                data={
                    "check": "duplicates",
                    "examples": self._examples,
                    "exact": exact,
                    "near": near,
                },
            )
        ]


class TestOverlap:
    """Questions of a test set that stand in the training file too, and answers of four words
    or more."""

    __test__ = False  # not one of pytest's

    def __init__(self, notes: Notes, test: Iterable[Example], *, drop: bool) -> None:
        self._notes = notes
        self._drop = drop
        self._tally = Tally()
        self._examples = self._test_examples = 0
        for example in test:
            self._test_examples += 1
            notes.meet("test question", comparable(question_of(example)))
            notes.meet("test answer", comparable(answer_of(example)))

    async def look(self, examples: Sequence[Example]) -> None:
        for example in examples:
            self._examples += 1
            answer = comparable(answer_of(example))
            kinds = [
                *["questions"]
                * self._notes.has_met("test question", comparable(question_of(example))),
                *["answers"] * (is_long(answer) and self._notes.has_met("test answer", answer)),
            ]
            if kinds:
                self._tally.add(example.line, *kinds)
                if self._drop:
                    self._notes.mark(example.line, "overlap")

    def findings(self) -> list[Finding]:
        data: dict[str, Any] = {
            "check": "test_file",
            "examples": self._examples,
            "test_examples": self._test_examples,
            "questions": self._tally.counts["questions"],
            "answers": self._tally.counts["answers"],
        }
        if not self._tally.counts:
            message = f"None of the {self._test_examples} test examples is in the training file."
            return [Finding(message=message, level="info", data=data)]
        return [
            Finding(
                message=f"The test set is in the training file: {data['questions']} questions and "
                f"{data['answers']} answers ({self._tally.named}). What is measured on it would "
                "be memory.",
                data=data,
            )
        ]


class StoreOverlap:
    """Rows whose own ``context`` is a passage of a vector store, or whose question, of four
    words or more, stands in one. Looked for among what the retriever returns."""

    RESULTS = 3

    def __init__(
        self, notes: Notes, retriever: RetrieverClient, store_id: str, *, drop: bool
    ) -> None:
        self._notes = notes
        self._retriever = retriever
        self._store_id = store_id
        self._drop = drop
        self._tally = Tally()
        self._examples = 0

    async def look(self, examples: Sequence[Example]) -> None:
        pairs = [example for example in examples if isinstance(example, Pair)]
        self._examples += len(pairs)
        texts = [text for pair in pairs for text in (pair.question, *pair.context)]
        found = iter(
            await self._retriever.search_batch(
                self._store_id,
                [BatchQuery(query=text[:MAX_QUERY]) for text in texts],
                max_num_results=self.RESULTS,
            )
        )
        for pair in pairs:
            question = comparable(pair.question)
            passages = [comparable(result.text) for result in next(found)]
            asked = is_long(question) and any(question in passage for passage in passages)
            held = [
                comparable(text) in {comparable(result.text) for result in next(found)}
                for text in pair.context
            ]
            if asked or any(held):
                self._tally.add(pair.line, *["questions"] * asked, *["contexts"] * any(held))
                if self._drop:
                    self._notes.mark(pair.line, "overlap")

    def findings(self) -> list[Finding]:
        data: dict[str, Any] = {
            "check": "vector_store_id",
            "examples": self._examples,
            "questions": self._tally.counts["questions"],
            "contexts": self._tally.counts["contexts"],
        }
        if not self._tally.counts:
            message = "The vector store holds no question and no context of the training file."
            return [Finding(message=message, level="info", data=data)]
        return [
            Finding(
                message=f"The vector store holds {data['questions']} questions and the contexts of "
                f"{data['contexts']} examples of the training file ({self._tally.named}).",
                data=data,
            )
        ]
