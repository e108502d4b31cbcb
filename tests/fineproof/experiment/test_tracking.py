"""``fineproof experiment export``: a running evaluator's report in a real MLflow."""

from pathlib import Path

import httpx
import mlflow
import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.errors import UserError
from fineproof.experiment.tracking import export
from services.common.contracts.evaluator import Report
from services.evaluator.report import build_report
from tests.fineproof.gates.test_gate import stack as stack
from tests.services.evaluator.conftest import db as db
from tests.services.evaluator.conftest import settings as settings
from tests.services.evaluator.conftest import world as world
from tests.services.evaluator.test_report import measured


def test_an_experiment_is_a_run_and_each_arm_one_below_it_however_often_it_is_exported(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow keeps files beside a local store
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    asked = ["experiment", "export", "exp_1", "--mlflow", uri, "--into", "proofs"]
    done, again = (CliRunner().invoke(app, asked) for _ in range(2))
    assert done.exit_code == 0, done.output
    assert again.stdout == done.stdout

    report = Report.model_validate_json(httpx.get(f"{stack}/v1/experiments/exp_1/report").content)
    client = mlflow.MlflowClient(uri)
    whole = client.get_run(done.stdout.split()[1])
    arms = {
        run.data.tags["fineproof.arm"]: run
        for run in client.search_runs([whole.info.experiment_id])
        if run.data.tags.get("mlflow.parentRunId") == whole.info.run_id
    }
    assert set(arms) == {arm.name for arm in report.arms}
    assert whole.data.params["dataset_sha256"] == report.dataset.sha256
    assert whole.data.params["statistics.alpha"] == "0.05"
    assert whole.data.tags["fineproof.headline"] == report.headline
    files = {file.path for file in client.list_artifacts(whole.info.run_id)}
    assert files == {"report.json", "report.md", "report.html"}
    kept = mlflow.artifacts.load_text(f"{whole.info.artifact_uri}/report.json")
    assert Report.model_validate_json(kept) == report

    worse = arms["qa"].data
    for one in report.comparisons:
        if one.arm == "qa" and one.primary:
            path = f"{one.condition}/{one.metric}"
            assert worse.metrics[f"{path}/diff"] == pytest.approx(one.diff)
            assert worse.metrics[f"{path}/ci95_low"] == pytest.approx(one.ci95[0])
            assert worse.tags[f"verdict.{one.condition}.{one.metric}"] == one.verdict
    assert worse.params["sha256"] == next(a.sha256 for a in report.arms if a.name == "qa")
    means = {f"{m.condition}/{m.metric}/mean": m.mean for m in report.means if m.arm == "base"}
    assert arms["base"].data.metrics == pytest.approx(means)


def test_an_mlflow_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(UserError, match="MLflow did not take the report") as told:
        export(build_report(measured()), {}, uri="http://me:secret@127.0.0.1:9", name="proofs")
    assert "secret" not in str(told.value)
