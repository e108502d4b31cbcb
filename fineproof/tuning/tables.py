"""The result of a search, as a table a person understands."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fineproof.experiment.tables import STYLES, difference
from fineproof.tuning.record import Measured, Search

_TOLD = {
    "HELPS": "It helps: {adapter} does so on questions that had no say in choosing it.",
    "HURTS": "It hurts: {adapter} does so on questions that had no say in choosing it.",
    "EQUIVALENT": "It makes no difference: {adapter} answers as well as the base model does.",
    "INCONCLUSIVE": "It is undecided whether {adapter} helps.",
}


def show(search: Search, console: Console) -> None:
    """Print every round, the confirmation below them, what to try besides, and the answer."""
    console.print()
    console.print(
        f"{search.data} under {search.condition}, each against the base model: rounds by "
        f"{search.search.questions} questions, the confirmation (✓) by "
        f"{search.confirmation.questions} others",
        style="italic",
        highlight=False,
        markup=False,
    )
    console.print(_table(search))
    for line in _advice(search):
        console.print(Text.assemble(("Not searched: ", "cyan"), line))
    for note in (*search.notes, *_warnings(search)):
        console.print(Text.assemble(("Note: ", "yellow"), note))
    if search.confirmed is not None and search.verdict is not None:
        told = _TOLD[search.verdict].format(adapter=search.adapter)
        console.print()
        console.print(Text(told + _needed(search.confirmed.measured), style="bold"))


def _table(search: Search) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", no_wrap=True)
    for heading in ("base", "tuned", "difference \\[95 %]"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for tried in search.rounds:
        _add(table, str(tried.round), tried.measured)
    if search.confirmed is not None:
        _add(table, "✓", search.confirmed.measured)
    return table


def _add(table: Table, mark: str, measured: Measured) -> None:
    table.add_row(Text(f"{mark} {measured.candidate.name}", style="bold"))
    if not measured.comparisons:
        table.add_row("  nothing was scored")
    for one in measured.comparisons:
        table.add_row(
            f"  {one.metric}",
            f"{one.base:.3f}",
            f"{one.tuned:.3f}",
            difference(one.diff, one.ci95),
            Text(one.verdict, style=STYLES[one.verdict]),
        )
    table.add_section()


def _advice(search: Search) -> Iterable[str]:
    """Each once, of whichever round it was."""
    return dict.fromkeys(line for tried in search.rounds for line in tried.advice)


def _warnings(search: Search) -> Iterable[str]:
    """Of what decides: the confirmation, or until there is one the last round."""
    last = search.confirmed or (search.rounds[-1] if search.rounds else None)
    return last.measured.warnings if last is not None else ()


def _needed(measured: Measured) -> str:
    needed = [one.n_needed for one in measured.comparisons if one.n_needed is not None]
    if measured.verdict != "INCONCLUSIVE" or not needed:
        return ""
    return f" Some {max(needed)} questions to confirm on would settle a difference of this size."
