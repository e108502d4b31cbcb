"""The ``fineproof`` command: sub-commands are registered here and live beside what they drive.

Every command imports what it needs when it runs, so that ``--help`` answers at once.
"""

import sys

import typer

from fineproof.aliases.commands import alias_app
from fineproof.asking import ask
from fineproof.comparison.commands import compare
from fineproof.data.commands import data_app
from fineproof.errors import UserError
from fineproof.exits import Commands
from fineproof.experiment.commands import demo, experiment_app
from fineproof.gates.commands import gate
from fineproof.judge.commands import judge_app
from fineproof.local import commands as local
from fineproof.models.commands import models_app
from fineproof.study.commands import study_app
from fineproof.tuning.commands import tune

app = typer.Typer(
    name="fineproof",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Proves whether fine-tuning helps or hurts a RAG pipeline, before it ships.\n\n"
    "`fineproof demo` shows the whole loop in minutes. `fineproof up` starts the stack on this "
    "machine; point any OpenAI client at http://127.0.0.1:8000/v1.",
)
app.command()(demo)
app.command()(compare)
app.command()(gate)
app.command()(tune)
app.command()(ask)
app.add_typer(experiment_app, name="experiment")
app.add_typer(study_app, name="study")
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")
app.command()(local.up)
app.command()(local.down)
app.command()(local.status)
app.command()(local.logs)
app.add_typer(models_app, name="models")
app.add_typer(alias_app, name="alias")


def main() -> None:
    """Run a command; what the person can mend is one sentence, not a traceback."""
    try:
        app()
    except UserError as error:
        typer.echo(f"fineproof: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
