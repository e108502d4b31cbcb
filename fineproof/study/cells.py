"""The experiments of a study, a base model on a data set each, run one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console

from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset
from fineproof.experiment.memory import Memory
from fineproof.experiment.pipeline import start_over
from fineproof.experiment.running import measure, take, tell
from fineproof.experiment.session import Wanted, stack_session
from fineproof.experiment.specification import Specification
from fineproof.study.reading import read_run

_REPORT = "report"  # the step that a finished experiment is remembered by


@dataclass(frozen=True)
class Cell:
    """``out`` is the folder of its experiment, with a memory of its own."""

    model: Wanted
    specification: Specification
    data: Path
    out: Path

    @property
    def title(self) -> str:
        return f"{self.model.name} on {self.out.name}"


def cells_of(
    specification: Specification, models: Sequence[Wanted], data: Sequence[Path], out: Path
) -> list[Cell]:
    """Every model on every data set, model by model: each switch of the model takes minutes."""
    names = [folder.resolve().name for folder in data]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(
            f"Two data folders are called '{twice[0]}': a folder's name is its data set's, so give "
            "one of them another."
        )
    return [
        Cell(
            model=model,
            specification=specification.model_copy(update={"base_model": model.name}),
            data=folder,
            out=out / model.name.replace("/", "--") / name,
        )
        for model in models
        for folder, name in zip(data, names, strict=True)
    ]


def run_cells(cells: Sequence[Cell], console: Console, *, fresh: bool, keep_up: bool) -> None:
    """Run what has not been run to its end with the same specification and data. Raises
    :class:`UserError`; all data are looked at before anything is started."""
    to_do: list[tuple[Cell, Dataset]] = []
    for cell in cells:
        if fresh:
            start_over(cell.out)
        console.print(cell.title, style="bold", highlight=False)
        dataset = take(cell.specification, cell.data, cell.out, console)
        if _finished(cell, dataset):
            console.print("Measured already.")
        else:
            to_do.append((cell, dataset))
    for model, group in groupby(to_do, key=lambda one: one[0].model):
        with stack_session(keep_up=keep_up, model=model) as stack:
            for cell, dataset in group:
                console.print()
                console.print(cell.title, style="bold", highlight=False)
                report = measure(cell.specification, dataset, stack, cell.out, console)
                Memory(cell.out).remember(_REPORT, _made_of(cell, dataset), report.experiment_id)
                tell(report, cell.out, console)


def _finished(cell: Cell, dataset: Dataset) -> bool:
    known = Memory(cell.out).known(_REPORT, _made_of(cell, dataset))
    if known is None:
        return False
    try:
        run = read_run(cell.out, cell.specification.conditions[0])
    except UserError:
        return False
    return run.report.experiment_id == known


def _made_of(cell: Cell, dataset: Dataset) -> str:
    return f"{cell.specification.sha256} {dataset.sha256}"
