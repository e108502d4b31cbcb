"""Chooses which documents are held out for the test, and which of their questions are asked."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from fineproof.demo.document import Ask, Document

ANSWER_TYPES = ("short", "number", "list", "sentence")
TRAIN_QUESTIONS = 200
TEST_DOCUMENTS = {"site": 3, "team": 2, "product": 7, "policy": 3, "incident": 5}
TEST_QUESTIONS_EACH = 3


@dataclass(frozen=True)
class Candidate:
    """A question and where its answer stands."""

    ask: Ask
    passage_id: str
    doc_id: str

    @property
    def answers(self) -> frozenset[str]:
        """The answer and its other spellings, lower-cased."""
        return frozenset(way.lower() for way in (self.ask.answer, *self.ask.aliases))


def passage_id(document: Document, index: int) -> str:
    """`site-ardle-quay-2` is the second section of that site's page."""
    return f"{document.id}-{index + 1}"


def split(
    documents: Sequence[Document], rng: random.Random
) -> tuple[list[Candidate], list[Candidate]]:
    """Training and test questions, from different documents and with different answers."""
    held_out = {
        document.id
        for kind, count in TEST_DOCUMENTS.items()
        for document in rng.sample([d for d in documents if d.kind == kind], count)
    }
    asked = {document.id: _candidates(document, rng) for document in documents}
    test = [c for id_, found in asked.items() if id_ in held_out for c in found]
    test = _by_document(test)[: len(held_out) * TEST_QUESTIONS_EACH]
    # Two pages may share a count or an hour by accident; training must not see it answered.
    known = {answer for candidate in test for answer in candidate.answers}
    rest = [c for id_, found in asked.items() if id_ not in held_out for c in found]
    train = _by_document(c for c in rest if not known & c.answers)[:TRAIN_QUESTIONS]
    rng.shuffle(train)
    rng.shuffle(test)
    return train, test


def _candidates(document: Document, rng: random.Random) -> list[Candidate]:
    """All questions of the document, so ordered that the first few differ in answer type."""
    candidates = [
        Candidate(ask, passage_id(document, index), document.id)
        for index, section in enumerate(document.sections)
        for ask in section.asks
    ]
    rng.shuffle(candidates)
    types = rng.sample(ANSWER_TYPES, len(ANSWER_TYPES))
    candidates.sort(key=lambda candidate: types.index(candidate.ask.answer_type))
    return _by_turns(candidates, lambda candidate: candidate.ask.answer_type)


def _by_turns(
    candidates: Iterable[Candidate], group: Callable[[Candidate], str]
) -> list[Candidate]:
    """One of each group, then a second of each, and so on; groups keep the order they came in."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(group(candidate), []).append(candidate)
    rounds = zip_longest(*groups.values())
    return [candidate for turn in rounds for candidate in turn if candidate is not None]


def _by_document(candidates: Iterable[Candidate]) -> list[Candidate]:
    return _by_turns(candidates, lambda candidate: candidate.doc_id)
