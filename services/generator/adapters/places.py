"""Which adapter goes when another one comes.

vLLM keeps at most ``max_cpu_loras`` adapters in memory. It accepts more, but then reads some from
disk again each time they are asked for, and what lies there by then was never proven.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from services.common.contracts.trainer import AdapterRecord
from services.common.errors import Unavailable
from services.generator import storage
from services.generator.models import AdapterRow

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class NoPlace(Unavailable):
    code = "no_adapter_place"


def take_place(
    session: Session, record: AdapterRecord, places: int, uses: Mapping[str, datetime]
) -> list[str]:
    """Give an adapter one of the ``places``; who must go for it is draining from here on.

    Those are the least recently used, by the rows or by ``uses``, whichever knows better. Raises
    :class:`NoPlace` when too few may go.
    """
    storage.lock_places(session)
    others = [row for row in storage.placed_adapters(session) if row.name != record.id]
    surplus = len(others) + 1 - places
    going: list[AdapterRow] = []
    if surplus > 0:
        kept = storage.kept_names(session)
        movable = [row for row in others if row.status == "loaded" and row.name not in kept]
        if len(movable) < surplus:
            raise _none_may_go(places, all_kept={row.name for row in others} <= kept)
        going = sorted(movable, key=lambda row: _last_used(row, uses))[:surplus]
    for row in going:
        row.status = "draining"
    storage.set_status(session, record.id, "loading")
    return [row.name for row in going]


def _last_used(row: AdapterRow, uses: Mapping[str, datetime]) -> datetime:
    return max(row.last_used_at or _LONG_AGO, uses.get(row.name, _LONG_AGO))


def _none_may_go(places: int, *, all_kept: bool) -> NoPlace:
    if all_kept:
        return NoPlace(
            f"vLLM keeps {places} adapters, and all of them are pinned or have an alias. Unpin one "
            "(POST /v1/adapters with pinned: false) or unload one, or start vLLM with a larger "
            "--max-cpu-loras and set FINEPROOF_GENERATOR_MAX_CPU_LORAS to the same."
        )
    return NoPlace(
        f"vLLM keeps {places} adapters, and those that may go are still being loaded; try again "
        "in a moment.",
        headers={"Retry-After": "5"},
    )
