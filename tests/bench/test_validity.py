"""The simulated worlds have the truth they claim, and a run of the bench says what it found."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import validity
from bench.harness import conclude
from bench.trials import Size, rates
from bench.worlds import AVERAGED, EASY, KINDS, Scores, World, even, uneven


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("times", [0, 2])
def test_a_world_s_mean_difference_is_the_effect_it_claims(kind: Scores, times: int) -> None:
    effect = times * kind.scale.margin * (-1 if kind is EASY else 1)
    base, tuned = World(kind, even(20_000, 5), 0.2, effect).draw(np.random.default_rng(0))
    error = (tuned - base).std() / np.sqrt(50_000)
    assert (tuned - base).mean() == pytest.approx(effect, abs=4 * error)


def test_differences_of_one_document_correlate_as_declared() -> None:
    base, tuned = World(AVERAGED, even(20_000, 2), 0.3, 0.0).draw(np.random.default_rng(1))
    pairs = (tuned - base).reshape(-1, 2)
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0.3, abs=0.03)
    assert pairs.std() == pytest.approx(0.6, rel=0.02)


def test_uneven_documents_hold_about_as_many_items() -> None:
    sizes = uneven(30, 10)
    assert sum(sizes) == pytest.approx(300, rel=0.05)
    assert sizes[0] > 10 * sizes[-1]


def test_a_large_effect_is_found_and_none_is_found_where_none_is() -> None:
    size, generator = Size(experiments=20, resamples=1_000), np.random.default_rng(2)
    large = rates(World(AVERAGED, even(30, 10), 0.1, 1.0), size, generator)
    assert (large.found, large.peer_found, large.equivalent, large.false) == (1, 1, 0, 0)
    assert rates(World(AVERAGED, even(30, 10), 0.1, 0.0), size, generator).found == 0


def test_a_short_run_writes_its_figures_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validity, "DESIGNS", {"8 × 2": even(8, 2)})
    monkeypatch.setattr(validity, "speed", lambda: 1.0)
    short = ["validity", "--experiments", "4", "--resamples", "1000", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", short)
    validity.main()
    found = json.loads((tmp_path / "validity.json").read_text())
    assert found["machine"]["cores"] >= 1
    assert {row["design"] for row in found["details"]["cells"]} == {"8 × 2", "300 × 1"}
    assert all(0 <= row["covered"] <= 1 for row in found["details"]["cells"])
    page = (tmp_path / "validity.md").read_text()
    assert found["details"]["command"] in page
    assert "| 8 × 2 |" in page


def test_figures_go_to_the_folder_that_is_named(tmp_path: Path) -> None:
    path = conclude("x", [], packages=[], details={}, folder=tmp_path / "new")
    assert path.parent == tmp_path / "new"
