"""A study on the terminal: each question with its answer and its tables."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fineproof.experiment.tables import STYLES, difference, grid
from fineproof.study.models import reading
from fineproof.study.result import ModelContrast, ModelEffect, SizeEffect, Study, TuningEffect
from services.common.contracts.evaluator import Verdict

_INTERVAL = len("[-0.500, +1.750]")


def show(study: Study, console: Console) -> None:
    answers = study.answers
    _say(console, "1. Does tuning beat the base in RAG?", answers.tuning, _tuning(study.tuning))
    _say(console, "2. Does the training size matter?", answers.sizes, _sizes(study.sizes))
    _say(
        console,
        "3. Which models suffer more?",
        answers.models,
        [*_effects(study.model_effects), *_contrasts(study.models)],
    )
    for note in study.notes:
        console.print(Text.assemble(("Note: ", "yellow"), note))


def _say(
    console: Console, question: str, answer: str, tables: Sequence[Table] | Iterator[Table]
) -> None:
    console.print()
    console.print(Text(question, style="bold"))
    console.print(Text(answer))
    for table in tables:
        console.print()
        console.print(table)


def _tuning(effects: Sequence[TuningEffect]) -> Iterator[Table]:
    for (dataset, model), rows in groupby(effects, key=lambda one: (one.dataset, one.model)):
        table = _table(f"{model} on {dataset}", "metric", "arm")
        _numbers(table, "base", "tuned", "difference \\[95 %]")
        table.add_column("verdict", no_wrap=True)
        for row in rows:
            table.add_row(
                Text(row.metric),
                Text(row.arm),
                f"{row.base:.3f}",
                f"{row.tuned:.3f}",
                difference(row.diff, row.ci95),
                _verdict(row.verdict),
            )
        yield table


def _sizes(effects: Sequence[SizeEffect]) -> Iterator[Table]:
    for (dataset, model), group in groupby(effects, key=lambda one: (one.dataset, one.model)):
        rows = list(group)
        sizes = sorted({point.pairs for row in rows for point in row.points})
        several = len({row.recipe for row in rows}) > 1
        table = _table(f"{model} on {dataset}", "metric")
        _numbers(table, *(f"{size:,}" for size in sizes))
        # Where many sizes leave it no room, the interval goes below.
        table.add_column("most − fewest \\[95 %]", justify="right", min_width=_INTERVAL)
        table.add_column("verdict", no_wrap=True)
        for row in rows:
            means = {point.pairs: f"{point.mean:.3f}" for point in row.points}
            test = row.test
            table.add_row(
                Text(f"{row.metric}, {row.recipe}" if several else row.metric),
                *(means.get(size, "–") for size in sizes),
                "–" if test is None else difference(test.diff, test.ci95),
                "–" if test is None else _verdict(test.verdict),
            )
        yield table


def _effects(effects: Sequence[ModelEffect]) -> Iterator[Table]:
    for dataset, rows in groupby(effects, key=lambda one: one.dataset):
        table = _table(f"Tuning on {dataset}", "metric", "base model")
        _numbers(table, "tuned − base \\[95 %]")
        for row in rows:
            table.add_row(Text(row.metric), Text(row.model), difference(row.diff, row.ci95))
        yield table


def _contrasts(contrasts: Sequence[ModelContrast]) -> Iterator[Table]:
    for models in dict.fromkeys(one.models for one in contrasts):
        title = f"The effect on {models[0]} less that on {models[1]}"
        table = _table(title, "metric", "data set")
        _numbers(table, "difference \\[95 %]")
        table.add_column("suffers more", overflow="fold")
        for row in contrasts:
            if row.models == models:
                word: Verdict = "HURTS" if row.suffers_more else row.verdict
                table.add_row(
                    Text(row.metric),
                    Text(row.dataset),
                    difference(row.diff, row.ci95),
                    Text(row.suffers_more or reading(row), style=STYLES[word]),
                )
        yield table


def _table(title: str, *columns: str) -> Table:
    table = grid(Text(title))
    for name in columns:
        table.add_column(name, no_wrap=name == columns[0], overflow="fold", min_width=4)
    return table


def _numbers(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _verdict(word: Verdict) -> Text:
    return Text(word, style=STYLES[word])
