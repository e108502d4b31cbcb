"""Arms by number of training pairs: which belong together, and how they are drawn."""

import xml.etree.ElementTree as ElementTree
from typing import Any

from services.common.contracts.arms import ArmAsk
from services.evaluator.figures import forest_svg, sizes_svg
from services.evaluator.rendering import render_html, render_markdown
from services.evaluator.report import build_report
from services.evaluator.sizes import series, size_tables
from tests.services.evaluator.test_report import measured
from tests.services.evaluator.world import BASE


def arm(name: str, **tune: Any) -> dict[str, Any]:
    return {"name": name, "tune": {"base_model": BASE, "training_file": "f"} | tune}


BASELINE = {"name": "base", "model": BASE}
SIZES = [arm("p500", pairs=500), arm("p200", pairs=200)]


def grouped(*arms: dict[str, Any]) -> dict[str, list[tuple[int, str]]]:
    return dict(series([ArmAsk.model_validate(one) for one in arms]))


def test_arms_that_differ_in_pairs_alone_are_one_series_from_the_base_on() -> None:
    assert grouped(BASELINE, *SIZES) == {"qa": [(0, "base"), (200, "p200"), (500, "p500")]}
    assert grouped(*SIZES) == {"qa": [(200, "p200"), (500, "p500")]}


def test_an_arm_made_of_no_pair_is_the_base_of_every_series() -> None:
    found = grouped(arm("none", pairs=0), *SIZES, arm("r200", pairs=200, recipe="rag"))
    assert found["qa"][0] == found["rag"][0] == (0, "none")
    assert found["rag"][1] == (200, "r200")


def test_what_differs_in_more_than_pairs_is_no_series() -> None:
    assert grouped(arm("a", pairs=200), arm("b", pairs=500, seeds=[1])) == {}
    assert grouped({"name": "base", "model": "other"}, arm("a", pairs=200)) == {}
    assert grouped(BASELINE, arm("whole")) == {}


def test_every_metric_is_drawn_by_size_with_a_table_beside_it() -> None:
    report = build_report(measured(arms=[BASELINE, *SIZES]))
    assert {curve.condition for curve in report.sizes} == set(report.conditions)
    assert {"contains_answer", "token_f1", "rouge_l"} <= {curve.metric for curve in report.sizes}
    assert "answer_length" not in {curve.metric for curve in report.sizes}
    means = {(m.arm, m.condition, m.metric): m.mean for m in report.means}
    for curve in report.sizes:
        assert [point.pairs for point in curve.points] == [0, 200, 500]
        for point in curve.points:
            assert point.mean == means[point.arm, curve.condition, curve.metric]
    svg = sizes_svg(report)
    assert svg is not None
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert all(text in svg for text in ("token_f1", "500", "closed_book", "currentColor"))
    assert sizes_svg(report) == svg
    html = render_html(report, forest_svg(report), svg)
    assert html.count("<svg") == 2
    assert "By number of training pairs" in html
    [table] = size_tables(report.sizes)
    assert table.sizes == [0, 200, 500]
    lines = render_markdown(report).splitlines()
    start = lines.index("## By number of training pairs, recipe qa") + 2
    shown = lines[start : start + 2 + len(report.sizes)]
    assert shown[0] == "| metric | condition | 0 | 200 | 500 |"
    assert {line.count("|") for line in shown} == {6}


def test_without_sizes_there_is_no_figure() -> None:
    report = build_report(measured())
    assert report.sizes == []
    assert sizes_svg(report) is None
    assert "training pairs" not in render_html(report, forest_svg(report))
