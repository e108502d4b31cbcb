"""Semantic similarity, with the packaged all-MiniLM-L6-v2 itself."""

import pytest

from fineproof.local.plan import embedder
from services.evaluator.metrics import Sample
from services.evaluator.metrics.similarity import Similarity


@pytest.fixture(scope="module")
def similarity() -> Similarity:
    return Similarity(str(embedder()))


def test_meaning_counts_and_not_words(similarity: Similarity) -> None:
    right = "The pump broke down because its seal was worn out."
    same, paraphrase, other = similarity(
        [
            Sample(right, [right]),
            Sample("A worn gasket made the pump fail.", [right]),
            Sample("Leave is granted by the head of the team.", [right]),
        ]
    )
    assert same == pytest.approx(1.0, abs=1e-5)
    assert same > paraphrase > 0.5 > other >= 0.0


def test_the_best_reference_counts_and_an_empty_answer_means_nothing(
    similarity: Similarity,
) -> None:
    references = ["It rains in Bergen.", "The invoice was paid in March."]
    first, second, empty = similarity(
        [Sample(text, references) for text in (references[0], references[1], " ")]
    )
    assert first == pytest.approx(1.0, abs=1e-5)
    assert second == pytest.approx(1.0, abs=1e-5)
    assert empty == 0.0


def test_a_batch_scores_as_its_answers_do_alone(similarity: Similarity) -> None:
    samples = [Sample(f"Answer number {n}", ["Number three", "It is four"]) for n in range(40)]
    assert similarity(samples) == pytest.approx(
        [similarity([sample])[0] for sample in samples], abs=1e-5
    )
