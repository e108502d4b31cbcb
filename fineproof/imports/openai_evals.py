"""OpenAI's Evals: the output items of a run, as lines or as a page of the API."""

import re
from typing import Any

from fineproof.imports import Fields, Imported, Tool

_SUFFIX = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def _matches(record: Fields) -> bool:
    return "datasource_item_id" in record and isinstance(record.get("results"), list)


def _read(record: Fields) -> Imported:
    """``score`` and ``passed`` are the grader's, where there is one; ``NAME`` and ``NAME.passed``
    those of the grader with that name, with or without the UUID that OpenAI appends."""
    graders: dict[str, dict[str, Any]] = {}
    for result in record["results"]:
        if isinstance(result, dict) and isinstance(result.get("name"), str):
            graders[_SUFFIX.sub("", result["name"])] = result
    fields: dict[str, Any] = {**record, "passed": _passed(graders)}
    for name, result in graders.items():
        fields[name] = result.get("score")
        fields[f"{name}.passed"] = result.get("passed")
        fields[str(result["name"])] = result.get("score")
    if len(graders) == 1:
        only = next(iter(graders.values()))
        fields["score"] = only.get("score")
    item = record.get("datasource_item")
    witness = (
        {key: value for key, value in item.items() if not key.startswith("sample")}
        if isinstance(item, dict)
        else None
    )
    return Imported(
        id=record["datasource_item_id"],
        fields=fields,
        names=_names(list(graders)),
        witness=witness,
    )


def _names(graders: list[str]) -> tuple[str, ...]:
    """None where the sample itself failed: nothing was graded."""
    if len(graders) == 1:
        return ("score", "passed")
    return (*graders, "passed") if graders else ()


def _passed(graders: dict[str, dict[str, Any]]) -> bool | None:
    """Whether all graders passed it; None where any has not said."""
    said = [result.get("passed") for result in graders.values()]
    if not said or not all(isinstance(one, bool) for one in said):
        return None
    return all(said)


TOOL = Tool(
    "output items of an OpenAI eval", "datasource_item_id", _matches, _read, choices=("run_id",)
)
