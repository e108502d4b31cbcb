"""Questions of a data folder by the document each is about."""

from collections.abc import Iterable
from pathlib import Path

from fineproof.data.documents import Corpus, Row
from fineproof.data.reading import PAIR, dumped, rows
from fineproof.errors import UserError
from services.common.text import comparable

NAMED = 3


def questions(folder: Path, name: str, corpus: Corpus) -> list[Row]:
    """The rows of ``name`` with ``doc_id`` filled in, so that an exam clusters by document."""
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder} has no {name}.")
    found = []
    for row in rows(path, PAIR):
        evidence = row.get("evidence_ids") or ()
        own = row.get("doc_id") or next((corpus.documents.get(key, key) for key in evidence), None)
        found.append(row | ({"doc_id": own} if own else {}))
    return found


def keep_apart(train: Iterable[Row], test: Iterable[Row], corpus: Corpus) -> None:
    """Refuse training questions about a document, or in the words, of a test question."""
    held_out = list(test)
    documents = {document for row in held_out for document in corpus.documents_of(row)}
    asked = {comparable(row["question"]) for row in held_out}
    shared = [
        row
        for row in train
        if corpus.documents_of(row) & documents or comparable(row["question"]) in asked
    ]
    if shared:
        names = ", ".join(str(row["id"]) for row in shared[:NAMED])
        more = f" and {len(shared) - NAMED} more" if len(shared) > NAMED else ""
        raise UserError(
            f"{len(shared)} training questions are about documents of the test set, or are asked "
            f"there too ({names}{more}): a judge trained on them would be examined on what it has "
            "seen. Take them out of train.jsonl."
        )


def write_rows(rows: Iterable[Row], target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(map(dumped, rows)))
    return target
