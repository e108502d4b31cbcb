"""What a study says of experiments whose truth is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fineproof.study.assembling import study_of
from fineproof.study.reading import read_runs
from fineproof.study.result import ModelContrast, SizeEffect, Study
from fineproof.study.weighing import LOWER_IS_BETTER
from services.evaluator.metrics import METRICS
from tests.fineproof.study.runs import Asked, Score, effect_of, write_run

Told = Callable[..., Study]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """``told(a={"score": …}, b=…)``: the study of an experiment for each base model."""

    def study(condition: Any = "retrieved", **models: dict[str, Any]) -> Study:
        folders = [write_run(tmp_path / name, model=name, **how) for name, how in models.items()]
        return study_of(read_runs(folders, condition), condition)

    return study


def contrast(study: Study) -> ModelContrast:
    (found,) = study.models
    return found


def by_size(study: Study) -> SizeEffect:
    (found,) = study.sizes
    return found


def missing(score: Score, *, every: int, pairs: int) -> Score:
    """The same, but that an arm's answer to every so many items has no score."""

    def scored(asked: Asked) -> float | None:
        gone = asked.pairs == pairs and asked.item % every == 0
        return None if gone else score(asked)

    return scored


def test_tuning_against_base_is_the_report_s_own_comparison(told: Told) -> None:
    study = told(a={"score": effect_of(-1), "metrics": ["accuracy"]})
    assert [(one.arm, one.verdict) for one in study.tuning] == [
        ("pairs-200", "HURTS"),
        ("pairs-500", "HURTS"),
        ("pairs-1000", "HURTS"),
    ]
    assert study.tuning[0].diff == pytest.approx(-1, abs=0.2)
    assert study.tuning[0].margin == 0.25
    assert study.answers.tuning == "Under retrieved, tuned against base, of 3 comparisons: 3 HURTS."


def test_the_model_that_loses_a_point_suffers_more_than_the_one_that_loses_nothing(
    told: Told,
) -> None:
    study = told(a={"score": effect_of(-1, seed=1)}, b={"score": effect_of(0, seed=2)})
    found = contrast(study)
    assert (found.models, found.verdict, found.suffers_more) == (("a", "b"), "HURTS", "a")
    assert found.diff == pytest.approx(-1, abs=0.2)
    assert found.ci95[0] < found.diff < found.ci95[1] < 0
    assert found.arms == ["pairs-200", "pairs-500", "pairs-1000"]
    effects = {one.model: one.diff for one in study.model_effects}
    assert effects == {"a": pytest.approx(-1, abs=0.2), "b": pytest.approx(0, abs=0.2)}
    assert study.answers.models == "a against b, of 1 comparison: a suffers more in 1."


def test_whichever_of_the_two_comes_first_the_same_one_suffers(told: Told) -> None:
    study = told(a={"score": effect_of(0, seed=2)}, b={"score": effect_of(-1, seed=1)})
    assert (contrast(study).verdict, contrast(study).suffers_more) == ("HELPS", "b")


def test_of_two_that_gain_the_one_that_gains_less_suffers_more(told: Told) -> None:
    study = told(a={"score": effect_of(0.2, seed=1)}, b={"score": effect_of(1.2, seed=2)})
    assert contrast(study).suffers_more == "a"


def test_models_that_lose_alike_suffer_as_much(told: Told) -> None:
    study = told(a={"score": effect_of(-1, seed=1)}, b={"score": effect_of(-1, seed=2)})
    assert (contrast(study).verdict, contrast(study).suffers_more) == ("EQUIVALENT", None)
    assert study.answers.models.endswith("as much in 1.")


def test_where_there_is_no_effect_models_are_told_apart_no_more_often_than_declared(
    told: Told,
) -> None:
    """Of 40 studies without an effect 2 may be wrong; 7 would be by chance once in 300 times."""
    quick = {"resamples": 1000, "permutations": 1000}
    how: dict[str, Any] = {"sizes": [200], "documents": 12, "per_document": 2, "statistics": quick}
    false = sum(
        contrast(
            told(
                a={"score": effect_of(0, noise=1.2, seed=2 * n), **how},
                b={"score": effect_of(0, noise=1.2, seed=2 * n + 1), **how},
            )
        ).suffers_more
        is not None
        for n in range(40)
    )
    assert false < 7


