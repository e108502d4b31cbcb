"""promptfoo: ``promptfoo eval -o results.json`` or ``-o results.jsonl``."""

import json
from typing import Any

from fineproof.imports import Fields, Imported, Tool

_ERROR = 2  # ResultFailureReason: 0 none, 1 an assertion, 2 the provider or a grader broke


def results(document: dict[str, Any]) -> list[Any] | None:
    """The results in a document: one level down, or two as the command line writes them."""
    inner = document.get("results")
    if isinstance(inner, dict):
        inner = inner.get("results")
    if isinstance(inner, list) and (not inner or _is_result(inner[0])):
        return inner
    return None


def _is_result(record: Any) -> bool:
    if not isinstance(record, dict) or "success" not in record:
        return False
    # Before version 3 results had no positions.
    return "promptIdx" in record or {"vars", "namedScores"} <= set(record)


def _read(record: Fields) -> Imported:
    """``score``, ``success`` and each named score; all null where an error kept it from grading."""
    named = record.get("namedScores")
    named = named if isinstance(named, dict) else {}
    fields: dict[str, Any] = {**named, **record}
    if record.get("failureReason") == _ERROR:
        named = dict.fromkeys(named)
        fields |= {**named, "score": None, "success": None, "namedScores": named}
    provider = record.get("provider")
    if isinstance(provider, dict):
        fields["provider"] = provider.get("label") or provider.get("id")
    case = record.get("testCase")
    question = record.get("vars", case.get("vars") if isinstance(case, dict) else None)
    return Imported(
        id=record.get("testIdx", json.dumps(question, sort_keys=True)),
        fields=fields,
        names=("score", "success", *named),
        witness=question,
    )


TOOL = Tool(
    "results of promptfoo",
    "testIdx",
    _is_result,
    _read,
    choices=("provider", "promptIdx"),
)
