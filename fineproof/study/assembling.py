"""Runs to a study: three questions, three answers."""

from collections.abc import Sequence

from fineproof.study import models, sizes, tuning
from fineproof.study.reading import Run
from fineproof.study.result import Answers, Study, StudyRun
from fineproof.study.wording import plural
from services.common.contracts.generator import Condition

_TAIL = 5  # resamples an interval's end should have beyond it


def study_of(runs: Sequence[Run], condition: Condition) -> Study:
    """What runs that are comparable say together. Their ``statistics`` are one and the same."""
    statistics = runs[0].report.spec.statistics
    pairs = models.pairs_of(runs)
    effects = tuning.tuning_effects(runs, condition)
    by_size = sizes.size_effects(runs, condition)
    contrasts = models.model_contrasts(pairs)
    notes = [note for pair in pairs for note in pair.notes]
    if left_out := sum(len(pair.metrics) for pair in pairs) - len(contrasts):
        said = plural(left_out, "comparison")
        notes.append(f"Left out: {said} of models without an item that has all its scores.")
    largest = max(sum(one.test is not None for one in by_size), len(contrasts), 1)
    if statistics.resamples * statistics.alpha / largest / 2 < _TAIL:
        notes.append(f"{statistics.resamples} resamples are few for {largest} comparisons at once.")
    return Study(
        condition=condition,
        alpha=statistics.alpha,
        answers=Answers(
            tuning=tuning.answer(effects, condition),
            sizes=sizes.answer(by_size),
            models=models.answer(contrasts, runs),
        ),
        runs=[_run(run) for run in runs],
        tuning=effects,
        sizes=by_size,
        models=contrasts,
        model_effects=models.model_effects(runs, pairs),
        notes=notes,
    )


def _run(run: Run) -> StudyRun:
    report = run.report
    return StudyRun(
        folder=str(run.folder),
        experiment_id=report.experiment_id,
        model=run.model,
        dataset=run.dataset,
        dataset_sha256=report.dataset.sha256,
        items=report.dataset.items,
        clusters=report.dataset.clusters,
        unscored=report.counts.unscored,
        headline=report.headline,
        warnings=report.warnings,
    )
