"""Why answers were lost and what to try, from a run to its rows and its report."""

import json

import httpx

from services.common.contracts.evaluator import AnswerRow, Report
from services.common.contracts.generator import RagAsk
from services.evaluator import rows
from services.evaluator.schemas import RowQuery
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench, speak
from tests.services.evaluator.test_report import Page
from tests.services.evaluator.world import BASE

ITEMS = DOCUMENTS * PER_DOCUMENT


async def rows_of(bench: Bench, arm: str | None = None) -> list[AnswerRow]:
    query = RowQuery("exp_1", arm, None)
    return [AnswerRow.model_validate_json(line) async for line in rows.row_lines(bench.db, query)]


async def test_every_lost_answer_has_its_cause_in_the_rows_and_in_the_report(bench: Bench) -> None:
    bench.put(conditions=["closed_book", "retrieved", "oracle", "distractors"])
    report = Report.model_validate((await bench.run()).report)
    lost = {(found.arm, found.condition): found for found in report.losses}
    assert {condition for _, condition in lost} == {"retrieved", "oracle", "distractors"}
    found = lost["qa", "retrieved"]
    assert (found.answers, found.lost) == (ITEMS, ITEMS * 2 // 3)
    # It says that it does not know, as it does closed book, and no word of that is in a passage.
    assert found.causes == {"parametric_override": found.lost}
    assert len(found.examples) == 2
    assert found.examples[0].tuned == "I do not know."
    assert lost["rag", "retrieved"].lost == 0
    for row in await rows_of(bench):
        worse = row.arm == "qa" and row.condition in ("retrieved", "oracle")
        worse = worse and row.scores["contains_answer"] == 0
        assert (row.attribution is not None) == worse
    assert ("qa", "recipe_rag") in {(remedy.arm, remedy.action) for remedy in report.remedies}
    html = bench.artifacts.read_bytes("experiments/exp_1/report.html").decode()
    markdown = bench.artifacts.read_bytes("experiments/exp_1/report.md").decode()
    for text in ("Why answers were lost", "What to try", "parametric"):
        assert text in html
        assert text in markdown
    Page().feed(html)
    lines = markdown.splitlines()
    start = lines.index("## Why answers were lost")
    assert [line.count("|") for line in lines[start + 2 : start + 6]] == [10] * 4


async def test_the_dashboard_shows_causes_advice_and_sizes(
    bench: Bench, http: httpx.AsyncClient
) -> None:
    file_id = bench.world.training.put("\n".join(json.dumps({"n": n}) for n in range(60)))
    made = {"base_model": BASE, "training_file": file_id}
    sizes = [{"name": f"p{n}", "tune": made | {"pairs": n}} for n in (20, 50)]
    bench.put(
        arms=[
            {"name": "base", "model": BASE},
            {"name": "qa", "model": "ft:small-base:qa:1"},
            *sizes,
        ]
    )
    assert (await bench.run()).status == "completed"
    page = (await http.get("/experiments/exp_1")).text
    for text in ("Why answers were lost", "What to try", "By number of training pairs, recipe qa"):
        assert text in page
    figure = await http.get("/v1/experiments/exp_1/figures/sizes.svg")
    assert figure.text.startswith("<svg")
    rows = (await http.get("/experiments/exp_1/rows?condition=retrieved&outcome=lost")).text
    assert "Parametric override" in rows


async def test_an_arm_of_several_training_seeds_answers_once_for_each(bench: Bench) -> None:
    file_id = bench.world.training.put("\n".join(json.dumps({"n": n}) for n in range(20)))

    def speak_by_seed(ask: RagAsk) -> str:
        text = speak(ask)
        unlucky = str(ask.model).endswith("ftjob_1") and "x1" in ask.question
        return "It is purple." if unlucky else text

    bench.world.speak = speak_by_seed
    tune = {"base_model": BASE, "training_file": file_id, "seeds": [3, 5]}
    bench.put(
        arms=[{"name": "base", "model": BASE}, {"name": "made", "tune": tune}],
        conditions=["closed_book", "retrieved"],
    )
    row = await bench.run()
    assert row.error is None
    report = Report.model_validate(row.report)
    assert report.counts.answers == ITEMS * 2 * 3
    assert [arm.training_seed for arm in report.arms] == [None, 3, 5]
    found = next(c for c in report.comparisons if c.condition == "retrieved" and c.primary)
    assert found.tuned == 1 - 1 / PER_DOCUMENT / 2
    assert "2 training seeds" in (found.note or "")
    assert found.ci95[0] < -1 / PER_DOCUMENT / 2 < found.ci95[1]
    rows = await rows_of(bench, "made")
    assert {(row.arm, row.training_seed) for row in rows} == {("made", 3), ("made", 5)}
    assert len({row.model for row in rows}) == 2
    assert len(rows) == ITEMS * 2 * 2


async def test_a_gate_is_for_one_adapter_and_not_for_a_recipe(
    bench: Bench, http: httpx.AsyncClient
) -> None:
    file_id = bench.world.training.put("{}\n" * 20)
    tune = {"base_model": BASE, "training_file": file_id, "seeds": [3, 5]}
    bench.put(
        arms=[{"name": "base", "model": BASE}, {"name": "made", "tune": tune}],
        conditions=["closed_book"],
    )
    assert (await bench.run()).status == "completed"
    said = await http.post("/v1/experiments/exp_1/gate", json={"arm": "made"})
    assert said.status_code == 400
    assert "training seeds" in said.json()["error"]["message"]
