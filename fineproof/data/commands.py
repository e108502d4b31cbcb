"""``fineproof data``: folders of data made, checked and searched for leaks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

data_app = typer.Typer(
    no_args_is_help=True, help="Make, check and audit folders of training and test data."
)

Folder = Annotated[Path, typer.Argument(help="Holds corpus.jsonl, train.jsonl and test.jsonl.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@data_app.command()
def prepare(
    source: Annotated[
        str, typer.Argument(help="bioasq, nq or qasper, their original file, or a folder.")
    ],
    out: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    pairs: Annotated[
        int, typer.Option(min=10, help="Training pairs: 200 are the first of 500, of 1000.")
    ] = 1000,
    items: Annotated[int, typer.Option(min=2, help="Test questions, from other documents.")] = 120,
    seed: Annotated[int, typer.Option(help="What the samples are drawn by.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw a sample of a data set into a folder, with manifest.json: hashes, counts, licence.

    The names bioasq, nq and qasper are read from Hugging Face's hub.

    Example: fineproof data prepare qasper-train-v0.3.json qasper --pairs 500 --items 100 --seed 1
    """
    from fineproof.data.finding import find
    from fineproof.data.preparing import prepare_folder

    found = find(source)
    with _progress(quiet=as_json) as progress:
        task = progress.add_task(f"Reading {found.name}", total=None)
        manifest = prepare_folder(
            found,
            out,
            pairs=pairs,
            items=items,
            seed=seed,
            advance=lambda: progress.advance(task),
        )
    if as_json:
        _print_json(manifest)
        return
    counts = manifest["counts"]
    _say(
        f"{out}: {counts['passages']} passages, {counts['pairs']} training pairs from "
        f"{counts['train_documents']} documents, {counts['items']} questions from "
        f"{counts['test_documents']} others. {manifest['licence']}."
    )


@data_app.command()
def check(folder: Folder, as_json: Json = False) -> None:
    """Read every line: what cannot be used, what is there twice, what train and test share.

    Exits 0 when the folder can be used, 1 when it cannot.
    """
    from fineproof.data.checking import check_folder, size_of

    with _progress(quiet=as_json, unit="bytes") as progress:
        task = progress.add_task("Reading", total=size_of(folder))
        found = check_folder(folder, lambda size: progress.advance(task, size))
    if as_json:
        _print_json(found.as_json())
    else:
        for name, file in found.files.items():
            _say(f"{name}: {file['rows']} rows, sha256 {file['sha256'][:12]}")
        for warning in found.warnings:
            _say(f"warning: {warning}")
        for problem in found.problems:
            _say(f"problem: {problem}")
        if found.problem_count > len(found.problems):
            _say(f"and {found.problem_count - len(found.problems)} problems more")
        _say("It can be used." if found.ok else "It cannot be used as it is.")
    if not found.ok:
        raise typer.Exit(1)


@data_app.command()
def audit(folder: Folder, as_json: Json = False) -> None:
    """Search the training data for the test's questions, answers and gold passages, near ones too.

    Finding some is no failure of the command: it exits 0.
    """
    from fineproof.data.auditing import audit_folder
    from services.common.overlap import sentences

    with _progress(quiet=as_json) as progress:
        task = progress.add_task("Comparing", total=None)
        found = audit_folder(folder, lambda: progress.advance(task))
    if as_json:
        _print_json({name: each.model_dump() for name, each in found.items()})
        return
    for name, overlap in found.items():
        _say(f"{name}: {overlap.items} questions against {overlap.rows} training rows")
        said = list(sentences(overlap))
        for sentence in said:
            _say(f"  {sentence}")
        for example in overlap.examples:
            _say(
                f"    {example.what}, {example.likeness} ({example.similarity:.2f}): train "
                f"{example.train}, test {example.test}: {example.text}"
            )
        if not said:
            _say("  Nothing of the test is in the training data.")


def _progress(*, quiet: bool, unit: str = "rows") -> "Progress":
    """On the error stream, where it spoils no output; none at all where no person looks."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def _say(text: str) -> None:
    typer.echo(text)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
