"""How good ranked lists of passages are, against the passages known to hold the answers.

By ``ir-measures`` over ``pytrec_eval``, which is NIST's trec_eval: two wheels, where ``ranx``
brings numba, ir_datasets, fastparquet and seven more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

DEPTH = 10
"""Ranks that nDCG looks at."""


@dataclass(frozen=True)
class Ranked:
    """``found`` are passage ids, best first; ``gold`` those that hold the answer, at least one."""

    found: Sequence[str]
    gold: Collection[str]


@dataclass(frozen=True)
class Quality:
    """Means over lists: any gold passage among the first ``k``; share of the gold there; 1 over the
    rank of the first there, 0 when there is none; nDCG at ``DEPTH`` with binary gains."""

    hit: float
    recall: float
    mrr: float
    ndcg: float


def quality(lists: Sequence[Ranked], k: int) -> Quality:
    """Over at least one list; what is found twice counts once, at its first place."""
    import ir_measures
    from ir_measures import RR, R, Success, nDCG

    qrels = {str(n): dict.fromkeys(ranked.gold, 1) for n, ranked in enumerate(lists)}

    def run(depth: int) -> dict[str, dict[str, float]]:
        return {
            str(n): {id_: -float(at) for at, id_ in enumerate(dict.fromkeys(ranked.found[:depth]))}
            for n, ranked in enumerate(lists)
        }

    near = ir_measures.calc_aggregate([Success @ k, R @ k, RR], qrels, run(k))
    far = ir_measures.calc_aggregate([nDCG @ DEPTH], qrels, run(DEPTH))
    return Quality(near[Success @ k], near[R @ k], near[RR], far[nDCG @ DEPTH])
