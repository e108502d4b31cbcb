"""``fineproof up``, ``down``, ``status`` and ``logs``."""

from typing import Annotated

import typer


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything is ready.")
    ] = False,
) -> None:
    """Start the whole stack on this machine and watch over it.

    PostgreSQL with pgvector, Redis, vLLM, the four services, their workers and the front door, all
    on the loopback, without keys. Ctrl-C stops them in order; what crashes is started again.

    FINEPROOF_PORT (8000) is the front door, and the six ports after it are used too. FINEPROOF_HOME
    (.fineproof) keeps everything. FINEPROOF_MODEL (smollm2-135m-instruct) is served. With other
    values, a second stack runs beside the first.
    """
    from rich.console import Console

    from fineproof.local import stack
    from fineproof.settings import Settings

    settings, console = Settings.from_environment(), Console()
    if detach:
        stack.up_detached(settings, console)
    elif not stack.up(settings, console):
        raise typer.Exit(1)


def down() -> None:
    """Stop the stack and wait until no process of it is left; what it stored stays."""
    from rich.console import Console

    from fineproof.local import stack
    from fineproof.settings import Settings

    stack.down(Settings.from_environment(), Console())


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show each process: its state, how long it took to be ready, address and log.

    Example: fineproof status --json | jq -r .state
    """
    import json

    from rich.console import Console

    from fineproof.local import stack
    from fineproof.local.display import table
    from fineproof.settings import Settings

    settings = Settings.from_environment()
    state = stack.last_state(settings.home)
    if as_json:
        typer.echo(json.dumps(stack.summary(state, settings), indent=1))
        return
    console = Console()
    if state is None:
        console.print(f"Nothing runs in {settings.home}; `fineproof up` starts it.", soft_wrap=True)
        return
    console.print(table(state), soft_wrap=True)
    console.print(f"The stack is {state.phase} at {state.url}.", highlight=False)
    if state.message:
        console.print(state.message, markup=False, highlight=False)


def logs(
    name: Annotated[
        str | None, typer.Argument(help="A process as `fineproof status` names it; default all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to show.")] = 20,
) -> None:
    """Show the end of one process's log, or of every one.

    Example: fineproof logs vllm -f
    """
    from itertools import chain

    from fineproof.local import logs as logging
    from fineproof.settings import Settings

    chosen = logging.choose(Settings.from_environment().home / "logs", name)
    following = logging.follow(chosen) if follow else iter(())
    try:
        for origin, line in chain(logging.tail(chosen, lines), following):
            typer.echo(line if name else f"{origin:>16} │ {line}")
    except KeyboardInterrupt:
        return
