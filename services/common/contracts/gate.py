"""The evaluator's wire of gates: what an arm must show, and whether it did."""

from typing import Annotated, Literal

from pydantic import Field

from services.common.contracts.base import Ask, Id, ShortName, Wire
from services.common.contracts.evaluator import Verdict
from services.common.contracts.generator import Condition

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class GateRequirement(Ask):
    """A comparison of the declared family whose verdict must be one of ``verdicts``."""

    condition: Condition
    metric: ShortName
    verdicts: Annotated[list[Verdict], Field(min_length=1, max_length=4)] = Field(
        default_factory=lambda: list[Verdict](("HELPS", "EQUIVALENT"))
    )


class GatePolicy(Ask):
    """What an arm must show to pass.

    No comparison of the declared family may say HURTS, under ``conditions`` on ``metrics`` (null:
    all of it). ``required`` ones must have been decided; null asks it of ``metrics`` under the
    condition a pipeline runs in: ``retrieved`` where it was declared. ``max_unscored_share`` is
    of the answers of the arm, and of its baseline, that never came.
    """

    conditions: Annotated[list[Condition], Field(min_length=1, max_length=4)] | None = None
    metrics: Annotated[list[ShortName], Field(min_length=1, max_length=16)] | None = None
    required: Annotated[list[GateRequirement], Field(max_length=64)] | None = None
    max_unscored_share: Annotated[float, Field(ge=0, le=1)] = 0.0


class GateFloor(GatePolicy):
    """What an operator asks of every arm on top of the caller's policy, which may ask for more.

    ``max_margin`` and ``max_alpha`` bound what the experiment counted as no difference, and how
    often it may err; the margin is one from 0 to 1, and a judge's count in proportion to what they
    are by default, 0.25 from 1 to 5 as 0.05. ``min_items`` are items asked, ``datasets`` the
    SHA-256 of test sets that count, ``baselines`` the models that an arm may be compared with.
    Null asks for nothing.
    """

    max_margin: Annotated[float, Field(gt=0)] | None = None
    max_alpha: Annotated[float, Field(gt=0, le=0.2)] | None = None
    min_items: Annotated[int, Field(ge=1)] | None = None
    datasets: Annotated[list[Sha256], Field(min_length=1)] | None = None
    baselines: Annotated[list[Id], Field(min_length=1)] | None = None


class GateCreate(Ask):
    """``arm`` may be left out where an experiment has one beside its baseline."""

    arm: ShortName | None = None
    policy: GatePolicy = Field(default_factory=GatePolicy)


class GateReason(Wire):
    """Why a gate stays shut; ``condition`` and ``metric`` where one comparison is at fault."""

    code: Literal[
        "hurts",
        "requirement_unmet",
        "not_compared",
        "unscored",
        "adapter_unproven",
        "below_floor",
    ]
    message: str
    condition: Condition | None = None
    metric: str | None = None


class Gate(Wire):
    """A verdict turned into yes or no, and kept: the same report and policy say the same again.

    ``policy`` is as it was applied, its nulls filled in, and ``floor`` what the operator asked
    besides; ``adapter_sha256`` is null for an arm that is no adapter.
    """

    id: str
    object: Literal["gate"] = "gate"
    experiment_id: str
    created_at: int
    created_by: str
    arm: str
    baseline: str
    model: str
    adapter_sha256: str | None
    passed: bool
    reasons: list[GateReason]
    policy: GatePolicy
    floor: GateFloor | None = None
