"""Retrieval metrics on rankings small enough to count by hand."""

from services.evaluator.metrics.retrieval import hit_at_k, recall_at_k, reciprocal_rank

RANKED = ["a", "b", "c", "d"]


def test_a_hit_needs_one_gold_passage_among_the_first_k() -> None:
    assert hit_at_k(RANKED, {"c", "z"}, 3) == 1.0
    assert hit_at_k(RANKED, {"c", "z"}, 2) == 0.0
    assert hit_at_k([], {"c"}, 3) == 0.0


def test_recall_is_the_share_of_gold_found() -> None:
    assert recall_at_k(RANKED, ["c", "z", "c"], 3) == 0.5
    assert recall_at_k(RANKED, ["c", "a"], 3) == 1.0


def test_the_reciprocal_rank_is_that_of_the_first_gold_passage() -> None:
    assert reciprocal_rank(RANKED, {"b", "d"}) == 0.5
    assert reciprocal_rank(RANKED, {"z"}) == 0.0
