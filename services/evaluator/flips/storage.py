"""The SQL of flips: both arms' answers to an item, joined, the largest change first."""

from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from services.evaluator.models import Answer, Item


class FlipKey(NamedTuple):
    """Two arms under one condition, on one metric."""

    experiment_id: str
    baseline: str
    arm: str
    condition: str
    metric: str


class FlipPlace(NamedTuple):
    """Where a list of flips goes on: after a change of this size, at this item."""

    size: float
    ordinal: int


def flips(
    session: Session, key: FlipKey, *, sign: int | None, place: FlipPlace | None, limit: int
) -> tuple[list[tuple[Item, Answer, Answer]], bool]:
    """Items with the answers of baseline and arm whose scores differ, in the direction of ``sign``
    (None: both), largest first; and whether there are more.

    An item comes once, with the largest change of its repeats and training seeds.
    """
    picked = _picked(key, sign)
    base, tuned = aliased(Answer), aliased(Answer)
    statement = _both(select(Item, base, tuned), key, base, tuned).join(
        picked,
        (picked.c.item_id == Item.item_id)
        & (picked.c.base_seed == base.training_seed)
        & (picked.c.tuned_seed == tuned.training_seed)
        & (picked.c.repeat == base.repeat),
    )
    if place is not None:
        statement = statement.where(
            (picked.c.size < place.size)
            | ((picked.c.size == place.size) & (picked.c.ordinal > place.ordinal))
        )
    ordered = statement.order_by(picked.c.size.desc(), picked.c.ordinal).limit(limit + 1)
    rows = [(item, before, after) for item, before, after in session.execute(ordered)]
    return rows[:limit], len(rows) > limit


def place_of_flip(
    session: Session, key: FlipKey, item_id: str, *, sign: int | None
) -> FlipPlace | None:
    """Where an item stands among the flips; None where it is none of them."""
    picked = _picked(key, sign)
    asked = select(picked.c.size, picked.c.ordinal).where(picked.c.item_id == item_id)
    row = session.execute(asked).first()
    return FlipPlace(*row) if row is not None else None


def _picked(key: FlipKey, sign: int | None) -> Any:
    """Of each item that flipped the answers to show: which seeds and repeat, and their change."""
    base, tuned = aliased(Answer), aliased(Answer)
    # Null where either is unscored, which is then no flip.
    change = tuned.scores[key.metric].as_float() - base.scores[key.metric].as_float()
    size = func.abs(change)
    answers = (base.training_seed, tuned.training_seed, base.repeat)
    ranked = (
        _both(
            select(
                Item.item_id,
                Item.ordinal,
                base.training_seed.label("base_seed"),
                tuned.training_seed.label("tuned_seed"),
                base.repeat,
                size.label("size"),
                func.row_number()
                .over(partition_by=Item.ordinal, order_by=(size.desc(), *answers))
                .label("rank"),
            ),
            key,
            base,
            tuned,
        )
        .where(change != 0 if sign is None else change * sign > 0)
        .subquery()
    )
    return select(ranked).where(ranked.c.rank == 1).subquery()


def _both(statement: Any, key: FlipKey, base: Any, tuned: Any) -> Any:
    """From items to both sides' answers, repeat by repeat."""
    for side, arm in ((base, key.baseline), (tuned, key.arm)):
        statement = statement.join(
            side,
            (side.experiment_id == Item.experiment_id)
            & (side.item_id == Item.item_id)
            & (side.arm == arm)
            & (side.condition == key.condition),
        )
    return statement.where(Item.experiment_id == key.experiment_id, base.repeat == tuned.repeat)
