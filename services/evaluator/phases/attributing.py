"""Within measuring: why answers were lost, item by item, kept with the answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from services.common.contracts.findings import Attribution, Cause, Losses, LossExample
from services.common.contracts.generator import Condition
from services.evaluator import storage
from services.evaluator.attribution import Given, Said, attribute, lost_metric
from services.evaluator.metrics import Metric
from services.evaluator.metrics.judged import margin_of
from services.evaluator.models import Answer, Item, Json
from services.evaluator.phases.answers import shown
from services.evaluator.rows import condition_of
from services.evaluator.run import Run

ITEMS_AT_ONCE = 200  # whose answers and passages are read in one transaction
EXAMPLES = 2  # of each cause, of one arm under one condition


@dataclass
class _Found:
    answers: int = 0
    causes: Counter[Cause] = field(default_factory=Counter)
    examples: list[LossExample] = field(default_factory=list)


def attribute_losses(run: Run, items: int, metrics: Sequence[Metric]) -> list[Losses]:
    """Attribute every lost answer that was given passages, by the first of ``metrics`` it lost on.

    Repeating it writes the same again.
    """
    margins = {metric.name: margin_of(metric, run.spec.statistics) for metric in metrics}
    found: dict[tuple[str, Condition], _Found] = {}
    for start in range(0, items, ITEMS_AT_ONCE):
        with run.transaction() as session:
            _some(session, run, start, metrics, margins, found)
    ordered = [(arm.name, condition) for arm in run.spec.arms for condition in run.spec.conditions]
    return [
        Losses(
            arm=arm,
            condition=condition,
            answers=one.answers,
            lost=one.causes.total(),
            causes=dict(one.causes.most_common()),
            examples=one.examples,
        )
        for arm, condition in ordered
        if (one := found.get((arm, condition))) is not None
    ]


def _some(
    session: Session,
    run: Run,
    start: int,
    metrics: Sequence[Metric],
    margins: Mapping[str, float],
    found: dict[tuple[str, Condition], _Found],
) -> None:
    rows = list(storage.rows(session, run.experiment_id, start, start + ITEMS_AT_ONCE))
    said = {_key(answer): answer for _, answer in rows}
    kept: list[Json] = []
    for item, answer in rows:
        base = said.get(_key(answer, arm=run.spec.baseline, training_seed=_baseline_seed(run)))
        if base is None or answer.arm == run.spec.baseline or answer.condition == "closed_book":
            continue
        if answer.error is not None or base.error is not None:
            continue
        one = found.setdefault((answer.arm, condition_of(answer)), _Found())
        one.answers += 1
        metric = lost_metric(base.scores, answer.scores, metrics, margins)
        if metric is None:
            continue
        alone = said.get(_key(answer, condition="closed_book"))
        why = attribute(
            metric,
            _said(base),
            _said(answer),
            _given(item, answer),
            closed_book=alone.text if alone is not None else None,
        )
        one.causes[why.cause] += 1
        if sum(example.attribution.cause == why.cause for example in one.examples) < EXAMPLES:
            one.examples.append(_example(item, base, answer, why))
        kept.append(
            {
                "item_id": item.item_id,
                "arm": answer.arm,
                "condition": answer.condition,
                "training_seed": answer.training_seed,
                "repeat": answer.repeat,
                "attribution": why.model_dump(),
            }
        )
    storage.add_attributions(session, run.experiment_id, kept)


def _key(answer: Answer, **changes: str | int) -> storage.AnswerKey:
    key = storage.AnswerKey(
        answer.item_id, answer.arm, answer.condition, answer.training_seed, answer.repeat
    )
    return key._replace(**changes)  # type: ignore[arg-type]  # each field has the type of its own


def _baseline_seed(run: Run) -> int:
    base = next(arm for arm in run.spec.arms if arm.name == run.spec.baseline)
    return base.tune.seeds[0] if base.tune is not None and base.tune.trains else 0


def _said(answer: Answer) -> Said:
    return Said(answer.text or "", answer.finish_reason, answer.scores)


def _given(item: Item, answer: Answer) -> Given:
    """What the prompt held: of the passages meant for it, those that fitted."""
    passages = (*item.retrieved, *item.oracle, *item.distractors)
    meant = {p["id"]: shown(p.get("title"), p["text"]) for p in passages}
    return Given(
        passage_ids=answer.passage_ids,
        passages=[meant[id_] for id_ in answer.passage_ids if id_ in meant],
        evidence_ids=item.evidence_ids,
        right_answers=[*item.references, *item.aliases],
    )


def _example(item: Item, base: Answer, tuned: Answer, why: Attribution) -> LossExample:
    return LossExample(
        item_id=item.item_id,
        question=item.question,
        reference=item.reference,
        base=base.text,
        tuned=tuned.text,
        attribution=why,
    )
