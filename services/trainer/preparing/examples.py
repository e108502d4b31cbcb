"""The lines of a training file, read as a stream: what each must hold, and which do not.

Two forms, told apart line by line: a plain ``{"question", "answer"}`` with optional
``evidence_ids`` (gold passages in the vector store), ``doc_id`` (the document asked about),
``context`` (passages of its own; for recipe ``raft`` the first is gold) and ``reasoning`` (what
``raft`` says before the answer), other fields ignored; or OpenAI's ``{"messages": [...]}`` whose
last message is the assistant's.

For preferences there is one form, OpenAI's ``{"input": {"messages": [...]}, "preferred_output":
[...], "non_preferred_output": [...]}`` with one message of the assistant in each output.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from services.common.contracts.hyperparameters import Recipe

MIN_EXAMPLES = 10
MAX_LINE_BYTES = 4 * 2**20
NAMED_LINES = 5
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Pair:
    """A question with its answer; ``line`` counts from 1."""

    line: int
    question: str
    answer: str
    evidence_ids: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    reasoning: str | None = None
    doc_id: str | None = None

    @property
    def is_at_home(self) -> bool:
        """Whether it is known where its passages are."""
        return self.doc_id is not None or bool(self.context)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat whose last message, the assistant's, is what is learnt."""

    line: int
    messages: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preference(Conversation):
    """A conversation whose last message is preferred to ``rejected``, said in its place."""

    rejected: str


Example = Pair | Conversation
Form = Recipe | Literal["dpo"]
"""What lines must hold: what the recipe needs, or preferences."""


class BadLine(ValueError):
    """What is wrong with one line, as the end of a sentence that begins with its number."""


class InvalidTrainingFile(Exception):
    """A file nothing can be trained on; the message names lines."""


def read_examples(
    source: BinaryIO, recipe: Form, *, needs_doc_ids: bool = False
) -> Iterator[Example]:
    """Yield the examples of an open file, one line in memory at a time; ``needs_doc_ids`` of those
    that bring no ``context``.

    Raises ``InvalidTrainingFile`` after the last line when any was wrong, or too few were there.
    """
    problems: list[str] = []
    wrong = count = 0
    for line, raw in numbered_lines(source):
        count += 1
        try:
            example = parse_line(line, raw, recipe)
            if needs_doc_ids and isinstance(example, Pair) and not example.is_at_home:
                raise BadLine("has no 'doc_id', which 'retrieval.within_document' needs")
            yield example
        except BadLine as problem:
            wrong += 1
            if len(problems) < NAMED_LINES:
                problems.append(f"line {line} {problem}")
    if wrong:
        more = f"; and {wrong - len(problems)} more" if wrong > len(problems) else ""
        raise InvalidTrainingFile(
            f"{wrong} of {count} examples cannot be used: {'; '.join(problems)}{more}."
        )
    if count < MIN_EXAMPLES:
        raise InvalidTrainingFile(
            f"The file has {count} example{'' if count == 1 else 's'}; at least {MIN_EXAMPLES} "
            "are needed."
        )


def numbered_lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, numbered from 1. One over the limit comes cut, and is wrong."""
    pieces = iter(lambda: source.readline(MAX_LINE_BYTES + 1), b"")
    for line, raw in enumerate(pieces, 1):
        piece = raw
        while len(piece) > MAX_LINE_BYTES and not piece.endswith(b"\n"):
            piece = next(pieces, b"")
        if raw.strip():
            yield line, raw


def parse_line(line: int, raw: bytes, recipe: Form) -> Example:
    """Raises ``BadLine``."""
    if len(raw) > MAX_LINE_BYTES:
        raise BadLine(f"is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        row = json.loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError:
        raise BadLine("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadLine(f"is not valid JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        raise BadLine("is not valid JSON") from None
    if not isinstance(row, dict):
        raise BadLine("is not a JSON object")
    if recipe == "dpo":
        return _preference(line, row)
    if "messages" not in row:
        pair = _pair(line, row, recipe)
        if recipe == "raft" and not pair.evidence_ids and not pair.context:
            raise BadLine("has neither 'evidence_ids' nor 'context', but recipe 'raft' needs gold")
        return pair
    if recipe != "qa":
        raise BadLine(f"has 'messages', but recipe '{recipe}' needs 'question' and 'answer'")
    return _conversation(line, row["messages"])


def _pair(line: int, row: dict[str, Any], recipe: Recipe) -> Pair:
    missing = [name for name in ("question", "answer") if name not in row]
    if len(missing) == 2:
        raise BadLine("has neither 'question' and 'answer' nor 'messages'")
    if missing:
        raise BadLine(f"has no '{missing[0]}'")
    context = row.get("context") or []
    reasoning = row.get("reasoning") if recipe == "raft" else None
    return Pair(
        line=line,
        question=_text(row["question"], "'question'"),
        answer=_text(row["answer"], "'answer'"),
        evidence_ids=_texts(row.get("evidence_ids") or [], "'evidence_ids'"),
        context=_texts([context] if isinstance(context, str) else context, "'context'"),
        reasoning=None if reasoning is None else _text(reasoning, "'reasoning'"),
        doc_id=None if row.get("doc_id") is None else _text(row["doc_id"], "'doc_id'"),
    )


def _conversation(line: int, messages: Any) -> Conversation:
    if not isinstance(messages, list) or not messages:
        raise BadLine("has 'messages' that are not a list of messages")
    kept: list[dict[str, str]] = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            raise BadLine(f"has a message {number} that is not an object")
        role = message.get("role")
        if role not in ROLES:
            raise BadLine(f"has the role {json.dumps(role)[:40]} in message {number}")
        if role == "system" and number > 1:
            raise BadLine(f"has a system message in place {number}; it may only come first")
        content = _text(message.get("content"), f"'content' of message {number}")
        kept.append({"role": role, "content": content})
    turns = [message["role"] for message in kept if message["role"] != "system"]
    if turns[-1:] != ["assistant"]:
        raise BadLine("does not end with a message of the assistant")
    if turns != ["user", "assistant"] * (len(turns) // 2):
        raise BadLine("does not alternate between user and assistant")
    return Conversation(line, tuple(kept))


def _preference(line: int, row: dict[str, Any]) -> Preference:
    asked = row.get("input")
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        raise BadLine("has no 'input' with 'messages', which preferences need")
    answers = []
    for name in ("preferred_output", "non_preferred_output"):
        output = row.get(name)
        if not isinstance(output, list) or len(output) != 1:
            raise BadLine(f"has no '{name}' of one message")
        answers.append(_conversation(line, [*asked["messages"], *output]))
    preferred, other = answers
    rejected = other.messages[-1]["content"]
    if rejected == preferred.messages[-1]["content"]:
        raise BadLine("prefers an answer to itself")
    return Preference(line, preferred.messages, rejected)


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadLine(f"has {what} that are not a list of strings")
    return tuple(_text(item, what) for item in value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadLine(f"has no text in {what}")
    if not value.strip():
        raise BadLine(f"has an empty {what}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadLine(f"has text that is not valid Unicode in {what}") from None
    if "\x00" in value:
        raise BadLine(f"has a NUL character in {what}")
    return value


def batches(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
