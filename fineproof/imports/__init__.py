"""Results of other tools, told apart by their shape and read as records with ids and scores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fineproof.errors import UserError

Fields = Mapping[str, Any]

_LISTS = ("results", "data", "items", "rows", "samples", "scores")  # where tools put their records


@dataclass(frozen=True)
class Imported:
    """One record of another tool's.

    ``fields`` are what ``--score`` and ``--where`` may name; ``names`` are its scores. ``witness``
    is the question, which must be the same where the ids are: their ids are positions.
    """

    id: Any
    fields: Fields
    names: tuple[str, ...]
    witness: Any = None


@dataclass(frozen=True)
class Tool:
    """How a tool's records look; ``choices`` are fields that tell runs in one file apart, ``id`` is
    the one that numbers items."""

    title: str
    id: str
    matches: Callable[[Fields], bool]
    read: Callable[[Fields], Imported]
    choices: tuple[str, ...] = field(default=())


def tools() -> Mapping[str, Tool]:
    from fineproof.imports import lm_eval, openai_evals, promptfoo

    return MappingProxyType(
        {
            "openai-evals": openai_evals.TOOL,
            "promptfoo": promptfoo.TOOL,
            "lm-eval": lm_eval.TOOL,
        }
    )


def detected(record: Fields) -> str | None:
    """The tool that wrote a record, None where it is nobody's we know."""
    return next((name for name, tool in tools().items() if tool.matches(record)), None)


def unfolded(value: Any) -> list[Any] | None:
    """The records in one JSON document: a list, or one under a usual name; a page of OpenAI's,
    promptfoo's results.

    None for what is a record itself. Raises :class:`UserError` for summaries without records.
    """
    from fineproof.imports import lm_eval, promptfoo

    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    if value.get("object") == "list" and isinstance(value.get("data"), list):
        if value.get("has_more"):
            raise UserError(
                "The file is one page of several (has_more is true); put all pages' items into "
                "one file, a line each."
            )
        return list(value["data"])
    if lm_eval.is_summary(value):
        raise UserError(lm_eval.NO_SAMPLES)
    if (results := promptfoo.results(value)) is not None or detected(value) is not None:
        return results
    listed = [value[key] for key in _LISTS if isinstance(value.get(key), list) and value[key]]
    return list(listed[0]) if listed and all(isinstance(one, dict) for one in listed[0]) else None
