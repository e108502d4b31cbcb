"""What of a folder's test questions and passages stands in its training data."""

from collections.abc import Callable
from pathlib import Path

from fineproof.data.checking import tests_of
from fineproof.data.example import Example
from fineproof.data.sources.folder import Folder
from services.common.contracts.leakage import TrainingOverlap
from services.common.overlap import Overlap, Row


def audit_folder(
    folder: Path, advance: Callable[[], None] = lambda: None
) -> dict[str, TrainingOverlap]:
    """By test file; ``advance`` is called once a training row and test file.

    Raises :class:`UserError` for a folder that cannot be read.
    """
    data = Folder(folder)
    found: dict[str, TrainingOverlap] = {}
    for path in tests_of(folder):
        overlap = Overlap()
        for item in data.of("test", path.name):
            overlap.hold(_row(item))
        for pair in data.of("train"):
            overlap.meet(_row(pair))
            advance()
        found[path.name] = overlap.found()
    return found


def _row(example: Example) -> Row:
    return Row(
        id=example.id,
        question=example.question,
        answer=example.answer,
        gold=frozenset(passage.id for passage in example.gold),
        documents=frozenset(example.documents),
        passages={passage.id: passage.text for passage in example.gold},
    )
