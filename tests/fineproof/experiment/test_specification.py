from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.experiment.commands import STUDIES
from fineproof.experiment.specification import load_specification


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_checked_in_study_is_valid(path: Path) -> None:
    assert load_specification(path).baseline in {arm.name for arm in load_specification(path).arms}


def test_the_command_line_wins_over_the_file() -> None:
    loaded = load_specification(STUDIES / "demo.yaml", pairs=77, items=None, within_document=True)
    assert loaded.data.pairs == 77
    assert loaded.data.items == 60
    assert loaded.retrieval.within_document


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\narms: [{name: base}]", "arms"),
        ("name: x\narms: [{name: base}, {name: qa, tune: {recipe: tea}}]", "recipe"),
        ("name: x\narms: [{name: base}, {name: b, model: m, tune: {}}]", "both model and tune"),
        ("name: x\ncolour: red\narms: [{name: base}, {name: b, model: m}]", "colour"),
        ("name: [", "not valid YAML"),
        ("3", "the top level"),
    ],
)
def test_a_mistake_is_named_in_a_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_specification(write(tmp_path, text))


def test_a_missing_specification_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no specification at"):
        load_specification(tmp_path / "absent.yaml")


def test_hyper_parameters_may_stand_beside_the_recipe(tmp_path: Path) -> None:
    text = (
        "name: x\narms: [{name: base}, {name: rag, tune: {recipe: rag, n_epochs: 3, seeds: [7]}}]"
    )
    base, rag = load_specification(write(tmp_path, text)).arms
    asked = rag.asked("small", "file_1").tune
    assert asked is not None
    assert (asked.base_model, asked.training_file, asked.seeds) == ("small", "file_1", [7])
    assert (asked.recipe, asked.hyperparameters.n_epochs) == ("rag", 3)
    assert base.asked("small", "file_1").model == "small"


def test_sizes_are_one_specification_of_arms_that_differ_in_pairs() -> None:
    arms = load_specification(STUDIES / "sizes.yaml").arms
    asked = [arm.asked("small", "file_1").tune for arm in arms]
    assert [tune.pairs for tune in asked if tune] == [0, 200, 500, 1000]
    assert len({tune.model_dump_json(include={"hyperparameters"}) for tune in asked if tune}) == 1


def test_an_arm_cannot_want_more_pairs_than_are_taken() -> None:
    with pytest.raises(UserError, match="wants 200 pairs, and data"):
        load_specification(STUDIES / "sizes.yaml", pairs=20)


def test_the_paper_s_protocol_is_judged_ten_times_and_decided_under_retrieval() -> None:
    paper = load_specification(STUDIES / "paper.yaml")
    assert [arm.tune.pairs for arm in paper.arms if arm.tune] == [0, 200, 500, 1000]
    assert paper.judge is not None
    assert (paper.judge.runs, paper.judge.metrics) == (10, ["accuracy", "completeness"])
    assert paper.metrics == paper.judge.metrics
    assert paper.primary_conditions == ["retrieved"]


def test_a_judge_is_named_in_a_word_whether_the_study_has_one_or_not() -> None:
    added = load_specification(STUDIES / "sizes.yaml", judge="ft:judge").judge
    assert added is not None
    assert (added.model, added.metrics) == ("ft:judge", ["accuracy", "completeness"])
    demo, other = (load_specification(STUDIES / "demo.yaml", judge=m).judge for m in (None, "gpt"))
    assert demo is not None
    assert other == demo.model_copy(update={"model": "gpt"})
