"""What each stage of a search did: who stood where by which score, and how long it took."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.common.contracts import retriever as wire
from services.retriever.ranking import K, Scored, of_best

RANKINGS: dict[wire.SearchMode, tuple[wire.RankingStage, ...]] = {
    "hybrid": ("vector", "text"),
    "vector": ("vector",),
    "text": ("text",),
}


class Clock:
    def __init__(self) -> None:
        self._seconds: dict[wire.SearchStage, float] = {}
        self.scan: wire.Scan | None = None

    @contextmanager
    def stage(self, name: wire.SearchStage) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def read(self) -> list[wire.StageTime]:
        return [
            wire.StageTime(
                stage=name,
                milliseconds=round(1_000 * spent, 3),
                scan=self.scan if name == "vector" else None,
            )
            for name, spent in self._seconds.items()
        ]


def fusion(options: wire.RankingOptions) -> wire.Fusion:
    """How two rankings are to be merged: evenly, where nothing else is asked for."""
    vector, text = 1.0, 1.0
    if (asked := options.hybrid_search) is not None:
        vector, text = asked.embedding_weight, asked.text_weight
    total = vector + text
    return wire.Fusion(k=K, embedding_weight=vector / total, text_weight=text / total)


def placements(
    rankings: Sequence[Sequence[Sequence[Scored]]], stages: Sequence[wire.RankingStage]
) -> dict[int, list[wire.Placement]]:
    """By passage, its places in each query's rankings, one a stage."""
    places: dict[int, list[wire.Placement]] = {}
    for number, of_query in enumerate(rankings):
        for stage, ranking in zip(stages, of_query, strict=True):
            for rank, (pk, score) in enumerate(ranking, start=1):
                place = wire.Placement(
                    stage=stage,
                    query=number,
                    rank=rank,
                    score=score,
                    of_best=of_best(score, ranking),
                )
                places.setdefault(pk, []).append(place)
    return places
