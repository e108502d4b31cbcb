"""What ``fineproof tune`` does with a stack: one adapter, or a search for one that helps."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from fineproof.data.reading import PAIR, rows
from fineproof.exits import GOOD
from fineproof.experiment import pipeline
from fineproof.experiment.dataset import Dataset, prepare
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.session import Address, stack_session
from fineproof.experiment.specification import Specification
from fineproof.experiment.tables import proven
from fineproof.tuning import searching
from fineproof.tuning.adapter import Tuned, pairs_of, tune
from fineproof.tuning.candidates import RECIPES, Candidate
from fineproof.tuning.choosing import Scope
from fineproof.tuning.halves import halve
from fineproof.tuning.record import FILE, Search
from fineproof.tuning.tables import show
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import Condition
from services.common.contracts.hyperparameters import Recipe

ADAPTER_FILE = "adapter.json"


@dataclass(frozen=True)
class Asked:
    """What both ways of tuning are told; ``passages`` is how many are retrieved for a prompt."""

    data: Path
    candidate: Candidate
    pairs: int | None
    passages: int
    within_document: bool
    out: Path
    as_json: bool
    keep_up: bool

    @property
    def console(self) -> Console:
        """Progress leaves stdout to the JSON."""
        return Console(stderr=self.as_json)


def tune_one(asked: Asked, suffix: str | None) -> int:
    pairs = pairs_of(asked.data, asked.candidate, asked.pairs, into=asked.out / "data")
    console = asked.console
    with stack_session(keep_up=asked.keep_up, aside=asked.as_json) as address:
        board = Board(console)
        with board.live():
            made = asyncio.run(
                tune(
                    address,
                    pairs,
                    asked.candidate,
                    suffix=suffix,
                    max_num_results=asked.passages,
                    within_document=asked.within_document,
                    out=asked.out,
                    board=board,
                )
            )
    written = made.model_dump_json(indent=2)
    (asked.out / ADAPTER_FILE).write_text(written + "\n")
    if asked.as_json:
        typer.echo(written)
    else:
        _show_adapter(made, console)
    return GOOD


def _show_adapter(made: Tuned, console: Console) -> None:
    console.print()
    console.print(Text(made.adapter, style="bold"), soft_wrap=True)
    console.print(Text(proven(made.proof), style="dim"), soft_wrap=True)
    console.print(Text(f"Ask it: {made.ask}"), soft_wrap=True)


def search(
    asked: Asked,
    *,
    rounds: int,
    items: int,
    metrics: tuple[str, ...],
    condition: Condition,
    max_tokens: int,
) -> int:
    whole = prepare(asked.data, pairs=asked.pairs, items=items, into=asked.out / "data")
    halves = halve(whole, seed=asked.candidate.seed, into=asked.out / "data")
    question = searching.Question(
        condition=condition,
        metrics=metrics,
        max_tokens=max_tokens,
        max_num_results=asked.passages,
        within_document=asked.within_document,
    )
    recipes, notes = teachable(whole.train)
    record = Search.begun(
        halves,
        seed=asked.candidate.seed,
        condition=condition,
        metrics=list(metrics),
        rounds_allowed=rounds,
        notes=notes,
    )
    console = asked.console

    def told(record: Search, next_: str) -> None:
        record.write(asked.out)
        console.print(Text(f"\n{next_}"))

    with stack_session(keep_up=asked.keep_up, aside=asked.as_json) as address:
        asyncio.run(
            searching.search(
                record,
                halves,
                Scope(asked.candidate, rounds, recipes),
                question,
                measure=_Rounds(address, asked.out, console),
                told=told,
            )
        )
    record.write(asked.out)
    if asked.as_json:
        typer.echo(record.model_dump_json(indent=2))
    else:
        show(record, console)
        console.print(
            f"\nThe search: {asked.out / FILE}; its reports: {asked.out}/round-*/report.html and "
            f"{asked.out}/confirmation/report.html",
            highlight=False,
        )
    assert record.exit_code is not None  # it was confirmed
    return record.exit_code


class _Rounds:
    """Experiments that share one memory, each with a folder of its own."""

    def __init__(self, address: Address, out: Path, console: Console) -> None:
        self._address = address
        self._out = out
        self._console = console
        self._memory = Memory(out)

    async def __call__(self, study: Specification, half: Dataset) -> Report:
        folder = self._out / study.name
        folder.mkdir(exist_ok=True)
        board = Board(self._console)
        with board.live():
            return await pipeline.run(
                study,
                half,
                url=self._address.url,
                key=self._address.key,
                out=folder,
                board=board,
                memory=self._memory,
            )


def teachable(train: Path) -> tuple[tuple[Recipe, ...], list[str]]:
    """The recipes that every training pair can be taught by, and a note on what was left out."""
    lacking = sum(
        not row.get("evidence_ids") and not row.get("context") for row in rows(train, PAIR)
    )
    if not lacking:
        return RECIPES, []
    note = f"Recipe raft is left out: {lacking} training pairs name no gold passage (evidence_ids)."
    return tuple(recipe for recipe in RECIPES if recipe != "raft"), [note]
