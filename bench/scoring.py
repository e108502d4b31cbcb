"""How well questions were answered by each ranker, and whether the hybrid lost to any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import ir_measures
import numpy as np
from ir_measures import RR, R, Success, nDCG

from bench.harness import Figure
from bench.questions import Questions
from bench.rankers import Found
from services.evaluator.statistics.paired import Contrast, Resampling, contrast

DEPTH = 10
MEASURES = {"hit@5": Success @ 5, "recall@10": R @ 10, "MRR": RR, "nDCG@10": nDCG @ 10}
OURS = "hybrid"

Scores = Mapping[str, Sequence[float]]
"""By measure, one for each question."""


def score(data: Questions, found: Found) -> Scores:
    qrels = {str(n): dict.fromkeys(asked.gold, 1) for n, asked in enumerate(data.asked)}
    run = {
        str(n): {id_: -float(place) for place, id_ in enumerate(ranked[:DEPTH])}
        for n, ranked in enumerate(found)
    }
    scores = {name: [0.0] * len(found) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    for each in ir_measures.iter_calc(list(names), qrels, run):
        scores[names[each.measure]][int(each.query_id)] = each.value
    return scores


@dataclass(frozen=True)
class Lead:
    """How far the hybrid is ahead of the best of the others, over the questions' documents."""

    against: str
    ours: float
    theirs: float
    contrast: Contrast

    @cached_property
    def interval(self) -> tuple[float, float]:
        return self.contrast.interval(0.95)

    @property
    def verdict(self) -> str:
        low, high = self.interval
        return "above" if low > 0 else "below" if high < 0 else "level"


@dataclass(frozen=True)
class Quality:
    """``scores`` are by ranker, the hybrid's among them."""

    data: Questions
    scores: Mapping[str, Scores]

    def mean(self, ranker: str, measure: str) -> float:
        return float(np.mean(self.scores[ranker][measure]))

    @cached_property
    def leads(self) -> dict[str, Lead]:
        """By measure."""
        how = Resampling(resamples=10_000, permutations=1_000, seed=0)
        labels = self.data.documents()
        leads = {}
        for measure in MEASURES:
            others = [ranker for ranker in self.scores if ranker != OURS]
            best = max(others, key=lambda ranker: self.mean(ranker, measure))
            pairs = zip(self.scores[OURS][measure], self.scores[best][measure], strict=True)
            differences = [ours - theirs for ours, theirs in pairs]
            leads[measure] = Lead(
                best,
                self.mean(OURS, measure),
                self.mean(best, measure),
                contrast(differences, labels, how=how),
            )
        return leads

    def figures(self) -> list[Figure]:
        """A measure that nobody scores at has no ratio, and no figure."""
        return [
            Figure(
                f"{self.data.name}: {measure}, against {lead.against}",
                "of 1",
                lead.ours,
                lead.theirs,
                ">=1.0",
            )
            for measure, lead in self.leads.items()
            if lead.theirs
        ]
