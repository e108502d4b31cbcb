"""What a real evaluator tells of an experiment is what a study reads."""

from pathlib import Path

import httpx

from fineproof.study.assembling import study_of
from fineproof.study.reading import read_runs
from services.common.contracts.evaluator import Report
from tests.fineproof.gates.test_gate import stack as stack
from tests.services.evaluator.conftest import db as db
from tests.services.evaluator.conftest import settings as settings
from tests.services.evaluator.conftest import world as world
from tests.services.evaluator.world import BASE


def test_an_evaluator_s_report_and_rows_make_a_study(stack: str, tmp_path: Path) -> None:
    found = f"{stack}/v1/experiments/exp_1"
    told = httpx.get(f"{found}/report").content
    (tmp_path / "report.json").write_bytes(told)
    (tmp_path / "rows.jsonl").write_bytes(httpx.get(f"{found}/rows").content)
    (run,) = read_runs([tmp_path], "retrieved")
    report = Report.model_validate_json(told)
    assert run.model == BASE
    assert len(run.answers.items) == report.dataset.items
    for mean in report.means:
        scores = [
            score
            for score in run.answers.cells[mean.arm].of(mean.metric).values()
            if score is not None
        ]
        assert abs(sum(scores) / len(scores) - mean.mean) < 1e-9
    study = study_of([run], "retrieved")
    assert {(one.arm, one.verdict) for one in study.tuning if one.metric == "contains_answer"} == {
        ("qa", "HURTS"),
        ("rag", "EQUIVALENT"),
    }
