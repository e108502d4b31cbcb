"""Gates as the evaluator keeps them, without the hours of measuring."""

from collections.abc import Mapping
from typing import Any

from services.common.contracts.evaluator import ExperimentCreate, Report
from services.common.contracts.gate import Gate, GatePolicy, GateReason
from services.common.db import Database
from services.common.ids import new_id
from services.evaluator.main import create_app
from services.evaluator.models import Answer, Base, Experiment, GateRow, Item
from services.evaluator.settings import EvaluatorSettings

EXPERIMENT = "exp_1"


class Gates:
    """The real evaluator, whose table of gates a test writes. It must run."""

    def __init__(self, database_url: str, storage_url: str) -> None:
        self.url = ""
        self.app = create_app(
            EvaluatorSettings(
                mode="local",
                database_url=database_url,
                storage_url=storage_url,
                retriever_url="http://127.0.0.1:9",
                generator_url="http://127.0.0.1:9",
                trainer_url="http://127.0.0.1:9",
            )
        )
        self._database_url = database_url

    def add(self, model: str, sha256: str, *, passed: bool = True) -> dict[str, str]:
        """How an alias names the gate that ``model`` came to."""
        shut = [] if passed else [GateReason(code="hurts", message="qa HURTS retrieved by 0.30.")]
        gate = Gate(
            id=new_id("gate"),
            experiment_id=EXPERIMENT,
            created_at=0,
            created_by="ci",
            arm="qa",
            baseline="base",
            model=model,
            adapter_sha256=sha256,
            passed=passed,
            reasons=shut,
            policy=GatePolicy(),
        )
        row = GateRow(id=gate.id, experiment_id=EXPERIMENT, gate=gate.model_dump(mode="json"))
        self._write(Experiment(id=EXPERIMENT, name="e", spec={}, dataset_sha256=""), row)
        return {"experiment_id": EXPERIMENT, "gate_id": gate.id}

    def keep(self, spec: Mapping[str, Any], report: Report) -> None:
        """An experiment that has completed, every question of it answered."""
        kept = ExperimentCreate.model_validate(spec).model_dump(mode="json")
        experiment = Experiment(
            id=EXPERIMENT,
            name="e",
            spec=kept,
            dataset_sha256="",
            status="completed",
            report=report.model_dump(mode="json"),
        )
        item = Item(
            experiment_id=EXPERIMENT,
            item_id="i",
            ordinal=0,
            question="q",
            reference="r",
            references=[],
            aliases=[],
            cluster="c",
            evidence_ids=[],
            retrieved=[],
            oracle=[],
            distractors=[],
        )
        answers = [
            Answer(experiment_id=EXPERIMENT, item_id="i", arm=arm["name"], condition="retrieved")
            for arm in kept["arms"]
        ]
        self._write(experiment, item, *answers)

    def _write(self, *rows: Base) -> None:
        db = Database(self._database_url, pool_size=1)
        with db.transaction() as session:
            for row in rows:
                session.merge(row)
                session.flush()
        db.close()
