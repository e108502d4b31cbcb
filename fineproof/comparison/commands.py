"""``fineproof compare``."""

from pathlib import Path
from typing import Annotated

import typer

from fineproof.exits import answering

_FILE = "Lines of JSON with a score each, one JSON document, or another tool's; may be gzip'd."
Where = Annotated[
    list[str] | None,
    typer.Option(help="FIELD=VALUE, repeatable: only these items, of both files.", metavar="F=V"),
]


@answering
def compare(
    base: Annotated[Path, typer.Argument(help=_FILE)],
    tuned: Annotated[Path, typer.Argument(help="The same items after tuning.")],
    score: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="The score: a number, true or false; null is unscored. Dotted paths go into "
            "objects: scores.token_f1.  \\[default: score]",
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="What pairs the items; 'none' pairs line by line.  \\[default: id, item_id or "
            "question_id, which both files have; none where neither has any]",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="What items belong together by: the document they were made from. 'none': each "
            "stands alone.  \\[default: cluster, doc_id or document_id, where any item has it]",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="What counts as no difference, in the score's units.  \\[default: 0.05 on scores "
            "from 0 to 1, 0.25 from 1 to 5, a twentieth of another --scale, else none]"
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="The lowest and the highest score there can be: 0:100.  \\[default: 0:1 or 1:5, "
            "where all scores lie there, else unknown]",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Compare shares of items that score at least this.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Of errors, latencies, toxicity.")
    ] = False,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Average lines with the same id within the item.")
    ] = False,
    where: Where = None,
    base_where: Annotated[
        list[str] | None, typer.Option(metavar="F=V", help="Only these items of BASE.")
    ] = None,
    tuned_where: Annotated[
        list[str] | None, typer.Option(metavar="F=V", help="Only these items of TUNED.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TOOL",
            help="openai-evals, promptfoo, lm-eval, or none for plain fields.  \\[default: as the "
            "files look]",
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap draws, and permutations.")] = 10_000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, to stdout.")
    ] = False,
) -> int:
    """Did tuning help or hurt? Two files of scores in, one verdict out; no stack is needed.

    Exit code: **0** HELPS or EQUIVALENT, **1** HURTS, **2** INCONCLUSIVE, **3** no answer (bad
    input, a wrong option, anything unexpected), so that `fineproof compare … && deploy` is safe.

    The difference of means over items scored in both files, with a bootstrap interval and a
    permutation test that keep items of one cluster together. Scores of 0 to 1 and 1 to 5 bring a
    margin; others need `--margin` to be called EQUIVALENT.

    `fineproof compare base.jsonl tuned.jsonl --score score`

    `fineproof compare base.jsonl tuned.jsonl --score scores.accuracy --cluster doc_id --json`

    `fineproof compare base.jsonl tuned.jsonl --score accuracy --threshold 3.5`

    `fineproof compare rows.jsonl rows.jsonl --base-where arm=base --tuned-where arm=rag
    --where condition=retrieved --score scores.token_f1`

    `fineproof compare base/ tuned/ --from lm-eval --score acc`
    """
    from fineproof.comparison.pairing import pair_files
    from fineproof.comparison.scale import declared
    from fineproof.comparison.sides import Ask

    both = _conditions("--where", where)
    ask = Ask(
        score=score,
        id=id,
        cluster=cluster,
        threshold=threshold,
        lower_is_better=lower_is_better,
        repeats=repeats,
        scale=None if scale is None else declared(scale),
    )
    pairs = pair_files(
        base,
        tuned,
        ask,
        base_where=[*both, *_conditions("--base-where", base_where)],
        tuned_where=[*both, *_conditions("--tuned-where", tuned_where)],
        tool=_tool(source),
    )
    # The statistics take a second or more to import: files that cannot be read are told before.
    from fineproof.comparison.judging import How, judge

    how = How(
        margin=margin,
        alpha=alpha,
        seed=seed,
        resamples=resamples,
        # A threshold has turned scores into passes, of which more are better.
        higher_is_better=threshold is not None or not lower_is_better,
    )
    result = judge(pairs, how)
    if as_json:
        import json

        typer.echo(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        from rich.console import Console

        from fineproof.comparison.panel import show

        show(result, Console())
    return result.exit_code


def _conditions(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in given or []:
        name, equals, value = one.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{option} {one}: give it as FIELD=VALUE.")
        found.append((name, value))
    return found


def _tool(name: str | None) -> str | None:
    from fineproof.imports import tools

    known = [*tools(), "none"]
    if name is not None and name not in known:
        raise typer.BadParameter(f"--from is one of {', '.join(known)}.")
    return name
