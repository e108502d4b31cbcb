"""The result of an experiment, as a table a person understands."""

from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.common.contracts.evaluator import Comparison, DiffInDiff, Report, Verdict
from services.common.contracts.exam_figures import ExamEstimate
from services.common.contracts.generator import AdapterProof
from services.common.contracts.judge import ReportJudge

STYLES: dict[Verdict, str] = {
    "HELPS": "bold green",
    "HURTS": "bold red",
    "EQUIVALENT": "cyan",
    "INCONCLUSIVE": "yellow",
}


def show(report: Report, console: Console) -> None:
    """Print the verdicts, what tuning does to the value of retrieval, and the headline."""
    console.print()
    console.print(_comparisons(report))
    if report.diff_in_diff:
        console.print(_diff_in_diff(report))
    for proof in report.adapter_proofs:
        console.print(Text(proven(proof), style="dim"))
    if report.judge is not None:
        console.print(_judge(report.judge), highlight=False)
    for warning in report.warnings:
        console.print(Text.assemble(("Note: ", "yellow"), warning))
    for remedy in report.remedies:
        console.print(Text.assemble((f"Try for {remedy.arm}: ", "cyan"), remedy.advice))
    console.print()
    console.print(Text(report.headline, style="bold"))


def proven(proof: AdapterProof) -> str:
    """What shows that an adapter is applied, in a sentence."""
    return (
        f"{proof.adapter} is applied by {proof.replica}: {proof.modules_matched} of "
        f"{proof.modules_in_file} modules matched, a canary's log-probability moves by up to "
        f"{proof.max_abs_logprob_delta:.2f} nats and differs from PEFT's by at most "
        f"{proof.peft_max_abs_diff:.1g}"
    )


def _judge(judge: ReportJudge) -> str:
    told = "; ".join(
        f"by {one.metric} τ-b {_value(one.tau_b)}, AUC {_value(one.auc)}"
        for one in judge.qualification.figures
    )
    failed = ", ".join(judge.qualification.failed)
    passed = "passed its exam" if judge.decides else "did not pass its exam"
    passed += f", but not by {failed}" if judge.decides and failed else ""
    return f"[dim]{judge.model} as a judge {passed}{': ' if told else ''}{told}[/dim]"


def _value(found: ExamEstimate | None) -> str:
    return "–" if found is None else f"{found.value:.2f}"


def _comparisons(report: Report) -> Table:
    table = _table(
        f"{report.name}: {report.counts.items} questions from {report.dataset.clusters} "
        f"documents, each arm against '{report.spec.baseline}'",
        "metric",
    )
    table.add_column("base", justify="right", no_wrap=True)
    table.add_column("tuned", justify="right", no_wrap=True)
    table.add_column("difference \\[95 %]", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    primary = [comparison for comparison in report.comparisons if comparison.primary]
    by_condition = sorted(primary, key=lambda c: report.conditions.index(c.condition))
    for condition, group in groupby(by_condition, key=lambda c: c.condition):
        table.add_row(Text(condition, style="bold"))
        comparisons = list(group)
        for comparison in comparisons:
            table.add_row(
                comparison.metric,
                comparison.arm,
                f"{comparison.base:.3f}",
                f"{comparison.tuned:.3f}",
                difference(comparison.diff, comparison.ci95),
                _verdict(comparison),
                end_section=comparison is comparisons[-1],
            )
    return table


def _diff_in_diff(report: Report) -> Table:
    table = _table(
        "What tuning does to the value of retrieval: "
        "(tuned retrieved − closed book) − (base retrieved − closed book)",
        "metric",
    )
    table.add_column("difference \\[95 %]", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for effect in report.diff_in_diff:
        table.add_row(
            effect.metric,
            effect.arm,
            difference(effect.estimate, effect.ci95),
            _verdict(effect),
        )
    return table


def grid(title: str | Text) -> Table:
    """A table without edges: eighty columns hold an arm of ten letters, and none to spare."""
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )


def _table(title: str, first: str) -> Table:
    table = grid(title)
    table.add_column(first, no_wrap=True)
    table.add_column("arm", overflow="fold", min_width=4)
    return table


def difference(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:+.3f} \\[{low:+.3f}, {high:+.3f}]"


def _verdict(result: Comparison | DiffInDiff) -> Text:
    return Text(result.verdict, style=STYLES[result.verdict])
