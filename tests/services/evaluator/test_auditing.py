"""What the arms were tuned on, compared with what they are asked."""

import json
from typing import Any

import pytest

from fineproof.local.plan import embedder
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import Citation, RagAsk
from services.common.contracts.trainer import Checks, FineTuningJobCreate
from services.evaluator.phases.auditing import trained
from tests.services.evaluator.conftest import Bench
from tests.services.evaluator.world import BASE

FACTS = {"asked": 40, "not_asked": 2, "known": 0.5, "weakly_known": 0.25, "unknown": 0.25}


def trained_on(bench: Bench, rows: list[dict[str, Any]], *, known_facts: bool = False) -> None:
    """Have job ``ftjob_1``, which made the arms' adapters, say that it trained on ``rows``."""
    training = bench.world.training
    file_id = training.put("".join(json.dumps(row) + "\n" for row in rows))
    ask = FineTuningJobCreate(
        model=BASE, training_file=file_id, checks=Checks(known_facts=known_facts)
    )
    training.jobs["ftjob_1"] = training.create(ask, "key")


async def report_of(bench: Bench) -> Report:
    bench.world.items = bench.world.items[:6]
    bench.put(conditions=["closed_book", "retrieved"])
    row = await bench.run()
    assert row.error is None
    return Report.model_validate(row.report)


async def test_a_report_warns_of_a_test_that_was_trained_on(bench: Bench) -> None:
    asked, other = bench.world.items[0], bench.world.items[1]
    passage = next(p for p in bench.world.passages if p.id == other["evidence_ids"][0])
    trained_on(
        bench,
        [
            {"question": asked["question"].upper(), "answer": asked["answer"]},
            {"question": "Q?", "answer": "A", "evidence_ids": asked["evidence_ids"]},
            {"question": "Q2?", "answer": "A", "context": [passage.text]},
            {
                "messages": [
                    {"role": "user", "content": "Q3?"},
                    {"role": "assistant", "content": "A"},
                ]
            },
        ],
        known_facts=True,
    )
    bench.world.training.findings = [
        {"check": "duplicates", "exact": 1},
        {"check": "known_facts", **FACTS},
    ]
    report = await report_of(bench)
    assert [said.arm for said in report.training] == ["qa", "rag"]
    for said in report.training:
        overlap = said.overlap
        assert overlap is not None
        assert (overlap.rows, overlap.items, overlap.items_met) == (4, 6, 1)
        assert (overlap.questions.same, overlap.repeated, overlap.gold) == (1, 1, 1)
        assert overlap.passages.exact == 1
        assert said.facts is not None
        assert said.facts.unknown == 0.25
    assert any(
        warning.startswith("qa: 1 of 6 test questions stand in 1 of 4 training rows")
        for warning in report.warnings
    )
    assert any("25% it did not know raise hallucination" in each for each in report.warnings)


async def test_an_answer_keeps_what_it_cites_and_is_scored_by_it(bench: Bench) -> None:
    def cite(ask: RagAsk, said: str) -> list[Citation]:
        return [
            Citation(
                index=1,
                passage_id=passage.id,
                start=0,
                end=len(said),
                passage_start=0,
                passage_end=4,
                quote=passage.text[:4],
            )
            for passage in (ask.passages or [])[:1]
        ]

    bench.world.cite = cite
    report = await report_of(bench)
    found = {(m.arm, m.condition, m.metric): m.mean for m in report.means}
    assert found["rag", "retrieved", "citation_recall"] == 1.0
    assert found["rag", "retrieved", "citation_precision"] == 1.0
    assert ("rag", "closed_book", "citation_recall") not in found
    kept = {answer.condition: answer.citations for answer in bench.answers()}
    assert kept["closed_book"] == []
    assert kept["retrieved"][0]["index"] == 1
    assert report.retrieval is not None
    assert report.retrieval.ndcg == 1.0


async def test_meaning_is_scored_where_the_service_has_a_model_for_it(bench: Bench) -> None:
    without = await report_of(bench)
    assert "semantic_similarity" not in {mean.metric for mean in without.means}
    bench.settings = bench.settings.model_copy(update={"embedding_model": str(embedder())})
    bench.put("exp_2", conditions=["retrieved"])
    row = await bench.run("exp_2")
    found = {(m.arm, m.metric): m.mean for m in Report.model_validate(row.report).means}
    assert found["rag", "semantic_similarity"] == pytest.approx(1.0, abs=1e-4)
    assert 0 < found["qa", "semantic_similarity"] < 1


async def test_what_the_trainer_no_longer_knows_fails_nothing(bench: Bench) -> None:
    report = await report_of(bench)
    assert [said.reason for said in report.training] == ["No such job."] * 2
    assert "qa: what it was tuned on could not be read: No such job." in report.warnings


async def test_a_clean_training_file_is_no_warning(bench: Bench) -> None:
    trained_on(bench, [{"question": "Quite another thing?", "answer": "Yes"}])
    report = await report_of(bench)
    assert not [warning for warning in report.warnings if warning.startswith(("qa", "rag"))]
    assert all(said.facts is None and said.reason is None for said in report.training)


@pytest.mark.parametrize(
    "line",
    [
        {"question": "Who?", "answer": "Ada", "evidence_ids": [1], "doc_id": 2},
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "Who?"},
                {"role": "assistant", "content": "Ada"},
            ]
        },
        {
            "input": {"messages": [{"role": "user", "content": "Who?"}]},
            "preferred_output": [{"role": "assistant", "content": "Ada"}],
            "non_preferred_output": [{"role": "assistant", "content": "Bob"}],
        },
    ],
)
def test_every_form_of_training_line_has_its_question_and_answer(line: dict[str, Any]) -> None:
    row = trained(3, line)
    assert row is not None
    assert (row.id, row.question, row.answer) == ("line 3", "Who?", "Ada")


def test_a_line_without_a_question_is_passed_over() -> None:
    assert trained(1, {"messages": [{"role": "assistant", "content": "A"}]}) is None
