"""A question with what it was made from, whatever data set it is of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    text: str
    title: str = ""
    doc_id: str = ""

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "title": self.title, "text": self.text, "doc_id": self.doc_id}


@dataclass(frozen=True, slots=True)
class Example:
    """``gold`` are the passages its evidence names, ``others`` stand beside them in the corpus;
    ``documents`` all it touches, its own first. ``split`` is the data set's own, where it has
    one."""

    id: str
    question: str
    answer: str
    gold: tuple[Passage, ...]
    documents: tuple[str, ...]
    others: tuple[Passage, ...] = ()
    split: Literal["train", "test"] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def document(self) -> str:
        return self.documents[0] if self.documents else self.id

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "question": self.question,
            "answer": self.answer,
            "evidence_ids": [passage.id for passage in self.gold],
            "doc_id": self.document,
            **{name: value for name, value in self.more.items() if value},
        }


class Source(Protocol):
    """A data set as it lies somewhere: ``origin`` says where and which, ``licence`` whose."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def licence(self) -> str: ...

    def examples(self) -> Iterator[Example]: ...

    def corpus(self) -> Iterator[Passage]:
        """Passages that belong into the corpus, whichever examples are taken."""
        ...
