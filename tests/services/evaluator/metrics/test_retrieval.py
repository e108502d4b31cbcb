"""Retrieval's figures, by the package and by their definitions side by side."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator.metrics.retrieval import Quality, Ranked, quality

IDS = st.sampled_from([f"p{n}" for n in range(15)])
LISTS = st.lists(
    st.tuples(st.lists(IDS, unique=True, max_size=15), st.sets(IDS, min_size=1, max_size=5)),
    min_size=1,
    max_size=5,
)


def by_definition(found: list[str], gold: set[str], k: int) -> list[float]:
    near = found[:k]
    first = next((1 / rank for rank, id_ in enumerate(near, 1) if id_ in gold), 0.0)
    gains = [1 / math.log2(rank + 1) for rank, id_ in enumerate(found[:10], 1) if id_ in gold]
    ideal = [1 / math.log2(rank + 1) for rank in range(1, min(len(gold), 10) + 1)]
    return [
        float(bool(gold & set(near))),
        len(gold & set(near)) / len(gold),
        first,
        sum(gains) / sum(ideal),
    ]


@given(LISTS, st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_every_figure_is_the_mean_of_its_definition(
    lists: list[tuple[list[str], set[str]]], k: int
) -> None:
    said = quality([Ranked(found, gold) for found, gold in lists], k)
    each = [by_definition(found, gold, k) for found, gold in lists]
    means = [sum(column) / len(each) for column in zip(*each, strict=True)]
    assert [said.hit, said.recall, said.mrr, said.ndcg] == pytest.approx(means)


def test_ids_of_any_script_and_ties_keep_their_rank() -> None:
    lists = [Ranked(["z/é 1", "a", "ö:2"], {"ö:2"})]
    assert quality(lists, 3) == Quality(1.0, 1.0, pytest.approx(1 / 3), pytest.approx(0.5))
    assert quality(lists, 2) == Quality(0.0, 0.0, 0.0, pytest.approx(0.5))


def test_what_is_found_twice_counts_once() -> None:
    assert quality([Ranked(["a", "a", "b"], {"b"})], 3).mrr == pytest.approx(1 / 2)
