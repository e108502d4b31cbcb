"""A gate as Markdown: for the summary of a pipeline or a comment on a pull request."""

import html
import re

from fineproof.gates.deciding import Decided
from services.common.contracts.evaluator import Comparison
from services.common.contracts.flips import Flip, FlipAnswer

_LONGEST = 2_000  # characters of one text; models can go on


def render(decided: Decided) -> str:
    gate, report = decided.gate, decided.report
    lines = [
        f"# {_plain(gate.arm)} {'passes' if gate.passed else 'does not pass'}",
        "",
        f"{_plain(report.headline)}",
        "",
        *(f"- **{reason.code}**: {_plain(reason.message)}" for reason in gate.reasons),
        "",
        f"| {_plain(gate.arm)} against {_plain(gate.baseline)} | base | tuned | difference [95 %] "
        "| p (Holm) | items | verdict |",
        "|---|---|---|---|---|---|---|",
        *map(_row, decided.comparisons),
        "",
        f"Experiment `{gate.experiment_id}`, gate `{gate.id}`, model `{gate.model}`"
        + (f", adapter `{gate.adapter_sha256[:12]}`" if gate.adapter_sha256 else "")
        + f", {report.dataset.items} questions from {report.dataset.clusters} documents.",
    ]
    for one in decided.comparisons:
        lines += _flips(one, decided.flips)
    return "\n".join(lines) + "\n"


def _row(one: Comparison) -> str:
    low, high = one.ci95
    p = f"{one.p_holm:.2g}" if one.p_holm is not None else ""
    return (
        f"| {one.condition} {_plain(one.metric)} | {one.base:.3f} | {one.tuned:.3f} "
        f"| {one.diff:+.3f} [{low:+.3f}, {high:+.3f}] | {p} | {one.n} | {one.verdict} |"
    )


def _flips(comparison: Comparison, flips: list[Flip]) -> list[str]:
    lines: list[str] = []
    for outcome in ("lost", "gained"):
        found = [
            flip
            for flip in flips
            if (flip.condition, flip.metric, flip.outcome)
            == (comparison.condition, comparison.metric, outcome)
        ]
        if found:
            lines += ["", f"## Most {outcome}: {comparison.condition} {_plain(comparison.metric)}"]
            for flip in found:
                lines += _flip(flip)
    return lines


def _flip(flip: Flip) -> list[str]:
    lines = [
        "",
        f"<details><summary>{flip.change:+.2f} {_html(flip.question, 200)}</summary>",
        "",
        *_quoted(f"Reference ({flip.id})", flip.reference),
        *_answer("Base", flip.base),
        *_answer("Tuned", flip.tuned),
    ]
    if flip.attribution is not None:
        lines += [f"{_plain(flip.attribution.cause)}: {_plain(flip.attribution.reason)}", ""]
    for passage in flip.passages:
        lines += _quoted(f"Passage {passage.id} {passage.title}".strip(), passage.text)
    return [*lines, "</details>"]


def _answer(side: str, given: FlipAnswer) -> list[str]:
    return _quoted(f"{side} ({given.arm}), {given.score:.3g}", given.answer or "")


def _quoted(title: str, text: str) -> list[str]:
    """Somebody's text, kept from being Markdown or HTML: a block of code with a longer fence."""
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"**{_plain(title)}**", "", fence, *text.splitlines(), fence, ""]


def _plain(text: str) -> str:
    """A line of somebody's text inside Markdown: nothing in it is a link, a tag or a cell's end."""
    return re.sub(r"([\\`*_\[\]<>|#!~])", r"\\\1", " ".join(text.split())).replace("@", "@\u200b")


def _html(text: str, longest: int) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= longest else f"{line[:longest]} …"
    return html.escape(line)
