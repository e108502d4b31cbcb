"""Samples of a data set: seeded, nested, and with no document on both sides.

What orders is a hash of seed and name, so that neither the order of a file nor the size that is
asked for moves anything: 200 pairs are the first of 500, and these of 1,000.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest

from fineproof.data.example import Example, Passage, Source
from fineproof.errors import UserError

SIZES = (200, 500, 1_000)
CANDIDATES = 20_000
"""Examples that are held in memory of a data set of any size."""


@dataclass(frozen=True)
class Sample:
    """``train`` in its order: its first n are the sample of n."""

    train: list[Example]
    test: list[Example]
    corpus: list[Passage]


def sample(source: Source, *, pairs: int, items: int, seed: int, tick: Iterable[None]) -> Sample:
    """``items`` test questions, whole documents at a time, and ``pairs`` from other documents.

    The corpus is that of the largest of ``SIZES`` that there is, whichever is asked for: sizes then
    differ in the training alone. ``tick`` is advanced once an example. Raises :class:`UserError`
    when there are too few.
    """

    def by_document(example: Example) -> tuple[bool, bytes, bytes]:
        # Test questions first: no number of training pairs may crowd them out.
        return (
            example.split != "test",
            _hash(seed, example.document),
            _hash(seed, example.id),
        )

    counting = (example for example, _ in zip(source.examples(), tick, strict=False))
    pool = nsmallest(CANDIDATES, _first_of_each(counting), key=by_document)
    own_split = any(example.split == "test" for example in pool)
    tested = [each for each in pool if each.split == "test"] if own_split else pool
    test = tested[:items]
    kept_apart = {document for each in test for document in each.documents}
    taken = {each.id for each in test}
    train = sorted(
        (
            each
            for each in pool
            if each.split != "test"
            and each.id not in taken
            and kept_apart.isdisjoint(each.documents)
        ),
        key=lambda each: _hash(seed, each.id),
    )
    if len(test) < items or len(train) < pairs:
        raise UserError(
            f"{source.origin} has {len(test)} test questions and then {len(train)} training pairs "
            f"from other documents; {items} and {pairs} were asked for."
        )
    largest = train[: max(pairs, *SIZES)]
    return Sample(train[:pairs], test, _corpus(source, [*test, *largest]))


def _first_of_each(examples: Iterable[Example]) -> Iterable[Example]:
    """Without what repeats an id."""
    met: set[str] = set()
    for example in examples:
        if example.id not in met:
            met.add(example.id)
            yield example


def _corpus(source: Source, examples: Iterable[Example]) -> list[Passage]:
    passages = {passage.id: passage for passage in source.corpus()}
    for example in examples:
        for passage in (*example.gold, *example.others):
            passages.setdefault(passage.id, passage)
    return [passages[id_] for id_ in sorted(passages)]


def _hash(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
