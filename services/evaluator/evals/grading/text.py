"""How alike two texts are, from 0 to 1, by the field's own packages."""

from collections.abc import Callable
from functools import cache
from typing import Any

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from services.evaluator.evals.graders import Similarity

MOST_TEXT = 20_000
"""Characters of either text: METEOR takes time by the product of the lengths."""


def similarity(metric: Similarity, text: str, reference: str) -> float:
    """``ValueError`` for texts longer than ``MOST_TEXT``. ``cosine`` is not among them: it needs a
    model.

    An empty text is 0 like any other, and 1 like another empty one.
    """
    if max(len(text), len(reference)) > MOST_TEXT:
        raise ValueError(f"texts of more than {MOST_TEXT} characters are not compared")
    if not text.strip() or not reference.strip():
        return float(text.strip() == reference.strip())
    if metric == "rouge_l":
        return _rouge_l(text, reference)
    if metric.startswith("rouge_"):
        return _rouge(metric, text, reference)
    return min(1.0, max(0.0, _MEASURES[metric](text, reference)))


def _fuzzy(text: str, reference: str) -> float:
    """Share of characters that stay in the cheapest edit by insertions and deletions."""
    return float(fuzz.ratio(text, reference)) / 100


def _bleu(text: str, reference: str) -> float:
    """Sentence BLEU of sacreBLEU (Post 2018), with its own tokens, smoothing and short texts'
    effective order."""
    from sacrebleu import sentence_bleu

    return float(sentence_bleu(text, [reference]).score) / 100


def _gleu(text: str, reference: str) -> float:
    """Google-BLEU (Wu et al. 2016) over words apart by blanks, as nltk has it."""
    from nltk.translate.gleu_score import sentence_gleu

    return float(sentence_gleu([reference.split()], text.split()))


class _NoSynonyms:
    """METEOR's third stage looks synonyms up in WordNet, which is a download."""

    def synsets(self, *_: Any, **__: Any) -> list[Any]:
        return []


def _meteor(text: str, reference: str) -> float:
    """METEOR (Banerjee and Lavie 2005) with its exact and stem stages, without synonyms."""
    from nltk.translate.meteor_score import meteor_score

    return float(meteor_score([reference.split()], text.split(), wordnet=_NoSynonyms()))


def _rouge(metric: Similarity, text: str, reference: str) -> float:
    """ROUGE's F-measure (Lin 2004), without stemming, as rouge-score has it."""
    name = metric.replace("rouge_", "rouge")
    return float(_scorer(name).score(reference, text)[name].fmeasure)


def _rouge_l(text: str, reference: str) -> float:
    """As rouge-score has it, by its tokens; its table of the longest common subsequence takes 8
    bytes for each pair of them, rapidfuzz a bit."""
    from rouge_score.scoring import fmeasure
    from rouge_score.tokenize import tokenize

    said, wanted = tokenize(text, None), tokenize(reference, None)
    if not said or not wanted:
        return 0.0
    common = LCSseq.similarity(said, wanted)
    return float(fmeasure(common / len(said), common / len(wanted)))


@cache
def _scorer(name: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=False)


_MEASURES: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": _fuzzy,
    "bleu": _bleu,
    "gleu": _gleu,
    "meteor": _meteor,
}
