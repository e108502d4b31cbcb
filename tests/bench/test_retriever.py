"""A short run of the whole: what it starts, compares and writes down."""

import json
import sys
from pathlib import Path

import pytest

from bench import harness, retriever
from tests.conftest import free_port


@pytest.mark.e2e
def test_a_short_run_writes_every_figure_beside_its_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    sizes = {"--rows": 40, "--rounds": 2, "--searches": 20, "--queries": 10, "--embedded": 64}
    words = [str(word) for pair in sizes.items() for word in pair]
    argv = ["retriever", "--sizes", "200", "6000", "--widths", "1", "4", *words]
    monkeypatch.setattr(sys, "argv", [*argv, "--port", str(free_port(following=6))])
    retriever.main()
    written = json.loads((tmp_path / "retriever.json").read_text())
    figures = {figure["name"]: figure for figure in written["figures"]}
    for size in ("200", "6,000"):
        assert figures[f"recall@10, of {size}"]["value"] >= 0.95
        for name, goal in (
            ("ready vectors", ">=0.7"),
            ("searches, 1 at once", None),
            ("searches, 4 at once", ">=0.7"),
            ("searches in words, 4 at once", ">=0.8"),
            ("texts embedded", ">=0.9"),
        ):
            figure = figures[f"{name}, of {size}"]
            assert figure["goal"] == goal
            assert figure["ratio"] > 0
    assert figures["recall@10, of 200"]["value"] == 1
    assert figures["most memory of the API, 6,000 against 200"]["value"] > 10
    assert figures["most memory of the worker, 6,000 against 200"]["value"] > 100
