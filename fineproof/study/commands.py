"""``fineproof study``: several data sets and base models, and what they say together."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from fineproof.errors import UserError

if TYPE_CHECKING:
    from services.common.contracts.generator import Condition

study_app = typer.Typer(
    no_args_is_help=True, help="Run studies of several data sets and base models, and read them."
)

Out = Annotated[Path, typer.Option(help="Folder for study.json, study.md and study.html.")]


@study_app.command("run")
def run_study(
    specification: Annotated[Path, typer.Argument(help="YAML, such as studies/paper.yaml.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Folder with corpus.jsonl, train.jsonl and test.jsonl; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for MODEL/DATA SET/ and the study's report.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A base model as FINEPROOF_MODEL takes it; repeatable.  \\[default: the "
            "specification's, else the one the stack serves]"
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=10, help="Training pairs, from the front of train.jsonl.")
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=2, help="Test questions, from the front of test.jsonl.")
    ] = None,
    within_document: Annotated[
        bool, typer.Option(help="Retrieve only within a question's own doc_id.")
    ] = False,
    fresh: Annotated[bool, typer.Option(help="Forget earlier runs and start over.")] = False,
    keep_up: Annotated[
        bool, typer.Option("--keep-up", help="Leave the stack running if this command started it.")
    ] = False,
) -> None:
    """Run one specification on every data set with every base model, then report on all of them.

    The local stack is stopped and started to switch its model, also one that was up before. With
    FINEPROOF_URL only the model served there can be asked. Interrupted, the same command goes on
    where it stopped.

    `fineproof study run studies/paper.yaml --data data/bioasq --data data/nq
    --model Qwen/Qwen3-0.6B --model Qwen/Qwen3-1.7B --out runs/paper`
    """
    _need_statistics()
    from rich.console import Console

    from fineproof.experiment.session import wanted_models
    from fineproof.experiment.specification import load_specification
    from fineproof.study.cells import cells_of, run_cells
    from services.evaluator.verdict import focus_of

    loaded = load_specification(
        specification, pairs=pairs, items=items, within_document=within_document
    )
    named = model or ([loaded.base_model] if loaded.base_model is not None else [])
    cells = cells_of(loaded, wanted_models(named), data, out)
    run_cells(cells, Console(), fresh=fresh, keep_up=keep_up)
    _report([cell.out for cell in cells], focus_of(loaded.conditions), out, as_json=False)


@study_app.command("report")
def report_study(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders that `fineproof experiment run` has written.")
    ],
    out: Out,
    condition: Annotated[
        str, typer.Option(help="closed_book, retrieved, oracle or distractors.")
    ] = "retrieved",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print study.json, and nothing else, to stdout.")
    ] = False,
) -> None:
    """Does tuning help in RAG, does the training size matter, which models suffer more?

    Reads finished experiments, each of one base model on one data set, and answers the three
    questions of arXiv 2406.11201 with a table and a figure each; no stack is needed.

    `fineproof study report runs/paper/*/* --out runs/paper`
    """
    _report(runs, condition, out, as_json=as_json)


def _report(runs: Sequence[Path], condition: str, out: Path, *, as_json: bool) -> None:
    from services.common.contracts.generator import Condition

    if condition not in get_args(Condition):
        raise typer.BadParameter(f"--condition is one of {', '.join(get_args(Condition))}.")
    _need_statistics()
    from rich.console import Console

    from fineproof.study.assembling import study_of
    from fineproof.study.reading import read_runs
    from fineproof.study.tables import show
    from fineproof.study.writing import write

    asked = cast("Condition", condition)
    study = study_of(read_runs(runs, asked), asked)
    write(study, out)
    if as_json:
        typer.echo(study.model_dump_json())
        return
    console = Console()
    show(study, console)
    console.print(
        f"\nThe study: {out / 'study.html'}, .md and .json", highlight=False, soft_wrap=True
    )


def _need_statistics() -> None:
    """Say so before anything is read or run."""
    for package in ("scipy", "matplotlib", "jinja2"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{package} is missing: pip install 'fineproof[cli,evaluator]'.")
