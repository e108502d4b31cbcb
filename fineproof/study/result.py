"""What a study says, as ``study.json`` has it: three questions, each with its rows."""

from typing import Literal

from pydantic import Field

from services.common.contracts.base import Wire
from services.common.contracts.evaluator import Verdict
from services.common.contracts.findings import SizePoint
from services.common.contracts.generator import Condition


class StudyRun(Wire):
    """One experiment of the study: a base model on a data set."""

    folder: str
    experiment_id: str
    model: str
    dataset: str
    dataset_sha256: str
    items: int
    clusters: int
    unscored: int
    headline: str
    warnings: list[str]


class TuningEffect(Wire):
    """Tuned against base, as the experiment's own report has it: corrected for its own family."""

    dataset: str
    model: str
    arm: str
    metric: str
    base: float
    tuned: float
    diff: float
    ci95: tuple[float, float]
    p_holm: float | None
    verdict: Verdict
    margin: float
    n: int
    clusters: int
    unscored: int
    note: str | None


class Weighed(Wire):
    """A mean paired difference over the ``n`` items that have every score it takes.

    ``unscored`` counts the missing scores of items left out; ``bounds`` is where ``diff`` would lie
    whatever those were, null where none is missing. ``p_holm`` is corrected for all rows of its
    table.
    """

    diff: float
    ci95: tuple[float, float]
    p: float
    p_holm: float
    verdict: Verdict
    margin: float
    n: int
    clusters: int
    unscored: int
    bounds: tuple[float, float] | None
    note: str | None


class SizeTest(Weighed):
    """``diff`` is the arm tuned on the most pairs less the one tuned on the fewest."""

    fewest: int
    most: int
    arms: tuple[str, str]


class SizeEffect(Wire):
    """Scores by number of training pairs, 0 the base model; no ``test`` with one tuned size."""

    dataset: str
    model: str
    metric: str
    recipe: str
    points: list[SizePoint]
    test: SizeTest | None


class ModelEffect(Wire):
    """Tuned less base, averaged over ``arms``: those that another base model has made alike."""

    dataset: str
    model: str
    metric: str
    arms: list[str]
    diff: float
    ci95: tuple[float, float]
    margin: float
    n: int
    clusters: int
    unscored: int


class ModelContrast(Weighed):
    """``diff`` is the effect of tuning on the first of ``models`` less that on the second, averaged
    over ``arms``, which both have made alike.

    HURTS: the first loses more, or gains less; HELPS: the second does. ``suffers_more`` names it,
    and is null where that cannot be told or the effects are as good as equal.
    """

    dataset: str
    metric: str
    models: tuple[str, str]
    arms: list[str]
    suffers_more: str | None


class Answers(Wire):
    """A sentence for each of the three questions of arXiv 2406.11201."""

    tuning: str
    sizes: str
    models: str


class Study(Wire):
    version: Literal[1] = 1
    condition: Condition
    alpha: float
    answers: Answers
    runs: list[StudyRun]
    tuning: list[TuningEffect]
    sizes: list[SizeEffect]
    models: list[ModelContrast]
    model_effects: list[ModelEffect]
    notes: list[str] = Field(default_factory=list)
