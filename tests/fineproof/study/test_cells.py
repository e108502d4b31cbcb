"""``fineproof study run``: which experiment runs when, on which stack. What an experiment itself
does is another test's: here each writes the folder it would."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from typer.testing import CliRunner, Result

from fineproof.cli import app
from fineproof.errors import UserError
from fineproof.experiment import pipeline, session
from fineproof.experiment.dataset import Dataset
from fineproof.experiment.memory import Memory
from fineproof.experiment.specification import Specification
from fineproof.study.result import Study
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import Model, ModelList
from tests.fineproof.study.runs import effect_of, write_run
from tests.services.generator.conftest import serving

SPECIFICATION = """
name: sizes
conditions: [retrieved]
arms:
  - {name: base, tune: {pairs: 0}}
  - {name: pairs-10, tune: {pairs: 10}}
"""


@dataclass
class Machine:
    """A port where a stack may answer, and what became of it. ``fails`` are experiments that do."""

    serves: str | None = None
    told: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)

    def application(self) -> FastAPI:
        stack = FastAPI()

        @stack.get("/healthz")
        def health(response: Response) -> None:
            response.status_code = 200 if self.serves else 503

        @stack.get("/v1/models")
        def models() -> ModelList:
            cards = [Model(id=str(self.serves), created=0), Model(id="gpt-4", created=0)]
            return ModelList(data=cards)

        return stack

    def fineproof(
        self, *arguments: str, model: session.Wanted | None = None, aside: bool = False
    ) -> None:
        """In place of the command ``fineproof up`` or ``down``."""
        self.told.append(f"{arguments[0]} {model.asked}" if model else arguments[0])
        self.serves = model.name if model and arguments[0] == "up" else None

    async def experiment(
        self, specification: Specification, dataset: Dataset, *, out: Path, **_: Any
    ) -> Report:
        title = f"{specification.base_model} on {dataset.name}"
        self.told.append(title)
        assert specification.base_model == self.serves
        if title in self.fails:
            raise UserError("The machine went away.")
        Memory(out).remember("vector_store", dataset.corpus_sha256, "vs_1")
        write_run(
            out,
            effect_of(-1.0 if self.serves == "second" else 0.0, seed=len(str(self.serves))),
            model=str(self.serves),
            dataset=dataset.name,
            sizes=[10],
        )
        report = Report.model_validate_json((out / "report.json").read_text())
        report.timings["total"] = 1.0
        return report


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()
    with serving(machine.application()) as url:
        monkeypatch.delenv("FINEPROOF_URL", raising=False)
        monkeypatch.setenv("FINEPROOF_PORT", url.rpartition(":")[2])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(session, "_fineproof", machine.fineproof)
        monkeypatch.setattr(pipeline, "run", machine.experiment)
        yield machine


Study_ = Callable[..., Result]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study_:
    """``study(*options)`` on data sets ``nq`` and ``qasper``, with models ``first`` and ``second``
    in folders of that name."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(SPECIFICATION)
    for name in ("nq", "qasper"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        (folder / "corpus.jsonl").write_text(f'{{"id": "p", "text": "{name}"}}\n')
        for part in ("train", "test"):
            rows = (
                f'{{"id": "{part}{n}", "question": "What of {n}?", "answer": "{n}"}}\n'
                for n in range(12)
            )
            (folder / f"{part}.jsonl").write_text("".join(rows))
    for model in ("first", "second"):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "config.json").write_text("{}")

    def run(*options: str) -> Result:
        data = ["--data", "data/nq", "--data", "data/qasper"]
        return CliRunner().invoke(
            app, ["study", "run", "study.yaml", *data, "--out", "runs", "--pairs", "10", *options]
        )

    return run


BOTH = ("--model", "models/first", "--model", "models/second")


def test_every_model_is_asked_on_every_data_set_and_the_study_says_which_suffers(
    machine: Machine, study: Study_
) -> None:
    done = study(*BOTH)
    assert done.exit_code == 0, done.output
    assert machine.told == [
        "up models/first",
        "first on nq",
        "first on qasper",
        "down",
        "up models/second",
        "second on nq",
        "second on qasper",
        "down",
    ]
    told = Study.model_validate_json(Path("runs/study.json").read_text())
    assert [run.folder for run in told.runs] == [
        "runs/first/nq",
        "runs/second/nq",
        "runs/first/qasper",
        "runs/second/qasper",
    ]
    assert [one.suffers_more for one in told.models] == ["second", "second"]
    assert "second suffers more in 2" in done.stdout


