"""``fineproof experiment estimate``, ``resume`` and ``schema``: before a run, and after a stop."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fineproof.errors import UserError

if TYPE_CHECKING:
    from services.common.contracts.budget import Estimate

MaxTokens = Annotated[int | None, typer.Option(min=1, help="Tokens it may spend in all.")]
MaxCost = Annotated[float | None, typer.Option(help="Cost it may have in all, by its prices.")]
MaxMinutes = Annotated[float | None, typer.Option(help="Minutes it may take in all.")]
JudgeModel = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="MODEL",
        help="The judge's model, in place of the specification's; accuracy and completeness where "
        "that has no judge.",
    ),
]


def estimate_experiment(
    specification: Annotated[Path, typer.Argument(help="YAML, such as studies/demo.yaml.")],
    data: Annotated[
        Path, typer.Option(help="Folder with corpus.jsonl, train.jsonl and test.jsonl.")
    ],
    out: Annotated[Path, typer.Option(help="The folder that `run` is going to use.")] = Path(
        "runs/experiment"
    ),
    pairs: Annotated[int | None, typer.Option(min=10, help="Training pairs.")] = None,
    items: Annotated[int | None, typer.Option(min=2, help="Test questions.")] = None,
    judge: JudgeModel = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what an experiment will take, and the smallest effect it can find, on a running stack.

    Ingests the data, which `run` then finds there; asks no model and tunes nothing.

    Example: fineproof experiment estimate studies/demo.yaml --data my-data --out runs/mine
    """
    from fineproof.experiment import pipeline
    from fineproof.experiment.dataset import prepare
    from fineproof.experiment.progress import Board
    from fineproof.experiment.session import running_stack
    from fineproof.experiment.specification import load_specification
    from services.common.errors import FineproofError

    loaded = load_specification(specification, pairs=pairs, items=items, judge=judge)
    sizes = loaded.data
    dataset = prepare(data, pairs=sizes.pairs, items=sizes.items, into=out / "data")
    stack = running_stack()
    board = Board(Console(stderr=as_json))
    try:
        with board.live():
            found = asyncio.run(
                pipeline.estimate(
                    loaded, dataset, url=stack.url, key=stack.key, out=out, board=board
                )
            )
    except FineproofError as error:
        raise UserError(error.message) from error
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        show(found, Console())


def show(found: "Estimate", console: Console) -> None:
    """Print an estimate as a table, with what it rests on."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in (
        ("questions", f"{found.items} from {found.documents} documents"),
        ("answers", f"{found.answers}"),
        ("tokens", f"{found.tokens} ({found.judge_tokens} of them a judge's)"),
        ("minutes", f"{found.minutes:g}"),
        ("cost", "no price was declared" if found.cost is None else f"{found.cost:.4g}"),
        *(
            (
                f"smallest effect, {effect.metric}",
                f"too few documents ({effect.source})"
                if effect.effect is None
                else f"{effect.effect:.3f} ({effect.source.replace('_', ' ')})",
            )
            for effect in found.smallest_effects
        ),
    ):
        table.add_row(name, value)
    console.print(table, highlight=False)
    for sentence in found.assumptions:
        console.print(f"Assumed: {sentence}", highlight=False, markup=False)
    for sentence in found.over_budget:
        console.print(f"Over budget: {sentence}", highlight=False, markup=False)


def resume_experiment(
    experiment: Annotated[str, typer.Argument(help="The id of an experiment that stopped.")],
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    max_minutes: MaxMinutes = None,
) -> None:
    """Go on with a failed, cancelled or over-budget experiment; nothing is asked twice.

    With a limit named, the limits named are its whole new budget.

    Example: fineproof experiment resume exp_123 --max-tokens 2000000
    """
    from fineproof.experiment.session import running_stack
    from services.common.clients.evaluator import EvaluatorClient
    from services.common.contracts.budget import BudgetAsk
    from services.common.contracts.evaluator import Experiment
    from services.common.errors import FineproofError

    stack = running_stack()
    named = BudgetAsk(max_tokens=max_tokens, max_cost=max_cost, max_minutes=max_minutes)
    budget = None if named == BudgetAsk() else named

    async def resumed() -> Experiment:
        async with EvaluatorClient.connect(stack.url, stack.key) as evaluator:
            return await evaluator.resume(experiment, budget)

    try:
        found = asyncio.run(resumed())
    except FineproofError as error:
        raise UserError(error.message) from error
    typer.echo(f"{found.id} is {found.status}; {found.spent.asked} answers were asked so far")


def show_schema() -> None:
    """Print the JSON schema of what POST /v1/experiments takes, as the running stack has it."""
    from fineproof.experiment.session import running_stack
    from services.common.clients.evaluator import EvaluatorClient
    from services.common.errors import FineproofError

    stack = running_stack()

    async def fetched() -> dict[str, object]:
        async with EvaluatorClient.connect(stack.url, stack.key) as evaluator:
            return await evaluator.schema()

    try:
        typer.echo(json.dumps(asyncio.run(fetched()), indent=2))
    except FineproofError as error:
        raise UserError(error.message) from error
