"""``fineproof gate`` before a real evaluator with an experiment behind it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.gates import junit, markdown
from fineproof.gates.deciding import Decided
from fineproof.gates.policy import load_policy
from services.common.contracts.evaluator import Report, Verdict
from services.common.contracts.gate import Gate, GateCreate, GatePolicy
from services.common.db import Database
from services.evaluator.gate import applied, shut_by
from services.evaluator.main import create_app
from services.evaluator.report import build_report
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import Bench
from tests.services.evaluator.conftest import db as db
from tests.services.evaluator.conftest import settings as settings
from tests.services.evaluator.conftest import world as world
from tests.services.evaluator.test_gate import NONE_MISSING, arm, judged, proven
from tests.services.evaluator.test_report import measured
from tests.services.evaluator.world import World
from tests.services.generator.conftest import serving

POLICIES = sorted((Path(__file__).parents[3] / "studies" / "policies").glob("*.yaml"))
Ask = Callable[..., "Told"]


@dataclass(frozen=True)
class Told:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def stack(
    settings: EvaluatorSettings, db: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An evaluator with the experiment ``exp_1``: ``qa`` hurts, ``rag`` does as well as base."""
    bench = Bench(db, settings, world)
    asyncio.run(bench.run(bench.put(conditions=["retrieved"])))
    monkeypatch.setenv("COLUMNS", "300")
    with serving(create_app(settings)) as url:
        monkeypatch.setenv("FINEPROOF_URL", url)
        yield url


@pytest.fixture
def gate(stack: str) -> Ask:
    """``gate(*options)`` on that experiment."""

    def told(*options: str | Path) -> Told:
        done = CliRunner().invoke(app, ["gate", "exp_1", *map(str, options)])
        return Told(done.exit_code, done.stdout, done.stderr)

    return told


def test_a_gate_ends_in_what_it_says_and_writes_it_down(gate: Ask, tmp_path: Path) -> None:
    xml, md = tmp_path / "out" / "gate.xml", tmp_path / "gate.md"
    shut = gate("--arm", "qa", "--json", "--junit", xml, "--markdown", md)
    assert shut.code == shut.json["exit_code"] == 1
    assert not shut.json["passed"]
    lost = shut.json["flips"][0]
    assert (lost["outcome"], lost["tuned"]["answer"]) == ("lost", "I do not know.")
    assert lost["passages"][0]["text"]
    suite = ET.fromstring(xml.read_text()).find("testsuite")
    assert suite is not None
    failed = [case for case in suite.findall("testcase") if case.find("failure") is not None]
    assert suite.get("failures") == str(len(failed))
    assert "retrieved contains_answer" in [case.get("name") for case in failed]
    said = md.read_text()
    assert "# qa does not pass" in said
    assert "I do not know." in said
    assert lost["passages"][0]["text"] in said

    passed = gate("--arm", "rag")
    assert (passed.code, passed.stdout.split()[0]) == (0, "PASSED")
    shown = gate("--arm", "qa")
    assert "hurts: qa HURTS retrieved" in shown.stdout
    assert "I do not know." in shown.stdout


def test_what_cannot_be_asked_ends_in_3(gate: Ask, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    for content, said in (
        ("required: [", "is no YAML"),
        ("- 1", "is no policy"),
        ("requires: []", "requires"),
        ("metrics: [rouge_l]", "did not declare"),
    ):
        policy.write_text(content)
        told = gate("--arm", "rag", "--policy", policy, "--json")
        assert (told.code, told.json["verdict"]) == (3, None)
        assert said in told.stderr
    assert gate("--arm", "rag", "--policy", tmp_path / "none.yaml").code == 3
    several = gate()
    assert several.code == 3
    assert "qa, rag" in several.stderr
    assert gate("--arm", "x/../y").code == 3
    other = CliRunner().invoke(app, ["gate", "exp_2"])
    assert (other.exit_code, "no experiment 'exp_2'" in other.stderr) == (3, True)
    path = CliRunner().invoke(app, ["gate", "../files"])
    assert path.exit_code == 3


def test_nobody_there_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINEPROOF_URL", "http://127.0.0.1:9")
    done = CliRunner().invoke(app, ["gate", "exp_1", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (3, None)


@pytest.fixture(scope="module")
def report() -> Report:
    return proven(build_report(measured()))


def decided(report: Report, policy: GatePolicy | None = None, **unscored: float) -> Decided:
    """As the evaluator decides, for ``rag``."""
    asked = GateCreate(arm="rag", policy=policy or GatePolicy())
    filled = applied(asked.policy, report)
    reasons = shut_by(report, arm(report, "rag"), filled, NONE_MISSING | unscored)
    gate = Gate.model_validate(
        {
            "id": "gate_1",
            "experiment_id": "exp_1",
            "created_at": 1_700_000_000,
            "created_by": "local",
            "arm": "rag",
            "baseline": "base",
            "model": "ft:x",
            "adapter_sha256": None,
            "passed": not reasons,
            "reasons": reasons,
            "policy": filled,
        }
    )
    family = [one for one in report.comparisons if one.primary and one.arm == "rag"]
    return Decided(gate, report, family, [])


@pytest.mark.parametrize(
    ("verdict", "code"), [("HELPS", 0), ("EQUIVALENT", 0), ("HURTS", 1), ("INCONCLUSIVE", 2)]
)
def test_undecided_is_told_from_wrong(report: Report, verdict: Verdict, code: int) -> None:
    found = judged(report, verdict, condition="retrieved")
    assert decided(found).exit_code == code


def test_what_was_decided_otherwise_is_wrong_and_what_never_came_undecided(report: Report) -> None:
    must_help = GatePolicy.model_validate(
        {"required": [{"condition": "retrieved", "metric": "token_f1", "verdicts": ["HELPS"]}]}
    )
    assert decided(judged(report, "EQUIVALENT"), must_help).exit_code == 1
    assert decided(judged(report, "INCONCLUSIVE"), must_help).exit_code == 2
    assert decided(judged(report, "HELPS"), rag=0.1).exit_code == 2
    unproven = judged(report, "HELPS").model_copy(update={"adapter_proofs": []})
    assert decided(unproven).exit_code == 1


def test_nothing_a_model_says_becomes_markup(report: Report) -> None:
    evil = "</details><script>alert(1)</script> ``` | [x](http://y) ]]> \x00\x1b"
    found = decided(report.model_copy(update={"headline": evil, "name": evil}))
    assert "<script>" not in markdown.render(found)
    assert ET.fromstring(junit.render(found)).find("testsuite") is not None


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_policies_that_are_shipped_fit_the_demo(path: Path, report: Report) -> None:
    assert decided(judged(report, "HELPS"), load_policy(path)).exit_code == 0