def test_a_stack_that_is_up_is_asked_first_and_then_switched(
    machine: Machine, study: Study_
) -> None:
    machine.serves = "second"
    assert study(*BOTH, "--keep-up").exit_code == 0
    assert machine.told == [
        "second on nq",
        "second on qasper",
        "down",
        "up models/first",
        "first on nq",
        "first on qasper",
    ]
    assert machine.serves == "first"


def test_without_a_model_the_one_that_is_served_is_asked_and_left_up(
    machine: Machine, study: Study_
) -> None:
    machine.serves = "first"
    done = study()
    assert machine.told == ["first on nq", "first on qasper"]
    assert machine.serves == "first"
    assert "Only first was asked" in done.stdout


def test_a_specification_s_own_base_model_is_asked_where_none_is_named(
    machine: Machine, study: Study_
) -> None:
    Path("study.yaml").write_text(f"{SPECIFICATION}base_model: models/second\n")
    assert study().exit_code == 0
    assert machine.told[:2] == ["up models/second", "second on nq"]


def test_interrupted_the_same_command_goes_on_where_it_stopped(
    machine: Machine, study: Study_
) -> None:
    machine.fails = {"second on nq"}
    assert "went away" in str(study(*BOTH).exception)
    assert machine.told[-2:] == ["second on nq", "down"]
    assert not Path("runs/study.json").exists()
    machine.told, machine.fails = [], set()
    done = study(*BOTH)
    assert machine.told == ["up models/second", "second on nq", "second on qasper", "down"]
    assert done.stdout.count("Measured already.") == 2


def test_what_is_done_starts_no_stack_and_is_reported_again(
    machine: Machine, study: Study_
) -> None:
    study(*BOTH)
    machine.told = []
    Path("runs/study.html").unlink()
    assert study(*BOTH).exit_code == 0
    assert machine.told == []
    assert Path("runs/study.html").exists()


@pytest.mark.parametrize(
    ("path", "content", "again"),
    [
        ("study.yaml", f"{SPECIFICATION}sampling: {{max_tokens: 9}}\n", ["nq", "qasper"]),
        ("data/nq/test.jsonl", '{"id": "i", "question": "Who?", "answer": "I"}\n', ["nq"]),
        ("runs/first/nq/rows.jsonl", "", ["nq"]),
        ("runs/first/nq/report.json", "{", ["nq"]),
    ],
)
def test_what_has_changed_or_broken_since_is_run_again_and_nothing_else(
    machine: Machine, study: Study_, path: str, content: str, again: list[str]
) -> None:
    machine.serves = "first"
    study()
    machine.told = []
    Path(path).write_text(content)
    assert study().exit_code == 0
    assert machine.told == [f"first on {name}" for name in again]


def test_fresh_forgets_what_was_done(machine: Machine, study: Study_) -> None:
    machine.serves = "first"
    study()
    machine.told = []
    study("--fresh")
    assert machine.told == ["first on nq", "first on qasper"]


def test_a_stack_elsewhere_is_asked_for_its_own_model_and_never_switched(
    machine: Machine, study: Study_, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.serves = "first"
    monkeypatch.setenv("FINEPROOF_URL", session.Settings.from_environment().url)
    refused = study("--model", "first", "--model", "models/second")
    assert "serves 'first', and its model cannot be switched" in str(refused.exception)
    assert machine.told == []
    assert study("--model", "first").exit_code == 0
    assert machine.told == ["first on nq", "first on qasper"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "nothing-like-it"), "There is no model 'nothing-like-it'"),
        (("--model", "some/model-of-the-hub"), "is not here yet; run `fineproof models pull`"),
        (("--model", "models/first", "--model", "./models/first"), "'first' is named twice"),
        (("--data", "data/./nq"), "Two data folders are called 'nq'"),
        (("--data", "data"), "data has no corpus.jsonl"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_started(
    machine: Machine, study: Study_, options: tuple[str, ...], said: str
) -> None:
    assert said in str(study(*options).exception)
    assert machine.told == []
