"""Whether a folder of data can be used: every line, every id, and what is there twice."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fineproof.data.documents import document_of
from fineproof.data.reading import CORPUS, PAIR, PASSAGE, TRAIN, Line, lines, need_folder, sha256_of
from services.common.text import comparable

NAMED = 20
"""Problems and warnings that are written out, of each."""
_MAX_QUESTION = 20_000
_MAX_TEXT = 100_000
_WITH_LINES = 5


@dataclass
class Findings:
    """``problems`` keep the folder from being used, ``warnings`` what is measured from being
    believed; each a sentence with file and line. ``problem_count`` counts those not written out
    too."""

    folder: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        return not self.problem_count

    def wrong(self, where: str, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < NAMED:
            self.problems.append(f"{where}: {what}.")

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def check_folder(folder: Path, advance: Callable[[int], None] = lambda _: None) -> Findings:
    """Read all of ``folder``; ``advance`` is told the bytes read.

    Holds ids and digests in memory, no texts of the corpus. Raises :class:`UserError` when one of
    the three files is missing.
    """
    need_folder(folder)
    found = Findings(folder=str(folder))
    passages = _corpus(folder, found, advance)
    train = _Pairs(folder / TRAIN, passages)
    train.read(found, advance)
    for path in tests_of(folder):
        test = _Pairs(path, passages)
        test.read(found, advance)
        _compare(train, test, found)
    return found


def tests_of(folder: Path) -> list[Path]:
    """``test.jsonl`` and what is named like it."""
    return sorted(folder.glob("test*.jsonl"))


def size_of(folder: Path) -> int:
    """Bytes that a check reads."""
    names = [folder / CORPUS, folder / TRAIN, *tests_of(folder)]
    return sum(path.stat().st_size for path in names if path.is_file())


def _read(
    path: Path, needs: tuple[str, ...], found: Findings, advance: Callable[[int], None]
) -> Iterator[Line]:
    """Good lines with an id that is new; what is wrong with the others is noted."""
    seen: dict[str, int] = {}
    for line in lines(path, needs):
        advance(line.size)
        where = f"{path.name}, line {line.number}"
        if line.problem is not None:
            found.wrong(where, line.problem)
            continue
        key = line.row["id"]
        if (first := seen.setdefault(key, line.number)) != line.number:
            found.wrong(where, f"id '{key}' stands on line {first} already")
            continue
        for name in ("question", "answer", "text"):
            most = _MAX_QUESTION if name == "question" else _MAX_TEXT
            if len(line.row.get(name) or "") > most:
                found.wrong(where, f"'{name}' has more than {most:,} characters")
        yield line
    found.files[path.name] = {"rows": len(seen), "sha256": sha256_of(path)}
    if not seen:
        found.wrong(path.name, "holds no row that can be used")


def _corpus(folder: Path, found: Findings, advance: Callable[[int], None]) -> dict[str, str]:
    """The document of each passage, by its id."""
    documents: dict[str, str] = {}
    texts: dict[int, int] = {}
    repeated: list[int] = []
    for line in _read(folder / CORPUS, PASSAGE, found, advance):
        documents[line.row["id"]] = document_of(line.row)
        if texts.setdefault(hash(line.row["text"]), line.number) != line.number:
            repeated.append(line.number)
    if repeated:
        found.warnings.append(f"{CORPUS}: {_of(repeated)} the text of an earlier passage.")
    return documents


class _Pairs:
    """One file of questions: what it asks, on which line, and what it names."""

    def __init__(self, path: Path, passages: dict[str, str]) -> None:
        self.path = path
        self.passages = passages
        self.questions: dict[str, int] = {}
        self.gold: set[str] = set()
        self.documents: set[str] = set()

    def read(self, found: Findings, advance: Callable[[int], None]) -> None:
        repeated: list[int] = []
        without: list[int] = []
        missing: list[int] = []
        for line in _read(self.path, PAIR, found, advance):
            question = comparable(line.row["question"])
            if self.questions.setdefault(question, line.number) != line.number:
                repeated.append(line.number)
            evidence = line.row.get("evidence_ids") or []
            known = [id_ for id_ in evidence if id_ in self.passages]
            if not evidence:
                without.append(line.number)
            elif len(known) < len(evidence):
                missing.append(line.number)
            self.gold.update(known)
            self.documents.update(self.passages[id_] for id_ in known)
            if line.row.get("doc_id"):
                self.documents.add(line.row["doc_id"])
        name = self.path.name
        if repeated:
            found.warnings.append(f"{name}: {_of(repeated)} a question asked before.")
        if without:
            found.warnings.append(f"{name}: {_of(without)} no evidence_ids.")
        if missing:
            found.warnings.append(f"{name}: {_of(missing)} evidence that is not in {CORPUS}.")
        found.files[name] |= {"documents": len(self.documents)}


def _compare(train: _Pairs, test: _Pairs, found: Findings) -> None:
    name = test.path.name
    both = [test.questions[question] for question in test.questions if question in train.questions]
    if both:
        found.warnings.append(f"{name}: {_of(sorted(both))} a question of {TRAIN}.")
    if documents := len(train.documents & test.documents):
        found.warnings.append(f"{name}: {documents} of its documents are in {TRAIN} too.")
    if gold := len(train.gold & test.gold):
        found.warnings.append(f"{name}: {gold} of its gold passages are gold in {TRAIN} too.")


def _of(numbers: list[int]) -> str:
    """``3 rows (lines 4, 5, 9) have``."""
    named = ", ".join(map(str, numbers[:_WITH_LINES]))
    more = ", …" if len(numbers) > _WITH_LINES else ""
    if len(numbers) == 1:
        return f"1 row (line {named}) has"
    return f"{len(numbers)} rows (lines {named}{more}) have"
