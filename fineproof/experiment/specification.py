"""A study's specification, as checked in under ``studies/``: which arms, under which conditions.

The specification says nothing of data: the same one runs on any folder.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from fineproof.errors import UserError
from services.common.contracts.arms import ArmAsk, ForgettingAsk, TuneAsk
from services.common.contracts.base import Ask, ShortName
from services.common.contracts.budget import BudgetAsk, PriceAsk
from services.common.contracts.evaluator import RetrievalAsk, SamplingAsk, StatisticsAsk
from services.common.contracts.generator import Condition
from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.common.contracts.judge import JudgeAsk


class DataSize(Ask):
    """How many training pairs and test items are taken, from the front of each file."""

    pairs: Annotated[int, Field(ge=10)] = 200
    items: Annotated[int, Field(ge=2)] = 60


def _without_data(tune: Any) -> Any:
    """What a study says of a tuning, as the wire has it: model and file become known with the
    data, and hyper-parameters may stand beside the recipe."""
    if not isinstance(tune, dict):
        return tune
    inner = set(SupervisedHyperparameters.model_fields) - set(TuneAsk.model_fields)
    beside = {key: value for key, value in tune.items() if key in inner}
    rest = {key: value for key, value in tune.items() if key not in inner}
    return {
        "base_model": "base",
        "training_file": "train.jsonl",
        **rest,
        "hyperparameters": {**(rest.get("hyperparameters") or {}), **beside},
    }


class Arm(Ask):
    """An arm is the base model, an adapter or alias by name, or one to be tuned for the study."""

    name: ShortName
    model: str | None = None
    tune: Annotated[TuneAsk, BeforeValidator(_without_data)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.model is not None and self.tune is not None:
            raise ValueError(f"arm '{self.name}' has both model and tune; keep one")
        return self

    def asked(self, base: str, training_file: str) -> ArmAsk:
        """The arm as the evaluator takes it, once its model and its data are known."""
        if self.tune is None:
            return ArmAsk(name=self.name, model=self.model or base)
        known = {"base_model": base, "training_file": training_file if self.tune.trains else None}
        return ArmAsk(name=self.name, tune=self.tune.model_copy(update=known))


class Specification(Ask):
    """``base_model`` defaults to the one the generator serves; ``prices`` are by arm.
    ``judge.model`` may be the name of an arm that is not tuned for the study."""

    version: Literal[1] = 1
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
    primary_conditions: list[Condition] | None = None
    retrieval: RetrievalAsk = Field(default_factory=RetrievalAsk)
    sampling: SamplingAsk = Field(default_factory=SamplingAsk)
    statistics: StatisticsAsk = Field(default_factory=StatisticsAsk)
    judge: JudgeAsk | None = None
    forgetting: ForgettingAsk | None = None
    budget: BudgetAsk = Field(default_factory=BudgetAsk)
    prices: dict[ShortName, PriceAsk] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _enough_pairs(self) -> Self:
        for arm in self.arms:
            if arm.tune is not None and (arm.tune.pairs or 0) > self.data.pairs:
                raise ValueError(
                    f"arm '{arm.name}' wants {arm.tune.pairs} pairs, and data.pairs takes "
                    f"{self.data.pairs}"
                )
        return self

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_specification(path: Path, **overrides: Any) -> Specification:
    """Read a YAML specification; ``overrides`` (``pairs=200``) win where they are not None.

    ``judge`` names the judge's model, and declares a judge where there is none.
    """
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
    if overrides.get("judge") is not None:
        content["judge"] = {**(content["judge"] or {}), "model": overrides["judge"]}
    return content
