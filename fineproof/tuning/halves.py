"""The questions of a test set in two halves: one to choose a candidate by, one to confirm it on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fineproof.data.documents import Corpus, Row
from fineproof.data.reading import PAIR, TEST, dumped, rows
from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset, with_test

LEAST_DOCUMENTS = 6
"""Of each half: from fewer the evaluator finds neither help nor harm (ADR 7)."""


@dataclass(frozen=True)
class Half:
    """``documents`` counts groups of questions that share no document with any other."""

    dataset: Dataset
    documents: int


@dataclass(frozen=True)
class Halves:
    search: Half
    confirmation: Half


def halve(dataset: Dataset, *, seed: int, into: Path) -> Halves:
    """Deal the documents of ``dataset.test`` out in turn, in an order drawn by ``seed``.

    Questions that have a document in common stay together, however long the chain. Raises
    :class:`UserError` where a half would have too few documents for any verdict.
    """
    corpus = Corpus.read(dataset.corpus.parent)
    groups = apart(rows(dataset.test, PAIR), corpus)
    if len(groups) < 2 * LEAST_DOCUMENTS:
        raise UserError(
            f"The {dataset.items} test questions are about {len(groups)} documents that have no "
            f"question in common, and a search needs {2 * LEAST_DOCUMENTS}: {LEAST_DOCUMENTS} to "
            f"choose by and {LEAST_DOCUMENTS} others to confirm on."
        )
    names = sorted(groups, key=lambda name: _place(seed, name))
    search, confirmation = (
        _half(dataset, [groups[name] for name in names[first::2]], into / part / TEST)
        for first, part in enumerate(("search", "confirmation"))
    )
    return Halves(search, confirmation)


def apart(questions: Iterable[Row], corpus: Corpus) -> dict[str, list[Row]]:
    """Questions in groups of which no two share a document, by the first name of each group's.

    One that names no document is about itself alone.
    """
    leader: dict[str, str] = {}

    def led_by(document: str) -> str:
        while (above := leader.setdefault(document, document)) != document:
            leader[document] = leader[above]  # a shorter way for who comes after
            document = above
        return document

    about = [(row, sorted(corpus.documents_of(row)) or [row["id"]]) for row in questions]
    for _, (first, *others) in about:
        for other in (first, *others):
            one, two = sorted((led_by(first), led_by(other)))
            leader[two] = one
    groups: dict[str, list[Row]] = {}
    for row, (first, *_) in about:
        groups.setdefault(led_by(first), []).append(row)
    return groups


def _half(dataset: Dataset, groups: Sequence[Sequence[Row]], target: Path) -> Half:
    asked = [row for group in groups for row in group]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(map(dumped, asked)))
    return Half(with_test(dataset, target, len(asked)), len(groups))


def _place(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