def test_items_of_one_document_are_no_evidence_of_their_own(told: Told) -> None:
    """Ten documents that differ as wholes: 200 items that were taken one by one would tell."""

    def of_documents(seed: int) -> Score:
        def score(asked: Asked) -> float:
            luck = effect_of(0, noise=0, seed=seed)
            whole = Asked(asked.document, asked.document, asked.pairs, asked.metric, 0, 0)
            moved = (-1.2, -1.0, 0.9, 1.1, -1.1, 0.8, -0.9, -1.0, 1.0, -0.6)[asked.document]
            base = luck(whole)
            assert base is not None
            return base + (moved * (seed + 1) / 2 if asked.pairs else 0)

        return score

    how = {"documents": 10, "per_document": 20, "sizes": [200]}
    clustered = contrast(
        told(a={"score": of_documents(1), **how}, b={"score": of_documents(0), **how})
    )
    assert (clustered.n, clustered.clusters) == (200, 10)
    assert clustered.suffers_more is None
    apart = {"documents": 200, "per_document": 1, "sizes": [200]}

    def alone(seed: int) -> Score:
        together = of_documents(seed)
        return lambda asked: together(
            Asked(asked.item, asked.item // 20, asked.pairs, asked.metric, 0, 0)
        )

    independent = contrast(told(a={"score": alone(1), **apart}, b={"score": alone(0), **apart}))
    assert independent.diff == pytest.approx(clustered.diff)
    assert independent.clusters == 200
    assert independent.p < 0.05 < clustered.p


def test_with_one_base_model_a_sentence_stands_in_place_of_the_table(told: Told) -> None:
    study = told(a={"score": effect_of(-1)})
    assert study.models == study.model_effects == []
    assert study.answers.models == (
        "Only a was asked: which models suffer more takes at least two."
    )


def test_a_missing_score_leaves_its_item_out_and_is_counted(told: Told) -> None:
    lossy = missing(effect_of(-1, seed=1), every=10, pairs=500)
    study = told(a={"score": lossy}, b={"score": effect_of(0, seed=2)})
    found = contrast(study)
    assert (found.n, found.unscored, found.suffers_more) == (54, 6, "a")
    assert found.bounds is not None
    assert found.bounds[0] < found.diff < found.bounds[1]
    assert [one.unscored for one in study.model_effects] == [6, 0]
    assert [one.unscored for one in study.tuning if one.model == "a"] == [0, 6, 0]


def test_a_base_score_that_is_missing_is_one_score_however_many_arms_are_averaged(
    told: Told,
) -> None:
    lossy = missing(effect_of(-1, seed=1), every=20, pairs=0)
    study = told(a={"score": lossy}, b={"score": effect_of(0, seed=2)})
    assert (contrast(study).n, contrast(study).unscored) == (57, 3)


def test_a_verdict_does_not_stand_where_the_missing_scores_could_turn_it(told: Told) -> None:
    lossy = missing(effect_of(-0.6, seed=1), every=2, pairs=200)
    how: dict[str, Any] = {"sizes": [200]}
    found = contrast(told(a={"score": lossy, **how}, b={"score": effect_of(0, seed=2), **how}))
    assert (found.verdict, found.suffers_more, found.unscored) == ("INCONCLUSIVE", None, 30)
    assert "30 unscored answers" in (found.note or "")


def test_what_no_score_is_left_of_is_said_and_not_shown(told: Told) -> None:
    never = missing(effect_of(0), every=1, pairs=200)
    study = told(a={"score": never, "sizes": [200]}, b={"score": effect_of(0), "sizes": [200]})
    assert study.models == []
    assert any("1 comparison of models without an item" in note for note in study.notes)


def test_the_most_pairs_are_held_against_the_fewest_tuned_on(told: Told) -> None:
    study = told(a={"score": effect_of(lambda pairs: -pairs / 1000)})
    found = by_size(study)
    assert [point.pairs for point in found.points] == [0, 200, 500, 1000]
    assert found.test is not None
    assert (found.test.fewest, found.test.most) == (200, 1000)
    assert found.test.arms == ("pairs-200", "pairs-1000")
    assert (found.test.verdict, found.test.n) == ("HURTS", 60)
    assert found.test.diff == pytest.approx(-0.8, abs=0.2)
    assert study.answers.sizes.endswith("of 1 comparison: 1 HURTS.")


def test_a_size_that_does_not_matter_is_no_verdict_of_harm(told: Told) -> None:
    test = by_size(told(a={"score": effect_of(-1)})).test
    assert test is not None
    assert test.verdict == "EQUIVALENT"


def test_one_tuned_size_is_drawn_and_not_tested(told: Told) -> None:
    study = told(a={"score": effect_of(-1), "sizes": [200]})
    assert by_size(study).test is None
    assert "one tuned size only" in study.answers.sizes


def test_all_rows_of_a_table_are_corrected_for_together(told: Told) -> None:
    def score(asked: Asked) -> float:
        judged = effect_of(lambda pairs: -pairs / 2000, noise=0.9, seed=4)(asked)
        assert judged is not None
        return judged if asked.metric == "accuracy" else (judged - 1) / 4

    alone = by_size(told(a={"score": score}))
    both = told(a={"score": score, "metrics": ["accuracy", "token_f1"]}).sizes
    assert alone.test is not None
    assert alone.test.p == alone.test.p_holm
    of_two = [one.test for one in both if one.test is not None]
    assert [test.p for test in of_two] == [pytest.approx(alone.test.p)] * 2
    assert [test.p_holm for test in of_two] == [pytest.approx(2 * alone.test.p)] * 2


def test_repeats_are_averaged_within_their_item(told: Told) -> None:
    def score(asked: Asked) -> float | None:
        if asked.repeat == 1 and asked.item % 2:
            return None
        return (3.0 if not asked.pairs else 2.0) + (asked.repeat - 0.5 if not asked.item % 2 else 0)

    how: dict[str, Any] = {"sampling": {"temperature": 0.5, "repeats": 2}, "repeats": 2}
    study = told(a={"score": score, **how}, b={"score": lambda asked: 3.0, **how})
    found = contrast(study)
    assert (found.n, found.unscored, found.diff) == (60, 0, -1.0)


def test_training_seeds_that_disagree_make_a_verdict_on_the_recipe_undecided(told: Told) -> None:
    lucky = {0: -2.0, 1: 0.2, 2: -0.9}

    def score(asked: Asked) -> float | None:
        return effect_of(lucky[asked.training_seed], seed=1)(asked)

    seeds = {"seeds": [0, 1, 2]}
    one = told(a={"score": effect_of(-0.9, seed=1)}, b={"score": effect_of(0, seed=2)})
    three = told(a={"score": score, **seeds}, b={"score": effect_of(0, seed=2), **seeds})
    assert contrast(one).suffers_more == "a"
    found = contrast(three)
    assert found.diff == pytest.approx(-0.9, abs=0.2)
    assert found.verdict == "INCONCLUSIVE"
    assert "3 training seeds, resampled with the documents" in (found.note or "")


def test_a_metric_where_less_is_better_turns_suffering_round(told: Told) -> None:
    def score(up: bool) -> Score:
        return lambda asked: float(up and asked.pairs > 0 and asked.item % 2)

    study = told(
        a={"score": score(True), "metrics": ["refusal"]},
        b={"score": score(False), "metrics": ["refusal"]},
    )
    assert contrast(study).diff == pytest.approx(0.5)
    assert contrast(study).suffers_more == "a"


def test_the_metrics_where_less_is_better_are_the_evaluator_s() -> None:
    told = {m.name for m in METRICS.values() if m.may_decide and not m.higher_is_better}
    assert told == LOWER_IS_BETTER


def test_only_arms_that_both_have_tuned_alike_are_averaged(told: Told) -> None:
    study = told(
        a={"score": effect_of(lambda pairs: -2 if pairs == 1000 else 0, seed=1)},
        b={"score": effect_of(0, seed=2), "sizes": [200, 500]},
    )
    found = contrast(study)
    assert found.arms == ["pairs-200", "pairs-500"]
    assert found.suffers_more is None
    assert "without pairs-1000" in study.notes[0]


def test_arms_tuned_otherwise_are_not_compared_across_models(told: Told) -> None:
    study = told(
        a={"score": effect_of(-1)},
        b={"score": effect_of(0), "tune": {"hyperparameters": {"n_epochs": 5}}},
    )
    assert study.models == []
    assert "no arm of the same name, tuned alike" in study.notes[0]
    assert "No two base models" in study.answers.models


def test_ids_of_a_stack_s_own_do_not_make_arms_differ(told: Told) -> None:
    def of(store: str) -> dict[str, Any]:
        retrieval = {"vector_store_id": store, "max_num_results": 2}
        return {"store": store, "tune": {"hyperparameters": {"retrieval": retrieval}}}

    study = told(a={"score": effect_of(-1), **of("vs_1")}, b={"score": effect_of(0), **of("vs_2")})
    assert contrast(study).suffers_more == "a"


def test_models_tuned_on_other_rows_are_not_compared(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / m, effect_of(0), model=m) for m in ("a", "b")]
    for run, row in zip(runs, ("one", "other"), strict=True):
        (run / "data").mkdir()
        (run / "data" / "train.jsonl").write_text(row)
    study = study_of(read_runs(runs, "retrieved"), "retrieved")
    assert study.models == []
    assert "tuned on other training rows" in study.notes[0]


