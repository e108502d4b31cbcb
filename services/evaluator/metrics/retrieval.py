"""How good a ranked list of passages is, against the passages known to hold the answer."""

from collections.abc import Collection, Sequence


def hit_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """1 when any gold passage is among the first ``k``."""
    return float(any(passage in gold for passage in ranked[:k]))


def recall_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Share of the gold passages among the first ``k``; ``gold`` holds at least one."""
    wanted = set(gold)
    return len(wanted & set(ranked[:k])) / len(wanted)


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str]) -> float:
    """1 over the rank of the first gold passage, 0 when there is none."""
    return next((1 / rank for rank, passage in enumerate(ranked, 1) if passage in gold), 0.0)
