"""``fineproof experiment run`` and ``fineproof demo``."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fineproof.errors import UserError

if TYPE_CHECKING:
    from fineproof.experiment.specification import Specification

STUDIES = Path(__file__).parents[2] / "studies"

experiment_app = typer.Typer(
    no_args_is_help=True, help="Run experiments: ingest, tune, evaluate, and read the verdict."
)

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
        specification, pairs=pairs, items=items, within_document=within_document
    )
    _run(loaded, data, out, fresh=fresh, keep_up=keep_up)


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
    from fineproof.experiment import pipeline
    from fineproof.experiment.dataset import prepare
    from fineproof.experiment.progress import Board
    from fineproof.experiment.session import stack_session
    from fineproof.experiment.tables import show
    from services.common.errors import FineproofError

    console = Console()
    if fresh:
        pipeline.start_over(out)
    dataset = prepare(
        data, pairs=specification.data.pairs, items=specification.data.items, into=out / "data"
    )
    console.print(
        f"{dataset.passages} passages, {dataset.pairs} training pairs, {dataset.items} questions; "
        f"data set {dataset.sha256[:12]}",
        highlight=False,
    )
    with stack_session(keep_up=keep_up) as address:
        board = Board(console)
        try:
            with board.live():
                report = asyncio.run(
                    pipeline.run(
                        specification,
                        dataset,
                        url=address.url,
                        key=address.key,
                        out=out,
                        board=board,
                    )
                )
        except FineproofError as error:
            raise UserError(error.message) from error
    show(report, console)
    console.print(
        f"\nThe report: {out / 'report.html'}, .md and .json; the answers behind it: "
        f"{out / 'rows.jsonl'} ({report.timings['total']:.0f} s in all)",
        highlight=False,
    )
