"""What the command line does with an experiment once the evaluator has it."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from fineproof.errors import UserError
from fineproof.experiment.memory import Memory
from fineproof.experiment.pipeline import _Run
from fineproof.experiment.planning import show
from fineproof.experiment.progress import Board
from fineproof.experiment.specification import Specification
from services.common.contracts.arms import ArmAsk
from services.common.contracts.budget import Estimate, SmallestEffect
from services.common.contracts.evaluator import Experiment, ExperimentCreate
from services.common.contracts.events import ExperimentEvent

STUDY: dict[str, Any] = {
    "name": "study",
    "arms": [{"name": "base"}, {"name": "qa", "model": "ft:small:qa:1"}],
    "judge": {"model": "small"},
    "budget": {"max_tokens": 100},
    "prices": {"base": {"prompt": 1, "completion": 2}},
    "conditions": ["closed_book", "retrieved"],
    "primary_conditions": ["retrieved"],
    "sampling": {"temperature": 0.5, "repeats": 2},
}


class Evaluator:
    """Tells of an experiment what it was given to tell."""

    def __init__(self, events: list[ExperimentEvent], ends: dict[str, Any]) -> None:
        self.events = events
        self.ends = ends
        self.over = False
        self.created = 0

    async def create_experiment(self, ask: ExperimentCreate) -> Experiment:
        self.spec = ask
        self.created += 1
        return await self.experiment("exp_1")

    async def experiment(self, experiment_id: str) -> Experiment:
        state = self.ends if self.over else {"status": "in_progress"}
        return Experiment.model_validate(
            {
                "id": experiment_id,
                "created_at": 0,
                "finished_at": None,
                "name": "study",
                "progress": {"phase": "queued", "done": 0, "total": 0},
                "spec": self.spec,
                "verdict": None,
                "error": None,
                "report_url": None,
            }
            | state
        )

    async def watch(self, _: str) -> AsyncIterator[ExperimentEvent]:
        for event in self.events:
            yield event
        self.over = True


def event(kind: str, **data: Any) -> ExperimentEvent:
    return ExperimentEvent.model_validate(
        {"id": "1", "created_at": 0, "type": kind, "message": f"{kind} told", "data": data}
    )


def at(phase: str, done: int, total: int) -> dict[str, Any]:
    return {"progress": {"phase": phase, "done": done, "total": total}}


def run_of(evaluator: Evaluator, folder: Path, printed: io.StringIO) -> tuple[_Run, Any]:
    study = Specification.model_validate(STUDY)
    stack = cast(Any, SimpleNamespace(evaluator=evaluator))
    dataset = cast(Any, SimpleNamespace(name="data"))
    run = _Run(study, dataset, stack, Memory(folder), Board(Console(file=printed, width=120)))
    arms = [ArmAsk(name="base", model="small"), ArmAsk(name="qa", model="ft:small:qa:1")]
    return run, run._ask(arms, "file_1", "vs_1")


async def test_phases_and_warnings_are_shown_as_they_are_told(tmp_path: Path) -> None:
    printed = io.StringIO()
    events = [
        event("phase", **at("proving", 0, 2)),
        event("progress", **at("proving", 2, 2)),
        event("phase", **at("answering", 0, 9)),
        event("warning", code="too_long", count=3),
        event("done", status="completed"),
    ]
    run, ask = run_of(Evaluator(events, {"status": "completed"}), tmp_path, printed)
    assert (await run._evaluate(ask)).status == "completed"
    told = printed.getvalue()
    assert "✓ Loading and proving adapters" in told
    assert "✓ Asking every arm" in told
    assert "warning told (3 so far)" in told


async def test_all_that_a_study_says_of_the_experiment_reaches_the_evaluator(
    tmp_path: Path,
) -> None:
    _, ask = run_of(Evaluator([], {}), tmp_path, io.StringIO())
    sent = ask.model_dump(mode="json", exclude_defaults=True)
    for name in ("budget", "prices", "primary_conditions", "sampling"):
        assert sent[name] == STUDY[name]
    assert ask.judge is not None
    assert ask.judge.model == "small"


async def test_a_run_over_its_budget_says_how_to_go_on_and_is_found_again(tmp_path: Path) -> None:
    over = {"status": "failed", "error": {"code": "budget_exceeded", "message": "Spent."}}
    evaluator = Evaluator([], over)
    run, ask = run_of(evaluator, tmp_path, io.StringIO())
    with pytest.raises(UserError, match="fineproof experiment resume exp_1"):
        await run._evaluate(ask)
    with pytest.raises(UserError, match="Spent"):
        await run._evaluate(ask)
    assert evaluator.created == 1
    evaluator.ends = {"status": "failed", "error": {"code": "internal_error", "message": "No."}}
    for _ in range(2):
        with pytest.raises(UserError, match="No"):
            await run._evaluate(ask)
    assert evaluator.created == 2


def test_an_estimate_is_shown_with_what_it_rests_on() -> None:
    printed = io.StringIO()
    effects = [
        SmallestEffect(metric="token_f1", effect=0.123, deviation=0.2, source="past_runs"),
        SmallestEffect(metric="exact_match", effect=None, deviation=0.5, source="worst_case"),
    ]
    found = Estimate(
        spec_sha256="ab" * 32,
        items=60,
        documents=20,
        answers=540,
        prompt_tokens=1_000,
        completion_tokens=200,
        judge_tokens=34,
        minutes=9.5,
        cost=None,
        smallest_effects=effects,
        assumptions=["a token is 4 characters"],
        over_budget=["1234 tokens are more than max_tokens, 100"],
    )
    show(found, Console(file=printed, width=120))
    told = printed.getvalue()
    for part in ("60 from 20 documents", "1234 (34", "0.123 (past runs)", "too few documents"):
        assert part in told
    assert "Assumed: a token is 4 characters" in told
    assert "Over budget: 1234 tokens" in told
