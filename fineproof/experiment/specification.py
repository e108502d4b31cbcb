"""A study's specification, as checked in under ``studies/``: which arms, under which conditions.

The specification says nothing of data: the same one runs on any folder.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from fineproof.errors import UserError
from services.common.contracts.base import Ask
from services.common.contracts.evaluator import RetrievalAsk, SamplingAsk, ShortName, StatisticsAsk
from services.common.contracts.generator import Condition
from services.common.contracts.trainer import SupervisedHyperparameters


class DataSize(Ask):
    """How many training pairs and test items are taken, from the front of each file."""

    pairs: Annotated[int, Field(ge=10)] = 200
    items: Annotated[int, Field(ge=2)] = 60


class Arm(Ask):
    """An arm is the base model, an existing adapter by name, or one to be tuned for the study."""

    name: ShortName
    model: str | None = None
    tune: SupervisedHyperparameters | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.model is not None and self.tune is not None:
            raise ValueError(f"arm '{self.name}' has both model and tune; keep one")
        return self


class Specification(Ask):
    """``base_model`` defaults to the one the generator serves."""

    name: ShortName
    description: str = ""
    base_model: str | None = None
    data: DataSize = Field(default_factory=DataSize)
    arms: Annotated[list[Arm], Field(min_length=2)]
    baseline: ShortName = "base"
    conditions: list[Condition] = Field(
        default_factory=lambda: list[Condition](("closed_book", "retrieved", "oracle"))
    )
    metrics: list[ShortName] = Field(default_factory=lambda: ["contains_answer", "token_f1"])
    retrieval: RetrievalAsk = Field(default_factory=RetrievalAsk)
    sampling: SamplingAsk = Field(default_factory=SamplingAsk)
    statistics: StatisticsAsk = Field(default_factory=StatisticsAsk)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_specification(path: Path, **overrides: Any) -> Specification:
    """Read a YAML specification; ``overrides`` (``pairs=200``) win where they are not None."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"There is no specification at {path}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    try:
        specification = Specification.model_validate(content)
        return Specification.model_validate(
            _overridden(specification.model_dump(mode="json"), overrides)
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise UserError(f"{path}: {where}: {first['msg']}.") from None


def _overridden(content: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    for key in ("pairs", "items"):
        if overrides.get(key) is not None:
            content["data"][key] = overrides[key]
    if overrides.get("within_document"):
        content["retrieval"]["within_document"] = True
    return content
