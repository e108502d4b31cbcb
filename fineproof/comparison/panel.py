"""A comparison as a person reads it: one panel."""

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fineproof.comparison.judging import FileRead, Result
from fineproof.experiment.tables import STYLES

_MEANS = {
    "HELPS": "TUNED is better than BASE.",
    "HURTS": "TUNED is worse than BASE.",
    "EQUIVALENT": "TUNED and BASE differ by less than the margin.",
    "INCONCLUSIVE": "These items cannot tell.",
}


def show(result: Result, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(result):
        table.add_row(name, Text(value))
    verdict = Text.assemble((result.verdict, STYLES[result.verdict]), f"  {_MEANS[result.verdict]}")
    console.print(
        Panel(
            Group(verdict, Text(), table),
            title=Text(f"{result.score}: TUNED against BASE", style="bold"),
            title_align="left",
            border_style=STYLES[result.verdict],
            padding=(1, 2),
        )
    )


def _lines(result: Result) -> list[tuple[str, str]]:
    direction = "higher is better" if result.higher_is_better else "lower is better"
    found = [
        ("BASE", _file(result.files["base"])),
        ("TUNED", _file(result.files["tuned"])),
        ("means", f"{_short(result.base)} → {_short(result.tuned)}  ({direction})"),
        (
            "difference",
            f"{_signed(result.diff)}  {_range(result.interval)} at {_percent(1 - result.alpha)}",
        ),
        ("p", f"{result.p:.2g}, sign-flip permutation of whole clusters"),
        ("items", _items(result)),
        ("margin", _margin(result)),
    ]
    if result.threshold is not None:
        found.append(("threshold", f"{result.threshold:g}; the means are shares that pass it"))
    if result.bounds is not None:
        found.append(
            (
                "unscored",
                f"{result.unscored} of {_pairs(result)} pairs lack a score; at worst and best the "
                f"difference over all is {_range(result.bounds)}",
            )
        )
    if result.n_needed is not None:
        found.append(
            ("to settle it", f"{result.n_needed} items like these, at 80 % power for what was seen")
        )
    return [*found, *(("note", note) for note in result.notes)]


def _file(read: FileRead) -> str:
    parts = [f"{read.items} items"]
    if read.format != "jsonl":
        parts.append(f"read as {read.format}")
    if read.repeated:
        parts.append(f"{read.repeated} averaged over repeats")
    if read.unscored:
        parts.append(f"{read.unscored} unscored")
    if read.only_here:
        shown = ", ".join(read.examples) + (", …" if read.only_here > len(read.examples) else "")
        parts.append(f"{read.only_here} only here: {shown}")
    return f"{read.path}  ({', '.join(parts)})"


def _pairs(result: Result) -> int:
    base = result.files["base"]
    return base.items - base.only_here


def _items(result: Result) -> str:
    paired = f"by {result.paired_by}" if result.paired_by else "line by line"
    clusters = (
        f"{result.clusters} clusters by {result.clustered_by}"
        if result.clustered_by
        else "each its own cluster"
    )
    return f"{result.n} paired {paired}; {clusters}; {result.gained} better, {result.lost} worse"


def _margin(result: Result) -> str:
    if result.margin is None:
        return f"none known for scores of {result.scale}"
    within = f"{_range(result.equivalence_interval)} at {_percent(1 - 2 * result.alpha)}"
    return f"±{result.margin:g}, from {result.margin_from}; interval for equivalence {within}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.4g}".replace("-", "−")


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{_signed(low)}, {_signed(high)}]"
