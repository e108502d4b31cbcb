"""What cannot stand in a study is refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.study.reading import read_runs
from tests.fineproof.study.runs import Asked, edit, write_run

Spoil = Callable[[Path], object]


def three(_: Asked) -> float:
    return 3.0


def lines(run: Path) -> list[str]:
    return (run / "rows.jsonl").read_text().splitlines(keepends=True)


def cut(run: Path, count: int) -> None:
    (run / "rows.jsonl").write_text("".join(lines(run)[:count]))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "report.json").unlink(), "has no report.json: its experiment has not"),
        (lambda run: (run / "rows.jsonl").unlink(), "has no rows.jsonl"),
        (lambda run: (run / "report.json").write_text("{"), "cannot be read as a report"),
        (lambda run: (run / "report.json").write_text('{"name": 3}'), "experiment_id: Field"),
        (lambda run: (run / "rows.jsonl").write_text("{}\n"), "rows.jsonl, line 1 is no answer"),
        (lambda run: cut(run, 7), "holds 7 answers where report.json tells of 24"),
        (lambda run: edit(run / "report.json", experiment_id="exp_other"), "is of exp-small-handb"),
        (lambda run: edit(run / "report.json", arms=[]), "which model its baseline is"),
    ],
)
def test_a_run_that_is_missing_or_broken_is_named(tmp_path: Path, spoil: Spoil, said: str) -> None:
    run = write_run(tmp_path / "run", three, documents=3, per_document=2)
    spoil(run)
    with pytest.raises(UserError, match=said) as told:
        read_runs([run], "retrieved")
    assert str(run) in str(told.value)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        read_runs([tmp_path / "absent"], "retrieved")


def test_a_condition_that_was_not_asked_under_is_named_with_those_that_were(tmp_path: Path) -> None:
    run = write_run(tmp_path, three, documents=3, conditions=["closed_book", "oracle"])
    with pytest.raises(UserError, match="'retrieved', only under closed_book, oracle"):
        read_runs([run], "retrieved")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "small"}, "are both of small on 'handbook'"),
        ({"documents": 4}, "their test questions differ"),
        ({"retrieval": {"max_num_results": 5}}, "differ in `retrieval`"),
        ({"sampling": {"max_tokens": 9}}, "differ in `sampling`"),
        ({"statistics": {"alpha": 0.1}}, "weighed by other `statistics`"),
        ({"dataset": "else", "statistics": {"alpha": 0.1}}, "weighed by other `statistics`"),
    ],
)
def test_two_runs_that_cannot_be_compared_are_both_named(
    tmp_path: Path, other: dict[str, object], said: str
) -> None:
    one = write_run(tmp_path / "one", three, documents=3)
    how = {"model": "large", "documents": 3, **other}
    two = write_run(tmp_path / "two", three, **how)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said) as told:
        read_runs([one, two], "retrieved")
    assert f"{one} and {two}" in str(told.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("prompt_template_sha256", "00"), "asked with other prompts"),
        (("What of i0?", "Who was i0?"), "disagree on item 'i0'"),
        (('"cluster":"d0"', '"cluster":"d9"'), "disagree on item 'i0'"),
    ],
)
def test_runs_of_other_prompts_questions_or_documents_are_not_compared(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    runs = [write_run(tmp_path / m, three, model=m, documents=3) for m in ("small", "large")]
    before, after = change
    if before == "prompt_template_sha256":
        edit(runs[1] / "report.json", **{before: after})
    else:
        rows = (runs[1] / "rows.jsonl").read_text()
        assert before in rows
        (runs[1] / "rows.jsonl").write_text(rows.replace(before, after))
    with pytest.raises(UserError, match=said):
        read_runs(runs, "retrieved")


def test_the_same_model_on_two_data_sets_is_no_duplicate(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / d, three, dataset=d, documents=3) for d in ("nq", "qasper")]
    assert [run.dataset for run in read_runs(runs, "retrieved")] == ["nq", "qasper"]
