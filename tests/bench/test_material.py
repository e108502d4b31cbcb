"""What the benchmark of search stores has neighbours, and recall counts those that were found."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.material import Material, invented, of_folder


@pytest.fixture(scope="module")
def material() -> Material:
    return invented(3_000, 20, seed=1)


def nearest(material: Material, size: int, k: int) -> list[list[int]]:
    similar = material.queries @ material.vectors[:size].astype(np.float32).T
    found: list[list[int]] = np.argsort(-similar, axis=1)[:, :k].tolist()
    return found


def test_what_is_invented_has_length_one_and_a_seed(material: Material) -> None:
    lengths = np.linalg.norm(material.vectors.astype(np.float32), axis=1)
    assert lengths == pytest.approx(1, abs=1e-3)
    again = invented(3_000, 20, seed=1)
    assert (again.vectors == material.vectors).all()
    assert again.text(7) == material.text(7) != material.text(8)


def test_queries_have_neighbours_that_stand_out(material: Material) -> None:
    similar = material.queries @ material.vectors.astype(np.float32).T
    assert np.median(similar.max(axis=1)) > 0.5
    assert abs(np.median(similar)) < 0.1


def test_recall_is_the_share_of_the_true_nearest_that_was_found(material: Material) -> None:
    true = nearest(material, 2_000, 10)
    assert material.recall(true, 2_000, 10) == 1
    assert material.recall([found[:5] for found in true], 2_000, 10) == 0.5
    away = nearest(material, 2_000, 1_500)
    assert material.recall([found[-10:] for found in away], 2_000, 10) == 0


def test_a_folder_s_passages_are_embedded_and_never_run_out(tmp_path: Path) -> None:
    passages = [{"id": str(n), "text": f"Passage {n}."} for n in range(3)]
    pairs = [{"id": "q", "question": "Which passage?", "answer": "0"}]
    for name, rows in (("corpus", passages), ("test", pairs)):
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    made = of_folder(tmp_path, 3, 5, lambda texts: np.ones((len(texts), 384), np.float32))
    assert (made.vectors.shape, made.queries.shape) == ((3, 384), (1, 384))
    assert "Passage 1." in made.text(1)
    assert made.text(4) != made.text(1)
