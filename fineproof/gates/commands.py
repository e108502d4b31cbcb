"""``fineproof gate``."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fineproof.errors import UserError
from fineproof.exits import answering

if TYPE_CHECKING:
    from rich.console import Console

    from fineproof.gates.deciding import Decided


@answering
def gate(
    experiment: Annotated[str, typer.Argument(help="The id of a completed experiment.")],
    policy: Annotated[
        Path | None,
        typer.Option(
            help="YAML: conditions, metrics, required, max_unscored_share, such as "
            "studies/policies/no-harm.yaml.  \\[default: nothing hurts, and what runs is decided]"
        ),
    ] = None,
    arm: Annotated[
        str | None,
        typer.Option(help="Which arm wants to pass; needed where several were tuned."),
    ] = None,
    flips: Annotated[
        int,
        typer.Option(min=0, max=100, help="Losses, and gains, to show of each comparison."),
    ] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, to stdout.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary with the flips to this file.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML to this file: a case a comparison.")
    ] = None,
) -> int:
    """May this arm ship? Ask a running stack to turn an experiment's verdicts into yes or no.

    Exit code: **0** it passed, **1** it is shut because something is known to be wrong, **2** it is
    shut only because something is undecided, **3** no answer (bad policy, nothing answers, anything
    unexpected). Every reason is told, with the items that only one side got right.

    `fineproof gate exp_123 --arm rag --policy studies/policies/no-harm.yaml`

    `fineproof gate exp_123 --arm rag --json --junit gate.xml --markdown "$GITHUB_STEP_SUMMARY"`
    """
    from fineproof.experiment.session import running_stack
    from fineproof.gates.deciding import decide
    from fineproof.gates.policy import load_policy
    from services.common.contracts.gate import GateCreate
    from services.common.errors import FineproofError

    asked = load_policy(policy)
    _check(experiment, arm)
    stack = running_stack()
    ask = GateCreate(arm=arm, policy=asked)
    try:
        decided = asyncio.run(decide(stack.url, stack.key, experiment, ask, flips=flips))
    except FineproofError as error:
        raise UserError(error.message) from error
    _write(decided, markdown, junit)
    if as_json:
        import json

        typer.echo(json.dumps(decided.as_json(), ensure_ascii=False))
    else:
        from rich.console import Console

        _show(decided, Console())
    return decided.exit_code


def _check(experiment: str, arm: str | None) -> None:
    """An id becomes part of a path: what would mean another one is no id."""
    from pydantic import TypeAdapter, ValidationError

    from services.common.contracts.base import Id, ShortName

    try:
        TypeAdapter(Id).validate_python(experiment)
        TypeAdapter(ShortName | None).validate_python(arm)
    except ValidationError as error:
        raise UserError("That is no id of an experiment, or no name of an arm.") from error


def _write(decided: "Decided", markdown: Path | None, junit: Path | None) -> None:
    from fineproof.gates import junit as xml
    from fineproof.gates import markdown as md

    for path, render in ((markdown, md.render), (junit, xml.render)):
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(decided), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _show(decided: "Decided", console: "Console") -> None:
    from rich.text import Text

    from fineproof.gates.junit import summary

    gate = decided.gate
    word, style = ("PASSED", "bold green") if gate.passed else ("SHUT", "bold red")
    if decided.exit_code == 2:
        word, style = "UNDECIDED", "bold yellow"
    console.print(Text.assemble((word, style), f"  {gate.arm} ({gate.model}), gate {gate.id}"))
    for reason in gate.reasons:
        console.print(Text(f"  {reason.code}: {reason.message}"))
    console.print()
    for one in decided.comparisons:
        console.print(Text(f"  {one.condition} {one.metric}  {summary(one)}"))
    for flip in decided.flips:
        console.print(
            Text.assemble(
                ("\n  " + flip.outcome, "red" if flip.outcome == "lost" else "green"),
                f" {flip.condition} {flip.metric} {flip.change:+.2f}: {_line(flip.question)}\n",
                f"    reference: {_line(flip.reference)}\n",
                f"    base:      {_line(flip.base.answer)}\n",
                f"    tuned:     {_line(flip.tuned.answer)}\n",
                *([f"    cause:     {_line(why.reason)}\n"] if (why := flip.attribution) else []),
                f"    passages:  {_line(', '.join(one.id for one in flip.passages)) or 'none'}",
            )
        )


def _line(text: str | None) -> str:
    """Somebody's text on one line, without what a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
