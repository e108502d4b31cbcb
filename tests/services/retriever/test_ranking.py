import pytest

from services.retriever.ranking import Scored, best_first, best_of, fuse

EVEN = (1.0, 1.0)


def level(*keys: int) -> list[Scored]:
    """A ranking whose scores are all the same."""
    return [(key, 0.4) for key in keys]


def test_first_in_every_ranking_scores_one() -> None:
    ranked = fuse([[(7, 0.9), (8, 0.7)], [(7, 0.2), (9, 0.1)]], EVEN)
    assert ranked[0] == (7, pytest.approx(1.0))


def test_first_in_one_of_two_rankings_scores_half() -> None:
    assert dict(fuse([[(7, 0.9)], [(9, 0.1)]], EVEN)) == pytest.approx({7: 0.5, 9: 0.5})


def test_being_found_twice_beats_being_first_once() -> None:
    ranked = [key for key, _ in fuse([level(1, 2, 3), level(4, 5, 3)], EVEN)]
    assert ranked[0] == 3


def test_a_first_place_beats_being_found_twice_far_down() -> None:
    others = list(range(100, 108))
    ranked = [key for key, _ in fuse([level(1, *others, 2), level(50, *others[::-1], 2)], EVEN)]
    assert ranked.index(1) < ranked.index(2)


def test_scores_follow_the_formula() -> None:
    assert dict(fuse([[(1, 0.8), (2, 0.6)], [(2, 0.1)]], EVEN, k=60)) == pytest.approx(
        {1: (1 / 61) / (2 / 61), 2: (0.75 / 62 + 1 / 61) / (2 / 61)}
    )


def test_of_two_places_alike_the_one_whose_score_is_nearer_to_the_first_is_ahead() -> None:
    close, far = [(1, 0.9), (2, 0.85)], [(3, 0.9), (4, 0.3)]
    assert [key for key, _ in fuse([far, close], EVEN)] == [1, 3, 2, 4]


def test_a_ranking_without_scores_counts_by_its_places() -> None:
    assert dict(fuse([[(1, 0.0), (2, 0.0)], []], EVEN)) == pytest.approx({1: 0.5, 2: 0.375})


def test_a_ranking_counts_by_its_weight() -> None:
    assert fuse([level(7), level(9)], (1, 3)) == [(9, 0.75), (7, 0.25)]
    assert fuse([level(7, 8), level(7)], (0.1, 0.7))[0] == (7, 1.0)


def test_a_ranking_of_no_weight_adds_nobody() -> None:
    assert [key for key, _ in fuse([level(7, 8), level(9)], (0, 2))] == [9]


def test_nothing_ranked_is_nothing_found() -> None:
    assert fuse([[], []], EVEN) == []
    assert fuse([], []) == []


def test_equal_scores_keep_the_order_of_their_keys() -> None:
    assert best_first([(5, 0.5), (3, 0.5), (4, 0.9)]) == [(4, 0.9), (3, 0.5), (5, 0.5)]


def test_the_best_of_several_lists_keeps_each_keys_highest_score() -> None:
    assert best_of([[(1, 0.2), (2, 0.5)], [(1, 0.7)]]) == [(1, 0.7), (2, 0.5)]
