"""Lines to items: which field names them, what they belong to, what was repeated."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from fineproof.comparison import fields as typed
from fineproof.comparison.fields import MISSING
from fineproof.comparison.sides import IDS, Ask, Line, Row, Side
from fineproof.errors import UserError


def id_field(base: Side, tuned: Side, ask: Ask) -> str | None:
    """What both files' items are named by, the first that all lines have; None where neither file
    has an id. :class:`UserError` where their ids go by different names."""
    names, sides = ask.ids(base.tool), (base, tuned)
    if names != IDS:
        return next(iter(names), None)
    for enough in (all, any):
        for name in names:
            if all(enough(name in line.ids for line in side.lines) for side in sides):
                return name
    held = [[n for n in names if any(n in line.ids for line in side.lines)] for side in sides]
    if not any(held):
        return None
    told = [
        f"{side.path} has {' and '.join(has) or 'none'}"
        for side, has in zip(sides, held, strict=True)
    ]
    raise UserError(
        f"The files have no field with ids in common: {', '.join(told)}. --id names one that both "
        "have, --id none pairs line by line."
    )


def cluster_field(base: Side, tuned: Side, ask: Ask) -> str | None:
    """What items belong together by, be it in one file only: the field that most lines have."""
    lines = [*base.lines, *tuned.lines]
    names = ask.clusters(base.tool)
    if ask.cluster is not None:
        if names and not any(ask.cluster in line.clusters for line in lines):
            raise UserError(f"Neither file has the field '{ask.cluster}' that --cluster names.")
        return next(iter(names), None)
    count = {name: sum(line.clusters.get(name) is not None for line in lines) for name in names}
    return max((name for name in names if count[name]), key=count.__getitem__, default=None)


def settle(side: Side, ask: Ask, *, by: str | None, cluster: str | None) -> None:
    """Make a file's lines its rows. :class:`UserError` names the line of what is no id or cluster,
    and an id that stands on several lines."""
    groups: dict[str | int, list[Row]] = {}
    for number, line in enumerate(side.lines):
        row = _row(side, line, by, cluster)
        groups.setdefault(number if row.id is None else row.id, []).append(row)
    side.lines.clear()
    several = [group for group in groups.values() if len(group) > 1]
    if several and not ask.repeats:
        raise _repeated(side, several[0])
    side.rows = [_averaged(side.path, group) for group in groups.values()]
    side.repeated = len(several)


def _row(side: Side, line: Line, by: str | None, cluster: str | None) -> Row:
    here = f"{side.path}, {line.place}"
    belongs = line.clusters.get(cluster) if cluster is not None else None
    return Row(
        None if by is None else typed.id_in(line.ids.get(by, MISSING), f"{here}: the id '{by}'"),
        line.score,
        None if belongs is None else typed.id_in(belongs, f"{here}: '{cluster}'"),
        line.witness,
        line.place,
        unscored=int(line.score is None),
    )


def _repeated(side: Side, group: Sequence[Row]) -> UserError:
    several = [
        f"--where {choice}=… ({', '.join(sorted(values))})"
        for choice, values in side.seen.items()
        if len(values) > 1
    ]
    several.append("--repeats to average repeated answers to one question")
    return UserError(
        f"{side.path}: id '{group[0].id}' stands on {group[0].place} and on {group[1].place}. "
        f"Use {', or '.join(several)}."
    )


def _averaged(path: Path, group: Sequence[Row]) -> Row:
    """One row for an item: the mean of its scored repeats."""
    if len(group) == 1:
        return group[0]
    named = [row for row in group if row.cluster is not None] or group
    first = named[0]
    for row in named[1:]:
        if row.cluster != first.cluster:
            raise UserError(
                f"{path}: item '{first.id}' belongs to '{first.cluster}' on {first.place} and to "
                f"'{row.cluster}' on {row.place}."
            )
    scores = [row.score for row in group if row.score is not None]
    mean = fmean(scores) if scores else None
    unscored = len(group) - len(scores)
    return replace(first, score=mean, unscored=unscored, lines=len(group))
