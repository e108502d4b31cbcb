"""Two files to pairs of scores on the same items."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fineproof.comparison.items import cluster_field, id_field, settle
from fineproof.comparison.scale import Scale, scale_of
from fineproof.comparison.sides import IDS, Ask, Row, Side, opened, read
from fineproof.errors import UserError

Where = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Pair:
    """An item that both files hold."""

    base: Row
    tuned: Row
    cluster: str

    @property
    def unscored(self) -> bool:
        """Whether either file lacks its score, be it of one repeat."""
        return self.base.unscored + self.tuned.unscored > 0


@dataclass(frozen=True)
class Pairs:
    """``paired_by`` and ``clustered_by`` name fields; ``paired_by`` None: by position."""

    base: Side
    tuned: Side
    pairs: list[Pair]
    paired_by: str | None
    clustered_by: str | None
    scale: Scale
    threshold: float | None = None

    @property
    def scored(self) -> list[tuple[float, float, str]]:
        return [
            (pair.base.score, pair.tuned.score, pair.cluster)
            for pair in self.pairs
            if pair.base.score is not None and pair.tuned.score is not None
        ]


def pair_files(
    base: Path,
    tuned: Path,
    ask: Ask,
    *,
    base_where: Where = (),
    tuned_where: Where = (),
    tool: str | None = None,
) -> Pairs:
    """Read and pair two files; :class:`UserError` says what stands in the way, and where."""
    before, after = opened(base, base_where, tool), opened(tuned, tuned_where, tool)
    if before.tool != after.tool:
        raise UserError(
            f"{base} looks like {before.tool or 'plain JSON lines'}, {tuned} like "
            f"{after.tool or 'plain JSON lines'}; --from says how to read both."
        )
    left, right = read(before, ask), read(after, ask)
    by, cluster = id_field(left, right, ask), cluster_field(left, right, ask)
    for side in (left, right):
        settle(side, ask, by=by, cluster=cluster)
    _same_kind(left, right, ask)
    found = _by_id(left, right) if by is not None else _by_position(left, right)
    pairs = [_pair(left, right, number, *rows) for number, rows in enumerate(found)]
    if not any(None not in (pair.base.score, pair.tuned.score) for pair in pairs):
        raise UserError(f"No item has a score in both files: all {len(pairs)} pairs are unscored.")
    return Pairs(left, right, pairs, by, cluster, _scale(left, right, ask), ask.threshold)


def _scale(base: Side, tuned: Side, ask: Ask) -> Scale:
    """The scale asked for, or as all scores look; of passes, where there is a threshold.

    One in other units than the scores' would make any two files the same. It lies on the scale
    where that is known, else within what was scored; on its first step, which every score passes,
    it would part nothing either.
    """
    low, high = min(base.lowest, tuned.lowest), max(base.highest, tuned.highest)
    scale = ask.scale or scale_of([low, high])
    if ask.scale is not None and not scale.low <= low <= high <= scale.high:
        raise UserError(f"--scale goes from {scale.name}, the scores from {low:g} to {high:g}.")
    if ask.threshold is None:
        return scale
    worst, best = (scale.high, scale.low) if ask.lower_is_better else (scale.low, scale.high)
    if ask.passes(best, ask.threshold) and not ask.passes(worst, ask.threshold):
        return scale_of([0.0, 1.0])
    which = "every" if ask.passes(worst, ask.threshold) else "no"
    raise UserError(
        f"--threshold {ask.threshold:g} parts nothing: {which} score from {scale.name} passes it, "
        f"and those of both files lie from {low:g} to {high:g}. Give it in the score's own units."
    )


def _same_kind(base: Side, tuned: Side, ask: Ask) -> None:
    """True and false may meet 1 and 0, nothing else."""
    if ask.threshold is not None or None in (base.kind, tuned.kind) or base.kind == tuned.kind:
        return
    numbers = base if base.kind == "number" else tuned
    if numbers.binary:
        return
    raise UserError(
        f"'{base.score}' is a {base.kind} in {base.path} and a {tuned.kind} in {tuned.path}; "
        "give --threshold to turn both into pass and fail."
    )


def _by_id(base: Side, tuned: Side) -> list[tuple[Row, Row]]:
    after = {row.id: row for row in tuned.rows}
    found = [(row, after[row.id]) for row in base.rows if row.id in after]
    if not found:
        raise UserError(
            f"The files have no id in common: {base.path} has {_examples(base)}, {tuned.path} "
            f"{_examples(tuned)}. --id names another field, --id none pairs line by line."
        )
    return found


def _examples(side: Side) -> str:
    return ", ".join(str(row.id) for row in side.rows[:3])


def _by_position(base: Side, tuned: Side) -> list[tuple[Row, Row]]:
    if len(base.rows) != len(tuned.rows):
        raise UserError(
            f"Items have no {', '.join(IDS)} and are paired line by line, but {base.path} has "
            f"{len(base.rows)} and {tuned.path} {len(tuned.rows)}. --id names the field to pair by."
        )
    return list(zip(base.rows, tuned.rows, strict=True))


def _pair(base: Side, tuned: Side, number: int, before: Row, after: Row) -> Pair:
    what = f"item '{before.id}'" if before.id is not None else before.place
    if None not in (before.witness, after.witness) and before.witness != after.witness:
        raise UserError(
            f"{what} is one question in {base.path} ({before.place}) and another in {tuned.path} "
            f"({after.place}): the runs were not made from the same items."
        )
    if None not in (before.cluster, after.cluster) and before.cluster != after.cluster:
        raise UserError(
            f"{what} belongs to '{before.cluster}' in {base.path} and to '{after.cluster}' in "
            f"{tuned.path}. --cluster names another field, --cluster none none."
        )
    named = before.cluster if before.cluster is not None else after.cluster
    # An item of no document is a cluster of its own, apart from all that have names.
    return Pair(before, after, f"in {named}" if named is not None else f"alone {number}")
