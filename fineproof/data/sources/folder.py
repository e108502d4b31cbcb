"""A folder of JSON lines as a source: its own split is kept, its corpus goes along whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from fineproof.data.documents import document_of
from fineproof.data.example import Example, Passage
from fineproof.data.reading import CORPUS, PAIR, PASSAGE, TEST, TRAIN, need_folder, rows

_OWN = ("id", "question", "answer", "evidence_ids", "doc_id")


@dataclass(frozen=True)
class Folder:
    path: Path
    licence: str = "as the folder's owner says"

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def origin(self) -> str:
        return f"folder {self.name}"

    @cached_property
    def passages(self) -> dict[str, Passage]:
        """The corpus by id."""
        need_folder(self.path)
        return {
            row["id"]: Passage(row["id"], row["text"], row.get("title") or "", document_of(row))
            for row in rows(self.path / CORPUS, PASSAGE)
        }

    def examples(self) -> Iterator[Example]:
        yield from self.of("test")
        yield from self.of("train")

    def of(self, split: Literal["train", "test"], name: str | None = None) -> Iterator[Example]:
        """One split's examples, from ``name`` in place of the usual file."""
        file = self.path / (name or {"train": TRAIN, "test": TEST}[split])
        for row in rows(file, PAIR):
            gold = tuple(
                self.passages[id_] for id_ in row.get("evidence_ids") or [] if id_ in self.passages
            )
            documents = [row["doc_id"]] if row.get("doc_id") else []
            yield Example(
                id=row["id"],
                question=row["question"],
                answer=row["answer"],
                gold=gold,
                documents=tuple(dict.fromkeys([*documents, *(p.doc_id for p in gold)])),
                split=split,
                more={field: value for field, value in row.items() if field not in _OWN},
            )

    def corpus(self) -> Iterator[Passage]:
        return iter(self.passages.values())
