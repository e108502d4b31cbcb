"""``search.json``: what a search tried, why, and what came of it."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel

from fineproof.exits import BAD, GOOD, UNDECIDED
from fineproof.tuning.candidates import Candidate
from fineproof.tuning.choosing import Best, Round, advice, estimate, family, standing
from fineproof.tuning.halves import Half, Halves
from services.common.contracts.evaluator import Report, Verdict
from services.common.contracts.generator import Condition

FILE = "search.json"


class Compared(BaseModel):
    """A declared metric: the means of base and candidate, and their difference."""

    metric: str
    base: float
    tuned: float
    diff: float
    ci95: tuple[float, float]
    verdict: Verdict
    n_needed: int | None


class Measured(BaseModel):
    """A candidate beside the base on one half; ``verdict`` is over all of ``comparisons``, and
    ``estimate`` their mean difference, null where nothing could be compared. ``warnings`` are the
    report's, such as of test questions in the training data, which halves do not keep apart."""

    candidate: Candidate
    adapter: str
    experiment_id: str
    verdict: Verdict
    estimate: float | None
    comparisons: list[Compared]
    warnings: list[str] = []

    @classmethod
    def of(cls, candidate: Candidate, report: Report) -> Self:
        fields = Compared.model_fields
        compared = [
            Compared.model_validate(one.model_dump(include=set(fields))) for one in family(report)
        ]
        return cls(
            candidate=candidate,
            adapter=adapter_of(report),
            experiment_id=report.experiment_id,
            verdict=standing(report),
            estimate=estimate(report) if compared else None,
            comparisons=compared,
            warnings=report.warnings,
        )


class Tried(BaseModel):
    """``because`` says why it was this candidate's turn, ``advice`` what no candidate can mend."""

    round: int
    because: str
    measured: Measured
    advice: list[str]

    @classmethod
    def of(cls, number: int, found: Round, because: str) -> Self:
        return cls(
            round=number,
            because=because,
            measured=Measured.of(found.candidate, found.report),
            advice=[f"{one.advice} {one.because}" for one in advice(found)],
        )


class Part(BaseModel):
    """A half of the questions, by the documents they are about."""

    questions: int
    documents: int
    sha256: str

    @classmethod
    def of(cls, half: Half) -> Self:
        data = half.dataset
        return cls(questions=data.items, documents=half.documents, sha256=data.sha256)


class Confirmed(BaseModel):
    """``round`` is the one whose adapter was measured again, on questions nothing was chosen by."""

    round: int
    because: str
    measured: Measured


class Search(BaseModel):
    """``verdict`` is the confirmation's; it and ``exit_code`` are null while the search goes on.
    ``ended`` says why no further round was run."""

    data: str
    seed: int
    condition: Condition
    metrics: list[str]
    rounds_allowed: int
    search: Part
    confirmation: Part
    notes: list[str]
    rounds: list[Tried] = []
    ended: str | None = None
    confirmed: Confirmed | None = None
    adapter: str | None = None
    verdict: Verdict | None = None
    exit_code: int | None = None

    @classmethod
    def begun(
        cls,
        halves: Halves,
        *,
        seed: int,
        condition: Condition,
        metrics: list[str],
        rounds_allowed: int,
        notes: list[str],
    ) -> Self:
        return cls(
            data=halves.search.dataset.name,
            seed=seed,
            condition=condition,
            metrics=metrics,
            rounds_allowed=rounds_allowed,
            search=Part.of(halves.search),
            confirmation=Part.of(halves.confirmation),
            notes=notes,
        )

    def confirm(self, best: Best, report: Report) -> None:
        measured = Measured.of(best.round.candidate, report)
        self.confirmed = Confirmed(round=best.number, because=best.because, measured=measured)
        self.adapter = measured.adapter
        self.verdict = measured.verdict
        self.exit_code = {"HELPS": GOOD, "HURTS": BAD}.get(measured.verdict, UNDECIDED)

    def write(self, folder: Path) -> None:
        partial = folder / f"{FILE}.partial"
        partial.write_text(self.model_dump_json(indent=2) + "\n")
        partial.replace(folder / FILE)


def adapter_of(report: Report) -> str:
    """The name of the adapter that answered for the one tuned arm."""
    return next(arm.model for arm in report.arms if arm.name != report.spec.baseline)
