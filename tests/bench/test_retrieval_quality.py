"""A whole run over a small folder, through the processes of the local stack."""

import json
import sys
from pathlib import Path

import pytest

from bench import retrieval_quality
from bench.harness import Figure, conclude
from tests.conftest import free_port

SHELF = {
    "ship": "The cargo vessel left the harbour at dawn.",
    "cat": "A cat sleeps on the warm windowsill.",
    "code": "Valve ZX-4411 must be replaced every nine months.",
    "soup": "Tomato soup is served on Tuesdays.",
}
QUESTIONS = {"When is valve ZX-4411 replaced?": "code", "boat departing from a port": "ship"}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["retrieval_quality", *arguments])
    retrieval_quality.main()


def test_every_ranker_is_scored_and_other_folders_results_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    rows = {
        "corpus": [{"id": key, "text": text} for key, text in SHELF.items()],
        "test": [
            {"id": gold, "question": question, "evidence_ids": [gold]}
            for question, gold in QUESTIONS.items()
        ],
    }
    for name, lines in rows.items():
        (shelf / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    results = tmp_path / "results"
    before = [
        Figure(f"{name}: MRR, against BM25", "of 1", 1, 2, ">=1.0") for name in ("shelf", "z")
    ]
    details = {"shelf": {}, "z": {"questions": 7}}
    conclude("retrieval_quality", before, packages=[], details=details, folder=results)

    where = ("--data", str(shelf), "--folder", str(results), "--port", str(free_port(following=6)))
    run(monkeypatch, *where)

    found = json.loads((results / "retrieval_quality.json").read_text())
    assert found["details"]["z"] == {"questions": 7}
    told = found["details"]["shelf"]
    assert (told["questions"], told["passages"], told["within_document"]) == (2, 4, False)
    assert list(told["means"]) == ["hybrid", "vector", "text", "BM25", "exact"]
    assert told["means"]["hybrid"]["MRR"] == told["means"]["exact"]["MRR"] == 1
    # The second shares no word with its passage.
    assert told["means"]["text"]["hit@5"] == 0.5
    assert told["differences"]["MRR"]["verdict"] == "level"
    names = [figure["name"].split(":")[0] for figure in found["figures"]]
    assert names == ["z", *["shelf"] * 4]
    assert str(tmp_path) not in json.dumps(found)
    assert "95 % interval" in capsys.readouterr().out
