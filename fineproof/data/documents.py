"""Which documents the questions of a data folder are about."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fineproof.data.reading import CORPUS, PASSAGE, rows

Row = dict[str, Any]


def document_of(passage: Row) -> str:
    """The document that a row of the corpus belongs to: the one it names, else the one it has its
    title of, else itself."""
    return str(passage.get("doc_id") or passage.get("title") or passage["id"])


@dataclass(frozen=True)
class Corpus:
    """Which document each passage belongs to, by the passage's id."""

    documents: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Corpus":
        """Of a folder without ``corpus.jsonl`` every passage is a document."""
        path = folder / CORPUS
        if not path.is_file():
            return cls({})
        return cls({row["id"]: document_of(row) for row in rows(path, PASSAGE)})

    def documents_of(self, row: Row) -> set[str]:
        """All documents that a question is about, by its own word or by its evidence."""
        named = {str(row["doc_id"])} if row.get("doc_id") else set()
        return named | {self.documents.get(key, key) for key in row.get("evidence_ids") or ()}
