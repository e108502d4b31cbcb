"""The result of an experiment, as a table a person understands."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.common.contracts.evaluator import Comparison, DiffInDiff, Report, Verdict

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
        console.print(
            f"[dim]{proof.adapter}: {proof.modules_matched} of {proof.modules_in_file} modules "
            f"matched, moves a canary's log-probability by up to "
            f"{proof.max_abs_logprob_delta:.2f}, differs from PEFT by at most "
            f"{proof.peft_max_abs_diff:.4f} nats[/dim]",
            highlight=False,
        )
    for warning in report.warnings:
        console.print(f"[yellow]Note:[/yellow] {warning}", highlight=False)
    console.print()
    console.print(report.headline, style="bold", highlight=False)


def _comparisons(report: Report) -> Table:
    table = Table(
        title=f"{report.name}: {report.counts.items} questions in {report.dataset.clusters} "
        f"documents, each arm against '{report.spec.baseline}'",
        title_justify="left",
    )
    for heading in ("condition", "metric", "arm"):
        table.add_column(heading)
    for heading in ("base", "tuned", "difference [95 % interval]"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    shown = [comparison for comparison in report.comparisons if comparison.primary]
    for index, comparison in enumerate(shown):
        following = shown[index + 1] if index + 1 < len(shown) else None
        table.add_row(
            comparison.condition,
            comparison.metric,
            comparison.arm,
            f"{comparison.base:.3f}",
            f"{comparison.tuned:.3f}",
            _difference(comparison.diff, comparison.ci95),
            _verdict(comparison),
            end_section=following is None or following.condition != comparison.condition,
        )
    return table


def _diff_in_diff(report: Report) -> Table:
    table = Table(
        title="What tuning does to the value of retrieval: "
        "(tuned retrieved − closed) − (base retrieved − closed)",
        title_justify="left",
    )
    for heading in ("metric", "arm"):
        table.add_column(heading)
    table.add_column("difference [95 % interval]", justify="right")
    table.add_column("verdict")
    for effect in report.diff_in_diff:
        table.add_row(
            effect.metric, effect.arm, _difference(effect.estimate, effect.ci95), _verdict(effect)
        )
    return table


def _difference(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:+.3f} \\[{low:+.3f}, {high:+.3f}]"


def _verdict(result: Comparison | DiffInDiff) -> Text:
    return Text(result.verdict, style=STYLES[result.verdict])
