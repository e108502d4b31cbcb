"""One file's scores by item: which fields were read, what was unscored, what was averaged."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from fineproof.comparison import fields as typed
from fineproof.comparison.fields import MISSING, Kind
from fineproof.comparison.reading import Record, records
from fineproof.comparison.scale import Scale
from fineproof.errors import UserError
from fineproof.imports import Imported, Tool, detected, lm_eval, tools

IDS = ("id", "item_id", "question_id")
CLUSTERS = ("cluster", "doc_id", "document_id")
NONE = "none"
_CHOICES = (
    "arm",
    "condition",
    "model",
    "metric",
    "training_seed",
    "repeat",
)  # what tells several runs in one file apart


@dataclass(frozen=True)
class Ask:
    """Which fields to read; None is chosen by what the files hold. ``where`` is (field, value)."""

    score: str | None = None
    id: str | None = None
    cluster: str | None = None
    threshold: float | None = None
    lower_is_better: bool = False
    repeats: bool = False
    scale: Scale | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UserError("--threshold is a number, in the score's own units.")

    def ids(self, tool: str | None) -> tuple[str, ...]:
        """Fields that may name an item: the one asked for; the tool's own; else the usual ones."""
        if self.id is not None:
            return () if self.id == NONE else (self.id,)
        return IDS if tool is None else (tools()[tool].id,)

    def clusters(self, tool: str | None) -> tuple[str, ...]:
        if self.cluster is not None:
            return () if self.cluster == NONE else (self.cluster,)
        return CLUSTERS if tool is None else CLUSTERS[:1]  # lm-eval's doc_id is the item itself

    def passes(self, score: float, threshold: float) -> bool:
        return score <= threshold if self.lower_is_better else score >= threshold


@dataclass(frozen=True)
class Line:
    """A record; ``score`` None is unscored. ``ids`` and ``clusters`` hold, of the fields that could
    name its item and what it belongs to, those it has."""

    place: str
    score: float | None
    ids: dict[str, Any]
    clusters: dict[str, Any]
    witness: Any


@dataclass(frozen=True)
class Row:
    """An item of one file; ``score`` is the mean of those of its ``lines`` that have one, None
    where none has; ``unscored`` have none."""

    id: str | None
    score: float | None
    cluster: str | None
    witness: Any
    place: str
    unscored: int = 0
    lines: int = 1


@dataclass
class Side:
    """A file as read, line by line, and once it is known what names its items, in ``rows``, one an
    item. All scores lay between ``lowest`` and ``highest`` before a threshold made passes of them.
    """

    path: Path
    tool: str | None
    score: str
    seen: dict[str, set[str]]
    lines: list[Line] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    repeated: int = 0
    kind: Kind | None = None
    lowest: float = math.inf
    highest: float = -math.inf
    binary: bool = True

    @property
    def unscored(self) -> int:
        return sum(row.unscored > 0 for row in self.rows)


@dataclass
class Opened:
    """A file whose first record was looked at; ``records`` begins with it again."""

    path: Path
    tool: str | None
    first: Imported
    records: Iterator[tuple[Record, Imported]]
    seen: dict[str, set[str]] = field(default_factory=dict)


def opened(path: Path, where: Sequence[tuple[str, str]], tool: str | None) -> Opened:
    """Look at a file's first record that ``where`` chooses. ``tool`` None: find out which it is."""
    found = _found(path, where, tool)
    try:
        name, record, first = next(found)
    except StopIteration:
        chosen = " and ".join(f"{key}={value}" for key, value in where)
        raise UserError(f"{path}: no item has {chosen}.") from None
    rest = chain([(record, first)], ((record, imported) for _, record, imported in found))
    return Opened(path, name, first, rest)


