"""Pull a model behind a progress bar."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fineproof.models.catalog import Model
from fineproof.models.pull import pull


def pull_with_bar(model: Model, console: Console) -> bool:
    """Pull ``model`` if it is not there; without a terminal, a line a step. False if it was."""
    told = ""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(model.name, total=1.0, visible=False)

        def progress(done: float, doing: str) -> None:
            nonlocal told
            bar.update(task, completed=done, visible=True, description=f"{model.name}: {doing}")
            if doing != told and not console.is_terminal:
                console.print(f"{model.name}: {doing}", highlight=False)
            told = doing

        return pull(model, progress)
