"""A study as files and on the terminal."""

import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from fineproof.cli import app
from fineproof.study.assembling import study_of
from fineproof.study.figures import models_svg, sizes_svg, tuning_svg
from fineproof.study.reading import read_runs
from fineproof.study.result import Study
from fineproof.study.tables import show
from tests.fineproof.study.runs import effect_of, write_run

HOSTILE = "<script>alert(1)</script> | x"


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["study", "report", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [
        write_run(
            root / model / data, effect_of(points, seed=len(model)), model=model, dataset=data
        )
        for model, points in (("qwen2.5-0.5b-instruct", -1.0), ("smollm2-135m-instruct", 0.0))
        for data in ("nq", "qasper")
    ]


@pytest.fixture(scope="module")
def study(runs: Sequence[Path]) -> Study:
    return study_of(read_runs(runs, "retrieved"), "retrieved")


def test_three_files_are_written_and_three_tables_printed(runs: list[Path], tmp_path: Path) -> None:
    done = report(*runs, "--out", tmp_path / "new" / "study")
    assert done.exit_code == 0, done.output
    for question in ("beat the base in RAG?", "training size matter?", "models suffer more?"):
        assert question in done.stdout
    assert str(tmp_path / "new" / "study" / "study.html").replace("\n", "") in done.stdout
    told = Study.model_validate_json((tmp_path / "new" / "study" / "study.json").read_text())
    assert [(one.dataset, one.suffers_more) for one in told.models] == [
        ("nq", "qwen2.5-0.5b-instruct"),
        ("qasper", "qwen2.5-0.5b-instruct"),
    ]
    assert sorted(path.name for path in (tmp_path / "new" / "study").iterdir()) == [
        "study.html",
        "study.json",
        "study.md",
    ]


def test_json_is_all_that_is_printed_when_it_is_asked_for(runs: list[Path], tmp_path: Path) -> None:
    done = report(*runs, "--out", tmp_path, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "study.json").read_text())


def test_what_is_wrong_is_one_sentence(runs: list[Path], tmp_path: Path) -> None:
    twice = report(runs[0], runs[0], "--out", tmp_path)
    assert "are both of qwen2.5-0.5b-instruct on 'nq'" in str(twice.exception)
    assert report(runs[0], "--out", tmp_path, "--condition", "open_book").exit_code == 3
    (tmp_path / "file").write_text("")
    assert "cannot be written" in str(report(runs[0], "--out", tmp_path / "file").exception)


def test_the_same_runs_make_the_same_bytes(runs: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        report(*runs, "--out", tmp_path / name)
    for form in ("json", "md", "html"):
        one, two = ((tmp_path / name / f"study.{form}").read_bytes() for name in ("one", "two"))
        assert one == two


class Page(HTMLParser):
    """What a browser would fetch, and the ids of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} {value}")
            if name == "id":
                self.ids.append(str(value))


def test_the_page_fetches_nothing_and_holds_three_figures(runs: list[Path], tmp_path: Path) -> None:
    report(*runs, "--out", tmp_path)
    page = Page()
    page.feed(text := (tmp_path / "study.html").read_text())
    assert page.fetched == []
    assert page.tags.count("svg") == 3
    assert len(set(page.ids)) == len(page.ids)
    assert not re.search(r"<dc:date>|\d{4}-\d{2}-\d{2}T", text)


def test_figures_are_svg_with_a_mark_for_every_row(study: Study) -> None:
    for draw in (tuning_svg, sizes_svg, models_svg):
        svg = draw(study)
        assert svg is not None
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert "currentColor" in svg
    labels = "".join(ET.fromstring(str(tuning_svg(study))).itertext())
    for row in study.tuning:
        assert row.arm in labels
        assert f"{row.model} on {row.dataset}" in labels
    assert "smollm2-135m-instruct" in "".join(ET.fromstring(str(sizes_svg(study))).itertext())


def test_every_number_of_the_tables_stands_in_markdown(runs: list[Path], tmp_path: Path) -> None:
    report(*runs, "--out", tmp_path)
    text = (tmp_path / "study.md").read_text()
    assert text.count("| **HURTS** |") == 6
    assert text.count("**qwen2.5-0.5b-instruct suffers more**") == 2
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables if "suffers more" in line}
    assert widths == {9}


def test_one_base_model_leaves_a_sentence_where_the_third_table_would_be(
    runs: list[Path], tmp_path: Path
) -> None:
    report(*runs[:2], "--out", tmp_path)
    sentence = "Only qwen2.5-0.5b-instruct was asked: which models suffer more takes at least two."
    page = (tmp_path / "study.html").read_text()
    assert sentence in page
    assert page.count("<svg") == 2
    assert sentence in (tmp_path / "study.md").read_text()
    assert "effect on" not in page


def test_nothing_that_a_run_is_called_becomes_markup(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / str(n), effect_of(-n, seed=n), model=f"m{n}", dataset=HOSTILE)
        for n in range(2)
    ]
    assert report(*folders, "--out", tmp_path).exit_code == 0
    assert "<script>" not in (tmp_path / "study.html").read_text()
    assert "<script>" not in (tmp_path / "study.md").read_text()


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut_off_on_a_narrow_terminal(study: Study, width: int) -> None:
    some = study.sizes[0]
    sizes = [some.points[0].model_copy(update={"pairs": pairs}) for pairs in (0, 200, 500, 1000)]
    long = some.model_copy(update={"metric": "contains_answer", "points": sizes})
    printed = io.StringIO()
    show(study.model_copy(update={"sizes": [long]}), Console(file=printed, width=width))
    text = printed.getvalue()
    assert "…" not in text
    for words in ("pairs-1000", "EQUIVALENT", "smollm2-135m-instruct on qasper", "1,000"):
        assert words in text
