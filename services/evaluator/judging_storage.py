"""What a judge is asked, and what it said: SQL of judgments, which lie with the answers."""

from collections.abc import Collection, Sequence

from sqlalchemy import cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session

from services.evaluator import storage
from services.evaluator.models import Answer, Item, Json

_NOT_ASKED = '$.**.error ? (@.type() == "string" && !(@ starts with "unparsable"))'
"""In judgments or a preference: the judge did not answer. What it answered unreadably stays."""


def unjudged(
    session: Session, experiment_id: str, start: int, stop: int
) -> list[tuple[Item, Answer]]:
    """Answers that came and were not judged, an item's under one condition beside each other."""
    found = [
        (item, answer)
        for item, answer in storage.rows(session, experiment_id, start, stop)
        if answer.error is None and answer.judgments is None
    ]
    return sorted(found, key=_beside)


def said_by(
    session: Session, experiment_id: str, arm: str, item_ids: Collection[str]
) -> dict[tuple[str, str, int], str]:
    """What an arm answered, by item, condition and repeat; of several trainings, that of the lowest
    seed."""
    found = session.execute(
        select(Answer.item_id, Answer.condition, Answer.repeat, Answer.text)
        .where(
            Answer.experiment_id == experiment_id,
            Answer.arm == arm,
            Answer.item_id.in_(item_ids),
            Answer.error.is_(None),
        )
        .order_by(Answer.training_seed.desc())
    )
    return {(item_id, condition, repeat): text or "" for item_id, condition, repeat, text in found}


def _beside(row: tuple[Item, Answer]) -> tuple[int, str, int, str, int]:
    item, answer = row
    return item.ordinal, answer.condition, answer.repeat, answer.arm, answer.training_seed


def add_judgments(session: Session, experiment_id: str, judged: Sequence[Json]) -> None:
    """Put ``scores``, ``judgments`` and ``preference`` to answers that are kept."""
    session.execute(update(Answer), [{"experiment_id": experiment_id, **one} for one in judged])


def reopen(session: Session, experiment_id: str) -> None:
    """Have the answers judged again that a judge could not be asked about."""
    asked = (Answer.judgments, Answer.preference)
    session.execute(
        update(Answer)
        .where(
            Answer.experiment_id == experiment_id,
            or_(*(func.jsonb_path_exists(one, cast(_NOT_ASKED, JSONPATH)) for one in asked)),
        )
        .values(judgments=None, preference=None)
    )
