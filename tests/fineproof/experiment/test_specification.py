from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.experiment.commands import STUDIES
from fineproof.experiment.pipeline import with_store
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


def test_recipe_rag_reads_the_store_that_was_just_filled() -> None:
    arms = {arm.name: arm.tune for arm in load_specification(STUDIES / "demo.yaml").arms}
    assert arms["rag"] is not None
    assert arms["qa"] is not None
    tuned = with_store(arms["rag"], "vs_1", k=3)
    assert tuned.retrieval is not None
    assert (tuned.retrieval.vector_store_id, tuned.retrieval.max_num_results) == ("vs_1", 3)
    assert with_store(arms["qa"], "vs_1", k=3).retrieval is None
