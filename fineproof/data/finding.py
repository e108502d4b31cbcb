"""What a person names on the command line: a public data set, its original file, or a folder."""

import json
from pathlib import Path
from typing import Any

from fineproof.data.example import Source
from fineproof.data.reading import CORPUS, sha256_of
from fineproof.data.sources import bioasq, hub, natural_questions, qasper
from fineproof.data.sources.folder import Folder
from fineproof.errors import UserError

_NQ_FILES = "*nq-*.jsonl*"


def find(named: str) -> Source:
    """``bioasq``, ``nq`` and ``qasper`` or their ids on the hub, else a path.

    Raises :class:`UserError` for what is none of them.
    """
    if named in ("bioasq", bioasq.HUB):
        return bioasq.MiniBioAsq(
            hub.stream(bioasq.HUB, "train", "test", config="question-answer-passages"),
            hub.stream(bioasq.HUB, "test", config="text-corpus"),
            origin=f"hub {bioasq.HUB}",
        )
    if named in ("nq", "natural_questions", natural_questions.HUB):
        name = natural_questions.HUB
        return natural_questions.NaturalQuestions(
            hub.stream(name, "validation", "train", config="default"), f"hub {name}"
        )
    if named in ("qasper", qasper.HUB):
        rows = hub.stream(qasper.HUB, "train", "validation", revision=hub.PARQUET)
        return qasper.Qasper(qasper.from_hub(rows), f"hub {qasper.HUB}")
    path = Path(named)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return _in_file(path)
    raise UserError(
        f"'{named}' is neither a data set (bioasq, nq, qasper) nor a file or folder that is here."
    )


def _in_folder(folder: Path) -> Source:
    if (folder / CORPUS).is_file():
        return Folder(folder)
    if files := sorted(folder.glob(_NQ_FILES)):
        names = f"{files[0].name} to {files[-1].name}"
        return natural_questions.NaturalQuestions(natural_questions.from_files(files), names)
    raise UserError(
        f"{folder} holds neither {CORPUS} nor files of Natural Questions ({_NQ_FILES})."
    )


def _in_file(path: Path) -> Source:
    origin = f"{path.name} sha256 {sha256_of(path)}"
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return natural_questions.NaturalQuestions(natural_questions.from_files([path]), origin)
    try:
        with path.open(encoding="utf-8") as source:
            top = json.load(source)
    except (json.JSONDecodeError, UnicodeDecodeError):
        top = None
    if isinstance(top, dict) and isinstance(top.get("questions"), list):
        return bioasq.BioAsq(top["questions"], origin)
    if isinstance(top, dict) and top and all(map(_is_paper, top.values())):
        return qasper.Qasper(top.items(), origin)
    raise UserError(
        f"{path} is none of the forms known: BioASQ's JSON with 'questions', Qasper's JSON by "
        "paper, or Natural Questions' .jsonl and .jsonl.gz."
    )


def _is_paper(value: Any) -> bool:
    return isinstance(value, dict) and "qas" in value
