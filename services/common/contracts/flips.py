"""The evaluator's wire of flips: the items behind a difference, with what both arms said."""

from typing import Literal

from services.common.contracts.base import Wire
from services.common.contracts.findings import Attribution
from services.common.contracts.generator import Condition

Outcome = Literal["lost", "gained", "all"]


class FlipPassage(Wire):
    id: str
    doc_id: str | None = None
    title: str = ""
    text: str


class FlipAnswer(Wire):
    """What one arm said; ``score`` is on the metric asked for, ``scores`` on all."""

    arm: str
    model: str
    adapter_sha256: str | None
    answer: str | None
    finish_reason: str | None
    score: float
    scores: dict[str, float | None]


class Flip(Wire):
    """An item on which an arm scores otherwise than its baseline. ``id`` is the item's.

    ``repeat``, and the arms' ``adapter_sha256``, tell which of its answers it is: the two with the
    largest change. ``change`` is tuned minus base; ``outcome`` says whether that is the better
    side. ``passages`` are those that the prompts held, best first; ``attribution`` says why a lost
    answer was lost, by the metric it names.
    """

    id: str
    object: Literal["experiment.flip"] = "experiment.flip"
    cluster: str
    condition: Condition
    metric: str
    outcome: Literal["lost", "gained"]
    change: float
    question: str
    reference: str
    repeat: int = 0
    base: FlipAnswer
    tuned: FlipAnswer
    passages: list[FlipPassage]
    attribution: Attribution | None = None
