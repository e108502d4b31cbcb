"""OpenAI's attribute filters as SQL over a passage's ``attributes`` and ``doc_id``.

The stored type counts: ``{"key": "year", "type": "gt", "value": 2000}`` matches numbers only, and
a passage without the key matches ``ne`` and ``nin`` only. Strings order as the database's collation
has it; ISO dates order as dates do.
"""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, String, and_, cast, func, literal, not_, or_
from sqlalchemy.dialects.postgresql import JSONB

from services.common.contracts.retriever import ComparisonFilter, Filter
from services.common.errors import InvalidRequest
from services.retriever.models import Passage

MAX_VALUES = 500

_ORDERINGS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}


def where(filter_: Filter | None) -> ColumnElement[bool] | None:
    """The condition a passage must meet; ``InvalidRequest`` when the filter makes no sense."""
    if filter_ is None:
        return None
    # Document ids travel as one array, however many; every other value is a parameter of its own.
    values = sum(
        1 if asked.key == "doc_id" else len(_values(asked)) for asked in _comparisons(filter_)
    )
    if values > MAX_VALUES:
        raise _refusal(f"A filter compares with at most {MAX_VALUES} values.")
    return _condition(filter_)


def _comparisons(filter_: Filter) -> Iterator[ComparisonFilter]:
    if isinstance(filter_, ComparisonFilter):
        yield filter_
        return
    for inner in filter_.filters:
        yield from _comparisons(inner)


def _condition(filter_: Filter) -> ColumnElement[bool]:
    if isinstance(filter_, ComparisonFilter):
        return _on_document(filter_) if filter_.key == "doc_id" else _on_attribute(filter_)
    conditions = [_condition(inner) for inner in filter_.filters]
    return and_(*conditions) if filter_.type == "and" else or_(*conditions)


def _on_document(asked: ComparisonFilter) -> ColumnElement[bool]:
    values = _values(asked)
    if not all(isinstance(value, str) for value in values):
        raise _refusal("'doc_id' is compared with strings.")
    if asked.type in _ORDERINGS:
        return _ORDERINGS[asked.type](Passage.doc_id, values[0])
    among = Passage.doc_id == func.any(cast(values, ARRAY(String)))
    return not_(among) if asked.type in ("ne", "nin") else among


def _on_attribute(asked: ComparisonFilter) -> ColumnElement[bool]:
    values = _values(asked)
    if asked.type in _ORDERINGS:
        return _ordered(asked, values[0])
    # Containment is what the GIN index on attributes answers.
    among = or_(*(Passage.attributes.contains({asked.key: value}) for value in values))
    return not_(among) if asked.type in ("ne", "nin") else among


def _ordered(asked: ComparisonFilter, value: str | bool | float) -> ColumnElement[bool]:
    if isinstance(value, bool):
        raise _refusal(f"'{asked.type}' compares numbers or strings, not booleans.")
    stored = Passage.attributes[asked.key]
    kind = "string" if isinstance(value, str) else "number"
    # Both sides are jsonb: a cast of the stored value could fail on another passage's string.
    return and_(
        func.jsonb_typeof(stored) == kind,
        _ORDERINGS[asked.type](stored, literal(value, JSONB)),
    )


def _values(asked: ComparisonFilter) -> list[str | bool | float]:
    """What is compared with: several values for ``in`` and ``nin``, one for the others."""
    if isinstance(asked.value, list):
        if asked.type not in ("in", "nin"):
            raise _refusal(f"'{asked.type}' takes one value, not a list.")
        if not asked.value:
            raise _refusal(f"'{asked.type}' needs at least one value.")
        return list(asked.value)
    if asked.type in ("in", "nin"):
        raise _refusal(f"'{asked.type}' takes a list of values.")
    return [asked.value]


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_filter", param="filters")
