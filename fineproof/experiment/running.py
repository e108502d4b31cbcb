"""One experiment as a command runs it: its data taken, measured on a stack, and told."""

import asyncio
from pathlib import Path

from rich.console import Console

from fineproof.errors import UserError
from fineproof.experiment import pipeline
from fineproof.experiment.dataset import Dataset, prepare
from fineproof.experiment.progress import Board
from fineproof.experiment.session import Address
from fineproof.experiment.specification import Specification
from fineproof.experiment.tables import show
from services.common.contracts.evaluator import Report
from services.common.errors import FineproofError


def take(specification: Specification, data: Path, out: Path, console: Console) -> Dataset:
    """Put the rows that will be used into ``out`` and say how many. Raises :class:`UserError`."""
    sizes = specification.data
    dataset = prepare(data, pairs=sizes.pairs, items=sizes.items, into=out / "data")
    console.print(
        f"{dataset.passages} passages, {dataset.pairs} training pairs, {dataset.items} questions; "
        f"data set {dataset.sha256[:12]}",
        highlight=False,
    )
    return dataset


def measure(
    specification: Specification, dataset: Dataset, stack: Address, out: Path, console: Console
) -> Report:
    """Run the experiment, or go on with it, with bars. Raises :class:`UserError`."""
    board = Board(console)
    try:
        with board.live():
            return asyncio.run(
                pipeline.run(
                    specification, dataset, url=stack.url, key=stack.key, out=out, board=board
                )
            )
    except FineproofError as error:
        raise UserError(error.message) from error


def tell(report: Report, out: Path, console: Console) -> None:
    show(report, console)
    console.print(
        f"\nThe report: {out / 'report.html'}, .md and .json; the answers behind it: "
        f"{out / 'rows.jsonl'} ({report.timings['total']:.0f} s in all)",
        highlight=False,
    )