def test_scores_of_other_judges_are_not_compared(told: Told) -> None:
    study = told(a={"score": effect_of(-1)}, b={"score": effect_of(0), "judge_sha256": "99" * 32})
    assert study.models == []
    assert "accuracy: their judges are not the same" in study.notes[0]
    assert len(study.model_effects) == 2


def test_data_sets_are_compared_each_by_itself(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / f"{model}-{data}", effect_of(points, seed=n), model=model, dataset=data
        )
        for n, (model, data, points) in enumerate(
            [("a", "nq", -1.0), ("a", "qasper", 0.0), ("b", "nq", 0.0), ("b", "qasper", -1.0)]
        )
    ]
    study = study_of(read_runs(runs, "retrieved"), "retrieved")
    assert [(one.dataset, one.suffers_more) for one in study.models] == [
        ("nq", "a"),
        ("qasper", "b"),
    ]
    assert [run.dataset for run in study.runs] == ["nq", "nq", "qasper", "qasper"]


def test_another_condition_can_be_studied(told: Told) -> None:
    def score(asked: Asked) -> float | None:
        return effect_of(-1)(asked)

    how: dict[str, Any] = {"conditions": ["closed_book", "retrieved"]}
    study = told("closed_book", a={"score": score, **how}, b={"score": effect_of(0), **how})
    assert study.condition == "closed_book"
    assert len(study.tuning) == 6
    assert contrast(study).n == 60
