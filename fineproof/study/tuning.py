"""Question 1: does tuning beat the base in RAG? What the experiments have found themselves."""

from collections.abc import Sequence

from fineproof.study.reading import Run
from fineproof.study.result import TuningEffect
from fineproof.study.weighing import margin_on
from fineproof.study.wording import verdicts
from services.common.contracts.generator import Condition


def tuning_effects(runs: Sequence[Run], condition: Condition) -> list[TuningEffect]:
    return [
        TuningEffect(
            dataset=run.dataset,
            model=run.model,
            arm=one.arm,
            metric=one.metric,
            base=one.base,
            tuned=one.tuned,
            diff=one.diff,
            ci95=one.ci95,
            p_holm=one.p_holm,
            verdict=one.verdict,
            margin=margin_on(run, one.metric),
            n=one.n,
            clusters=one.clusters,
            unscored=one.unscored,
            note=one.note,
        )
        for run in runs
        for one in run.report.comparisons
        if one.condition == condition and one.metric in run.metrics
    ]


def answer(effects: Sequence[TuningEffect], condition: Condition) -> str:
    if not effects:
        return f"No arm could be compared with its base under {condition}."
    return f"Under {condition}, tuned against base, {verdicts([one.verdict for one in effects])}."
