"""Overlap of sequences with a reference, by the field's packages. Pure functions, from 0 to 1."""

from functools import lru_cache
from typing import Any

from services.evaluator.metrics.answers import Sample

# The packages are imported at first use: an API need not wait for nltk, scipy and pandas.


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


@lru_cache(maxsize=1)
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)  # else an answer of three words has no score


@lru_cache(maxsize=1)
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def rouge_l(sample: Sample) -> float:
    """ROUGE-L's F (longest common subsequence, Porter stems; Lin 2004), the best over references.

    By Google's ``rouge-score``; aliases are left out, they are too short for a subsequence.
    """
    return max(
        float(_rouge().score(reference, sample.answer)["rougeL"].fmeasure)
        for reference in sample.references
    )


def bleu(sample: Sample) -> float:
    """Sentence BLEU against all references at once (Papineni et al. 2002), by ``sacrebleu``.

    Tokenised as WMT's 13a, exponential smoothing, orders up to the answer's own length.
    """
    found = _bleu().sentence_score(sample.answer, list(sample.references))
    return min(1.0, float(found.score) / 100)


def chrf(sample: Sample) -> float:
    """chrF: F2 of character n-grams up to 6 (Popović 2015), the best over references, by
    ``sacrebleu``."""
    found = _chrf().sentence_score(sample.answer, list(sample.references))
    return min(1.0, float(found.score) / 100)
