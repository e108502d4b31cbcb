"""Wire models private to the evaluator: a line of a test file, and how rows are asked for."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.common.contracts.generator import Condition


def _plain(value: Any) -> Any:
    """Data sets number their items, too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _flat(value: Any) -> Any:
    """BioASQ nests synonyms in lists, and joins them by semicolons."""
    if value is None:
        return []
    if isinstance(value, list):
        return [leaf for part in value for leaf in _flat(part)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, str):
        return [leaf for part in value.split(";") if (leaf := part.strip())]
    return [value]


def _listed(value: Any) -> Any:
    return [] if value is None else value


def _said(value: Any) -> Any:
    """An empty one would have an empty answer right."""
    if not isinstance(value, list):
        return _listed(value)
    return [one for one in value if not isinstance(one, str) or one.strip()]


_NO_NUL = r"^[^\x00]*$"
Key = Annotated[
    str, BeforeValidator(_plain), Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")
]
Text = Annotated[str, Field(max_length=100_000, pattern=_NO_NUL)]


class ItemLine(BaseModel):
    """A line of a file with purpose ``evals``; fields not named here are ignored.

    ``answer`` and ``alt_answers`` are right answers in full, ``aliases`` and BioASQ's
    ``exact_answer`` short forms of which any one will do. ``response`` is an answer that a person
    gave ``human_score``: a judge's exam compares the judge with the person.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Key
    question: Annotated[str, Field(min_length=1, max_length=20_000, pattern=_NO_NUL)]
    answer: Annotated[str, Field(min_length=1, max_length=100_000, pattern=_NO_NUL)]
    evidence_ids: Annotated[list[Key], BeforeValidator(_listed)] = Field(default_factory=list)
    aliases: Annotated[list[Text], BeforeValidator(_said)] = Field(default_factory=list)
    alt_answers: Annotated[list[Text], BeforeValidator(_said)] = Field(default_factory=list)
    exact_answer: Annotated[list[Text], BeforeValidator(_flat)] = Field(default_factory=list)
    doc_id: Key | None = None
    response: Annotated[str, Field(min_length=1, max_length=100_000, pattern=_NO_NUL)] | None = None
    human_score: Annotated[float, Field(ge=0, le=9, allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class RowQuery:
    """Which rows of which experiment; None does not restrict."""

    experiment_id: str
    arm: str | None
    condition: Condition | None
