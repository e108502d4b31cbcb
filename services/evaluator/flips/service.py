"""Which flips are asked for, and how one is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.contracts.base import Page
from services.common.contracts.evaluator import Report
from services.common.contracts.flips import Flip, FlipAnswer, FlipPassage, Outcome
from services.common.contracts.generator import Condition
from services.common.errors import InvalidRequest
from services.common.pagination import to_page
from services.evaluator.flips import storage
from services.evaluator.metrics import METRICS
from services.evaluator.models import Answer, Item, Json
from services.evaluator.verdict import focus_of


@dataclass(frozen=True)
class FlipQuery:
    """What is asked for; None is filled in: the only arm, the pipeline's condition, the first
    declared metric."""

    arm: str | None
    condition: Condition | None
    metric: str | None
    outcome: Outcome
    after: str | None
    limit: int


def page_of_flips(
    session: Session, experiment_id: str, report: Report, query: FlipQuery
) -> Page[Flip]:
    """Items whose score changed, the largest change first."""
    arm = _arm(report, query.arm)
    condition = query.condition or focus_of(report.conditions)
    metric = query.metric or report.primary_metrics[0]
    for name, value, known in (
        ("condition", condition, report.conditions),
        ("metric", metric, report.metrics),
    ):
        if value not in known:
            raise InvalidRequest(
                f"The experiment has no {name} '{value}'; it has {', '.join(known)}.",
                code=f"unknown_{name}",
                param=name,
            )
    better = _better(metric)
    asked = storage.FlipKey(experiment_id, report.spec.baseline, arm, condition, metric)
    sign = {"lost": -better, "gained": better, "all": None}[query.outcome]
    place = None
    if query.after is not None:
        place = storage.place_of_flip(session, asked, query.after, sign=sign)
        if place is None:
            raise InvalidRequest("'after' is no item of this list.", param="after")
    rows, more = storage.flips(session, asked, sign=sign, place=place, limit=query.limit)
    models = {(one.name, one.training_seed or 0): one.model for one in report.arms}
    return to_page([_flip(asked, better, models, *row) for row in rows], more)


def _arm(report: Report, name: str | None) -> str:
    """The name of the arm asked for, or of the only one beside the baseline."""
    tuned = dict.fromkeys(arm.name for arm in report.arms if arm.name != report.spec.baseline)
    if name in tuned or (name is None and len(tuned) == 1):
        return name or next(iter(tuned))
    raise InvalidRequest(
        f"Name one of the arms beside the baseline: {', '.join(tuned)}.",
        code="missing_required_parameter" if name is None else "unknown_arm",
        param="arm",
    )


def _better(metric: str) -> int:
    """1 where more is better, −1 where less is."""
    known = METRICS.get(metric)
    if known is not None and known.higher_is_better is None:
        raise InvalidRequest(
            f"'{metric}' describes answers: neither side of it is gained or lost.",
            code="no_better_side",
            param="metric",
        )
    return -1 if known is not None and known.higher_is_better is False else 1


def _flip(
    asked: storage.FlipKey,
    better: int,
    models: Mapping[tuple[str, int], str],
    item: Item,
    a: Answer,
    b: Answer,
) -> Flip:
    base, tuned = (_answer(one, models[one.arm, one.training_seed], asked.metric) for one in (a, b))
    change = tuned.score - base.score
    lost = change * better < 0
    held = {*a.passage_ids, *b.passage_ids}
    return Flip.model_validate(
        {
            "id": item.item_id,
            "cluster": item.cluster,
            "condition": asked.condition,
            "metric": asked.metric,
            "outcome": "lost" if lost else "gained",
            "change": change,
            "question": item.question,
            "reference": item.reference,
            "repeat": a.repeat,
            "base": base,
            "tuned": tuned,
            "passages": [
                FlipPassage.model_validate(passage)
                for passage in _given(item, asked.condition)
                if passage["id"] in held
            ],
            "attribution": b.attribution if lost else None,
        }
    )


def _answer(answer: Answer, model: str, metric: str) -> FlipAnswer:
    return FlipAnswer(
        arm=answer.arm,
        model=model,
        adapter_sha256=answer.adapter_sha256,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        score=answer.scores[metric],
        scores=answer.scores,
    )


def _given(item: Item, condition: str) -> Sequence[Json]:
    given: dict[str, Sequence[Json]] = {
        "retrieved": item.retrieved,
        "oracle": item.oracle,
        "distractors": item.distractors,
    }
    return given.get(condition, ())
