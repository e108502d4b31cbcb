"""Whether tuning cost general knowledge: the panel's answers weighed as a family of their own."""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel

from services.common.contracts.evaluator import Forgotten
from services.common.contracts.findings import ForgottenExample
from services.evaluator import panel
from services.evaluator.analysis import comparisons
from services.evaluator.attribution import lost_metric
from services.evaluator.metrics import METRICS
from services.evaluator.report import Measured, MeasuredAnswer, MeasuredItem, table_of

EXAMPLES = 3  # of each arm


class PanelAnswer(BaseModel):
    """What an arm said to one question of the panel; ``error`` set: unscored."""

    arm: str
    training_seed: int
    item_id: str
    cluster: str
    question: str
    reference: str
    text: str | None
    scores: dict[str, float | None]
    error: str | None


def forgotten(measured: Measured, answers: Sequence[PanelAnswer]) -> Forgotten | None:
    """Every arm against the baseline on the panel; None where an experiment has none."""
    asked = measured.spec.forgetting
    if asked is None or not answers:
        return None
    items = {
        answer.item_id: MeasuredItem(answer.item_id, answer.cluster, [], [], [])
        for answer in answers
    }
    spec = measured.spec.model_copy(
        update={
            "conditions": ["closed_book"],
            "metrics": asked.metrics,
            "primary_conditions": None,
            "judge": None,
        }
    )
    weighed = replace(
        measured,
        spec=spec,
        items=list(items.values()),
        answers=[
            MeasuredAnswer(
                item_id=answer.item_id,
                arm=answer.arm,
                condition="closed_book",
                scores=answer.scores,
                finish_reason=None,
                left_out=0,
                failed=answer.error is not None,
                training_seed=answer.training_seed,
            )
            for answer in answers
        ],
    )
    return Forgotten(
        panel=asked.file_id or panel.NAME,
        items=len(items),
        comparisons=[c for c in comparisons(table_of(weighed), spec) if c.primary],
        examples=_examples(weighed, answers),
    )


def _examples(measured: Measured, answers: Sequence[PanelAnswer]) -> list[ForgottenExample]:
    spec = measured.spec
    base = {answer.item_id: answer for answer in answers if answer.arm == spec.baseline}
    metrics = [METRICS[name] for name in spec.metrics if name in METRICS]
    margins = {metric.name: spec.statistics.margin_of(metric.name) for metric in metrics}
    found: dict[str, list[ForgottenExample]] = {}
    for answer in answers:
        before = base.get(answer.item_id)
        if before is None or answer.arm == spec.baseline:
            continue
        some = found.setdefault(answer.arm, [])
        lost = lost_metric(before.scores, answer.scores, metrics, margins)
        if lost is not None and len(some) < EXAMPLES:
            some.append(
                ForgottenExample(
                    arm=answer.arm,
                    question=answer.question,
                    reference=answer.reference,
                    base=before.text,
                    tuned=answer.text,
                )
            )
    return [example for some in found.values() for example in some]
