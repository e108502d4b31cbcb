"""Which candidate comes next, by what was found of those before."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fineproof.tuning.candidates import RECIPES, Candidate
from fineproof.tuning.choosing import (
    LOWER_IS_BETTER,
    Round,
    Scope,
    Step,
    advice,
    best,
    estimate,
    next_step,
    standing,
)
from services.common.contracts.evaluator import Verdict
from services.common.contracts.findings import Action
from services.common.contracts.hyperparameters import Recipe
from services.evaluator.metrics import METRICS
from tests.fineproof.tuning.reports import Found, report

QA = Candidate()
HELPS: Found = ("HELPS", 0.2)
HURTS: Found = ("HURTS", -0.2)
UNSURE: Found = ("INCONCLUSIVE", 0.01)
SAME: Found = ("EQUIVALENT", 0.0)


def tried(candidate: Candidate, *found: Found, tries: Sequence[Action] = ()) -> Round:
    return Round(candidate, report(candidate, *(found or (UNSURE, UNSURE)), tries=tries))


def after(*history: Round, rounds: int = 9, recipes: tuple[Recipe, ...] = RECIPES) -> Step:
    start = history[0].candidate if history else QA
    return next_step(history, Scope(start, rounds, recipes))


def made(**changes: object) -> Candidate:
    return QA.model_copy(update=changes)


def test_a_search_begins_where_it_is_told_to() -> None:
    assert after().candidate == QA


@pytest.mark.parametrize("other", [HELPS, UNSURE, SAME])
def test_a_round_that_helps_and_hurts_nothing_ends_it(other: Found) -> None:
    step = after(tried(QA, UNSURE, SAME), tried(made(recipe="rag"), HELPS, other))
    assert (step.candidate, step.because) == (None, "Round 2 helps.")


def test_one_that_helps_and_hurts_does_not_end_it() -> None:
    assert after(tried(QA, HELPS, HURTS)).candidate is not None


def test_the_last_round_allowed_ends_it() -> None:
    step = after(tried(QA), tried(made(recipe="rag")), rounds=2)
    assert (step.candidate, step.because) == (None, "All 2 rounds are used up.")


def test_what_hurts_is_remedied_as_its_report_says_and_the_reason_is_kept() -> None:
    step = after(tried(QA, HURTS, SAME, tries=["recipe_raft", "recipe_rag"]))
    assert step.candidate == made(recipe="raft")
    assert step.because == "Try recipe_raft. It was seen."


@pytest.mark.parametrize(
    ("action", "remedied"),
    [
        ("recipe_rag", made(recipe="rag")),
        ("recipe_raft", made(recipe="raft")),
        ("fewer_epochs", made(n_epochs=1)),
        ("smaller_rank", made(rank=8)),
    ],
)
def test_a_remedy_is_a_change_of_the_last_candidate(action: Action, remedied: Candidate) -> None:
    assert after(tried(QA, HURTS, HURTS, tries=[action])).candidate == remedied


def test_a_remedy_that_was_tried_or_goes_no_further_gives_way_to_the_next() -> None:
    gentle = made(n_epochs=1)
    first = tried(made(recipe="rag", n_epochs=1), HURTS, HURTS)
    last = tried(gentle, HURTS, HURTS, tries=["recipe_rag", "fewer_epochs", "smaller_rank"])
    assert after(first, last).candidate == made(n_epochs=1, rank=8)


def test_remedies_that_are_no_way_of_tuning_are_advice() -> None:
    others: list[Action] = ["more_tokens", "more_passages", "earlier_checkpoint"]
    found = tried(QA, HURTS, HURTS, tries=[*others, "recipe_rag"])
    assert [remedy.action for remedy in advice(found)] == others
    assert after(found).candidate == made(recipe="rag")


@pytest.mark.parametrize("found", [UNSURE, SAME, HURTS])
def test_without_remedies_the_ladder_goes_on(found: Found) -> None:
    history: list[Round] = []
    climbed = []
    while (step := after(*history)).candidate is not None:
        climbed.append((step.candidate.recipe, step.candidate.n_epochs, step.candidate.rank))
        history.append(tried(step.candidate, found, found))
    assert climbed[:5] == [
        ("qa", 2, 16),
        ("rag", 2, 16),
        ("raft", 2, 16),
        ("qa", 1, 16),  # all are alike: the first of them is the best so far
        ("qa", 2, 8),
    ]
    assert step.because in ("Nothing is left to try.", "All 9 rounds are used up.")


def test_the_ladder_halves_what_was_best() -> None:
    history = [
        tried(QA, ("INCONCLUSIVE", -0.1), SAME),
        tried(made(recipe="rag"), ("INCONCLUSIVE", 0.1), SAME),
        tried(made(recipe="raft"), HURTS, ("HELPS", 0.9)),
    ]
    step = after(*history)
    assert step.candidate == made(recipe="rag", n_epochs=1)
    assert step.because == "The ladder halves the epochs of rag, 2 epochs, rank 16."
    history.append(tried(made(recipe="rag", n_epochs=1), UNSURE, UNSURE))
    assert after(*history).candidate == made(recipe="rag", rank=8)


def test_the_ladder_never_goes_back_before_where_the_search_began() -> None:
    assert after(tried(made(recipe="raft"))).candidate == made(recipe="raft", n_epochs=1)


def test_a_recipe_that_was_skipped_is_come_back_to() -> None:
    skipped = tried(QA, HURTS, SAME, tries=["recipe_raft"])
    assert after(skipped, tried(made(recipe="raft"))).candidate == made(recipe="rag")


def test_what_the_data_cannot_teach_is_not_tried() -> None:
    found = tried(made(recipe="rag"), HURTS, HURTS, tries=["recipe_raft"])
    assert after(found, recipes=("qa", "rag")).candidate == made(recipe="rag", n_epochs=1)


def test_the_best_helps_else_hurts_nothing_else_has_the_best_estimate() -> None:
    mixed = tried(QA, HURTS, ("HELPS", 0.9))
    unsure = tried(made(recipe="rag"), ("INCONCLUSIVE", 0.1), UNSURE)
    worse = tried(made(recipe="raft"), UNSURE, SAME)
    helps = tried(made(rank=8), ("HELPS", 0.01), SAME)
    assert best([mixed]).because == "no other was tried"
    found = best([mixed, worse, unsure])
    assert (found.number, found.round) == (3, unsure)
    assert found.because == "its mean difference, +0.055, is the best, of those that hurt nothing"
    assert best([mixed, unsure, helps]).number == 3
    assert best([tried(QA, HURTS, HURTS), mixed]).number == 2
    assert best([worse, worse]).number == 1


def test_a_standing_is_of_what_was_declared_alone() -> None:
    assert standing(report(QA, SAME, UNSURE)) == "INCONCLUSIVE"
    assert standing(report(QA, SAME, SAME)) == "EQUIVALENT"
    assert standing(report(QA, SAME, HELPS)) == "HELPS"
    assert standing(report(QA, HURTS, HELPS)) == "HURTS"
    assert standing(report(QA)) == "INCONCLUSIVE"


def test_an_estimate_turns_round_what_is_better_low() -> None:
    refusals = report(QA, ("HELPS", -0.3), ("HURTS", -0.1), metrics=["refusal", "chrf"])
    assert estimate(refusals) == pytest.approx(0.1)
    deciding = [metric for metric in METRICS.values() if metric.may_decide]
    assert {m.name for m in deciding if not m.higher_is_better} == LOWER_IS_BETTER
    assert {m.scale for m in deciding} == {"0..1"}


FOUND = st.tuples(st.sampled_from(get_args(Verdict)), st.integers(-9, 9).map(lambda n: n / 10))
ROUNDS = st.lists(
    st.tuples(FOUND, FOUND, st.lists(st.sampled_from(get_args(Action)), max_size=4)),
    min_size=60,
    max_size=60,
)
STARTS = st.builds(
    Candidate,
    recipe=st.sampled_from(get_args(Recipe)),
    n_epochs=st.integers(1, 12),
    rank=st.integers(1, 64),
)
TEACHABLE = st.sampled_from([RECIPES, RECIPES[:2]])


@settings(deadline=None)
@given(ROUNDS, STARTS, st.integers(1, 20), TEACHABLE)
def test_whatever_is_found_no_candidate_comes_twice_and_the_search_ends(
    found: list[tuple[Found, Found, list[Action]]],
    start: Candidate,
    rounds: int,
    recipes: tuple[Recipe, ...],
) -> None:
    scope = Scope(start, rounds, recipes)
    history: list[Round] = []
    while (step := next_step(history, scope)).candidate is not None:
        assert step.candidate not in [one.candidate for one in history]
        assert step.because
        assert next_step(history, scope) == step  # asked again it says the same
        if history:
            assert step.candidate.recipe in recipes
            assert standing(history[-1].report) != "HELPS"
        assert 1 <= step.candidate.n_epochs <= start.n_epochs
        assert min(8, start.rank) <= step.candidate.rank <= start.rank
        one, other, tries = found[len(history)]
        history.append(tried(step.candidate, one, other, tries=tries))
        assert len(history) <= rounds
    chosen = best(history)
    assert history[chosen.number - 1] is chosen.round
    if standing(history[-1].report) == "HELPS":
        assert chosen.round is history[-1]


@settings(deadline=None)
@given(STARTS)
def test_left_alone_the_ladder_tries_everything_there_is(start: Candidate) -> None:
    history: list[Round] = []
    scope = Scope(start, 1_000)
    while (step := next_step(history, scope)).candidate is not None:
        history.append(tried(step.candidate))
    met = {one.candidate for one in history}
    assert {candidate.recipe for candidate in met} >= {start.recipe, "raft"}
    for candidate in met:
        assert {candidate.remedied("fewer_epochs"), candidate.remedied("smaller_rank")} <= met
