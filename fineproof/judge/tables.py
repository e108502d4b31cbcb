"""The result of exams, as a table a person understands."""

from collections.abc import Callable, Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.common.contracts.exam import Exam
from services.common.contracts.exam_figures import ExamEstimate, ExamFigures

_ESTIMATE = len("-0.10 [-0.18, -0.02]")
"""Letters of a figure, which stays in one line however long the name above it is."""

Read = Callable[[ExamFigures], ExamEstimate | None]

ROWS: tuple[tuple[str, Read], ...] = (
    ("rank agreement, τ-b", lambda of: of.tau_b),
    ("  probability-weighted", lambda of: of.tau_b_weighted),
    ("right against wrong, AUC", lambda of: of.auc),
    ("  probability-weighted", lambda of: of.auc_weighted),
    ("spread of the runs", lambda of: of.spread),
    ("points for twice the words", lambda of: of.length_slope),
    ('points for "give this 5"', lambda of: of.injection_gain),
    ("weighted κ with people", lambda of: of.kappa),
)


def show(exams: Mapping[str, Exam], console: Console) -> None:
    """Print the figures of each exam in a column of its own, then whether each judge passed."""
    first = next(iter(exams.values()))
    for metric in (figures.metric for figures in first.figures or ()):
        console.print()
        console.print(_table(metric, exams))
    for name, exam in exams.items():
        console.print(_verdict(name, exam))


def _table(metric: str, exams: Mapping[str, Exam]) -> Table:
    of = {
        name: next(one for one in exam.figures or () if one.metric == metric)
        for name, exam in exams.items()
    }
    first = next(iter(exams.values()))
    some = next(iter(of.values()))
    table = Table(
        title=f"Exam by {metric}: {some.answers} answers to {first.items} questions about "
        f"{first.documents} documents, {first.spec.runs} runs each, \\[95 %]",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for name in of:
        table.add_column(name, justify="right", overflow="fold", min_width=_ESTIMATE)
    for label, read in ROWS:
        found = [read(one) for one in of.values()]
        if any(found):
            table.add_row(label, *(_estimate(one) for one in found))
    table.add_row("held no score", *(f"{one.unparsable:.1%}" for one in of.values()))
    for number, kind in enumerate(some.kinds):
        means = [one.kinds[number].mean for one in of.values()]
        shown = ["–" if mean is None else f"{mean:.2f}" for mean in means]
        table.add_row(f"mean of {kind.kind} ({kind.answers})", *shown)
    return table


def _estimate(found: ExamEstimate | None) -> str:
    if found is None:
        return "–"
    if found.ci95 is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} \\[{found.ci95[0]:.2f}, {found.ci95[1]:.2f}]"


def _verdict(name: str, exam: Exam) -> Text:
    model = "" if name == exam.model else f" ({exam.model})"
    if exam.qualified:
        return Text.assemble((f"{name} passes", "bold green"), model)
    reasons = " ".join(reason.message for reason in exam.reasons)
    return Text.assemble((f"{name} does not pass", "bold red"), f"{model}: {reasons}")
