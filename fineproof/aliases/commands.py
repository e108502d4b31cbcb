"""``fineproof alias``: what applications ask for, and which adapter answers."""

import asyncio
from typing import Annotated

import typer

alias_app = typer.Typer(no_args_is_help=True, help="Names that stand for adapters.")


@alias_app.command("set")
def set_alias(
    name: Annotated[str, typer.Argument(help="Such as ft:my-model:production.")],
    adapter: Annotated[str, typer.Argument(help="The adapter it shall stand for.")],
    experiment: Annotated[
        str | None,
        typer.Option(help="Its id: the adapter must pass its gate first, at the default policy."),
    ] = None,
) -> None:
    """Let a name stand for an adapter; applications that ask by the name notice nothing else.

    Example: fineproof alias set ft:my-model:production ft:my-model:rag:ftjob_1
    --experiment exp_1
    """
    from rich.console import Console

    from fineproof.aliases.switching import switch
    from fineproof.errors import UserError
    from fineproof.experiment.session import running_stack
    from services.common.errors import FineproofError

    try:
        alias = asyncio.run(switch(running_stack(), name, adapter, experiment))
    except FineproofError as error:
        raise UserError(error.message) from error
    gate = f", by gate {alias.gate.gate_id}" if alias.gate else ""
    Console().print(f"{alias.id} stands for {alias.adapter}{gate}", highlight=False, soft_wrap=True)


@alias_app.command("list")
def list_aliases() -> None:
    """Show what every alias stands for, since when and by whose key."""
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table

    from fineproof.aliases.switching import known
    from fineproof.errors import UserError
    from fineproof.experiment.session import running_stack
    from services.common.errors import FineproofError

    try:
        aliases = asyncio.run(known(running_stack()))
    except FineproofError as error:
        raise UserError(error.message) from error
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("alias", "adapter", "since", "by", "gate"):
        table.add_column(heading)
    for alias in aliases:
        since = f"{datetime.fromtimestamp(alias.since):%Y-%m-%d %H:%M}"
        gate = alias.gate.gate_id if alias.gate else ""
        table.add_row(alias.id, alias.adapter, since, alias.created_by, gate)
    Console().print(table, soft_wrap=True)
