"""``fineproof experiment run`` and ``fineproof demo``."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fineproof.errors import UserError
from fineproof.experiment.planning import (
    JudgeModel,
    estimate_experiment,
    resume_experiment,
    show_schema,
)

if TYPE_CHECKING:
    from fineproof.experiment.specification import Specification

STUDIES = Path(__file__).parents[2] / "studies"

experiment_app = typer.Typer(
    no_args_is_help=True, help="Run experiments: ingest, tune, evaluate, and read the verdict."
)

experiment_app.command("estimate")(estimate_experiment)
experiment_app.command("resume")(resume_experiment)
experiment_app.command("schema")(show_schema)

Out = Annotated[Path, typer.Option(help="Folder for the reports and the memory of the run.")]
Fresh = Annotated[bool, typer.Option(help="Forget an earlier run in the folder and start over.")]
Keep = Annotated[
    bool, typer.Option("--keep-up", help="Leave the stack running if this command started it.")
]


@experiment_app.command("run")
def run_experiment(
    specification: Annotated[Path, typer.Argument(help="YAML, such as studies/demo.yaml.")],
    data: Annotated[
        Path, typer.Option(help="Folder with corpus.jsonl, train.jsonl and test.jsonl.")
    ],
    out: Out = Path("runs/experiment"),
    pairs: Annotated[
        int | None, typer.Option(min=10, help="Training pairs, from the front of train.jsonl.")
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=2, help="Test questions, from the front of test.jsonl.")
    ] = None,
    within_document: Annotated[
        bool, typer.Option(help="Retrieve only within a question's own doc_id.")
    ] = False,
    judge: JudgeModel = None,
    fresh: Fresh = False,
    keep_up: Keep = False,
) -> None:
    """Ingest, tune and evaluate on your own data, and write report.json, .md and .html.

    Starts the local stack when none answers, and stops it again. Interrupted, the same command goes
    on where it stopped.

    Example: fineproof experiment run studies/demo.yaml --data my-data --pairs 200 --items 40
    --out runs/mine
    """
    from fineproof.experiment.specification import load_specification

    loaded = load_specification(
        specification, pairs=pairs, items=items, within_document=within_document, judge=judge
    )
    _run(loaded, data, out, fresh=fresh, keep_up=keep_up)


@experiment_app.command("export")
def export_experiment(
    experiment: Annotated[str, typer.Argument(help="The id of a completed experiment.")],
    mlflow: Annotated[
        str, typer.Option(help="MLflow's tracking URI: http://…, sqlite:///mlflow.db, or a folder.")
    ],
    into: Annotated[str, typer.Option(help="The experiment in MLflow that it goes into.")] = (
        "fineproof"
    ),
) -> None:
    """Write an experiment's report to MLflow: a run for it, and one below it for each arm.

    Means, differences, intervals and p are metrics, verdicts tags, the report its files. Exported
    again, the same runs are brought up to date. Needs the `tracking` extra.

    Example: fineproof experiment export exp_123 --mlflow http://127.0.0.1:5000
    """
    from fineproof.experiment.session import running_stack
    from fineproof.experiment.tracking import export
    from services.common.clients.evaluator import EvaluatorClient
    from services.common.contracts.evaluator import Report
    from services.common.errors import FineproofError

    stack = running_stack()

    async def fetched() -> tuple[Report, dict[str, str]]:
        async with EvaluatorClient.connect(stack.url, stack.key) as evaluator:
            report = await evaluator.report(experiment)
            return report, {
                "report.json": report.model_dump_json(indent=2),
                "report.md": await evaluator.rendered_report(experiment, "md"),
                "report.html": await evaluator.rendered_report(experiment, "html"),
            }

    try:
        report, documents = asyncio.run(fetched())
    except FineproofError as error:
        raise UserError(error.message) from error
    exported = export(report, documents, uri=mlflow, name=into)
    Console().print(
        f"Run {exported.run_id} of '{into}' in MLflow, with {len(exported.arms)} arms below it",
        highlight=False,
        soft_wrap=True,
    )


def demo(
    out: Out = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the invented company's handbook.")] = 2406,
    fresh: Fresh = False,
    keep_up: Keep = False,
) -> None:
    """See the whole loop in minutes: does fine-tuning help or hurt RAG on an invented handbook?

    Writes the handbook of a company that does not exist, tunes two adapters on questions about it,
    proves they are applied, asks base and tuned models held-out questions with and without
    retrieval, and prints the verdicts.
    """
    from fineproof.demo import generate, write
    from fineproof.experiment.specification import load_specification

    handbook = out / "handbook"
    write(handbook, generate(seed))
    _run(load_specification(STUDIES / "demo.yaml"), handbook, out, fresh=fresh, keep_up=keep_up)


def _run(
    specification: "Specification", data: Path, out: Path, *, fresh: bool, keep_up: bool
) -> None:
    from fineproof.experiment.pipeline import start_over
    from fineproof.experiment.running import measure, take, tell
    from fineproof.experiment.session import stack_session

    console = Console()
    if fresh:
        start_over(out)
    dataset = take(specification, data, out, console)
    with stack_session(keep_up=keep_up) as stack:
        report = measure(specification, dataset, stack, out, console)
    tell(report, out, console)