def _found(
    path: Path, where: Sequence[tuple[str, str]], tool: str | None
) -> Iterator[tuple[str | None, Record, Imported]]:
    for task, file in _files(path, tool):
        for record in records(file):
            tool = tool or detected(record.fields) or NONE
            if tool == NONE:
                imported = Imported(id=MISSING, fields=record.fields, names=())
            else:
                imported = _imported(file, record, tools()[tool])
                if task is not None:
                    imported = Imported(
                        id=f"{task}/{imported.id}",
                        fields={**imported.fields, "task": task},
                        names=imported.names,
                        witness=imported.witness,
                    )
            if all(_is(typed.field(imported.fields, key), value) for key, value in where):
                yield (None if tool == NONE else tool), record, imported


def _files(path: Path, tool: str | None) -> list[tuple[str | None, Path]]:
    """The file itself; of lm-evaluation-harness also a folder, or the summary beside samples."""
    summary = path.name.startswith("results_") and path.suffix == ".json"
    try:
        if tool in (None, "lm-eval") and (path.is_dir() or (summary and path.is_file())):
            try:
                return [*lm_eval.sample_files(path)]
            except UserError:
                if path.is_dir():
                    raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return [(None, path)]


def _imported(path: Path, record: Record, tool: Tool) -> Imported:
    if not tool.matches(record.fields):
        raise UserError(f"{path}, {record.place} is not one of the {tool.title}.")
    return tool.read(record.fields)


def _is(value: Any, text: str) -> bool:
    if isinstance(value, bool) or value is None:
        return text == {True: "true", False: "false", None: "null"}[value]
    return value is not MISSING and str(value) == text


def read(source: Opened, ask: Ask) -> Side:
    """All lines of a file. :class:`UserError` names the line of what is no score."""
    side = Side(source.path, source.tool, _score_field(source, ask), source.seen)
    for record, imported in source.records:
        side.lines.append(_line(side, ask, record, imported))
        _notice(source, imported)
    return side


def _score_field(source: Opened, ask: Ask) -> str:
    if ask.score is not None:
        return ask.score
    names = source.first.names
    if not names or "score" in names or "score" in source.first.fields:
        return "score"
    if len(names) == 1:
        return names[0]
    raise UserError(f"{source.path} has several scores; choose one by --score: {', '.join(names)}.")


def _line(side: Side, ask: Ask, record: Record, imported: Imported) -> Line:
    here = f"{side.path}, {record.place}"
    value = typed.field(imported.fields, side.score)
    if value is MISSING and side.tool is not None and not imported.names:
        value = None  # the tool graded nothing here
    if value is MISSING:
        numbers = [*imported.names, *typed.known_fields(record.fields)]
        known = [name for name in dict.fromkeys(numbers) if name not in (*IDS, *CLUSTERS)]
        held = f"It has {', '.join(known[:12])}." if known else "It has no number at all."
        raise UserError(f"{here} has no field '{side.score}'. {held}")
    score, kind = typed.score_in(value, f"{here}: '{side.score}'")
    if kind is not None and side.kind not in (None, kind):
        raise UserError(
            f"{here}: '{side.score}' is a {kind}, on lines before it was a {side.kind}."
        )
    side.kind = kind or side.kind
    if score is not None:
        side.lowest, side.highest = min(side.lowest, score), max(side.highest, score)
        side.binary = side.binary and score in (0.0, 1.0)
        if ask.threshold is not None:
            score = float(ask.passes(score, ask.threshold))
    own = side.tool and tools()[side.tool].id
    return Line(
        place=record.place,
        score=score,
        ids={
            name: value
            for name in ask.ids(side.tool)
            if (value := imported.id if name == own else typed.field(imported.fields, name))
            is not MISSING
        },
        clusters={
            name: value
            for name in ask.clusters(side.tool)
            if (value := typed.field(imported.fields, name)) is not MISSING
        },
        witness=imported.witness,
    )


def _notice(source: Opened, imported: Imported) -> None:
    """Remember what could tell several runs in one file apart."""
    choices = tools()[source.tool].choices if source.tool else _CHOICES
    for choice in choices:
        value = imported.fields.get(choice)
        if (
            isinstance(value, str | int)
            and len(values := source.seen.setdefault(choice, set())) < 9
        ):
            values.add(str(value))
