"""The reference metrics: what each is called, how it reads, and which way is better."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from services.evaluator.metrics.answers import (
    Sample,
    answer_length,
    answer_recall,
    contains_answer,
    exact_match,
    groundedness,
    refusal,
    token_f1,
)
from services.evaluator.metrics.citations import citation_precision, citation_recall
from services.evaluator.metrics.ngrams import bleu, chrf, rouge_l
from services.evaluator.statistics.scales import UNIT, Scale

__all__ = ["METRICS", "SIMILARITY", "Metric", "Sample", "score", "score_all", "unscored"]

SIMILARITY = "semantic_similarity"
"""Scored many at once, by a model, where the service has one."""

ScoreMany = Callable[[Sequence[Sample]], Sequence[float]]


@dataclass(frozen=True)
class Metric:
    """``higher_is_better`` is None for what is described only: no side of it is the better one.

    ``function`` is None for what is scored many at once or by a judge. ``judged`` is a judge's
    scale, ``trusted`` false where the judge has not passed its exam.
    """

    name: str
    function: Callable[[Sample], float | None] | None
    description: str
    scale: Literal["0..1", "words", "judged"] = "0..1"
    judged: Scale | None = None
    trusted: bool = True
    binary: bool = False
    higher_is_better: bool | None = True

    @property
    def range(self) -> Scale | None:
        """The scale its scores lie on; None where they have no highest."""
        return UNIT if self.scale == "0..1" else self.judged

    @property
    def may_decide(self) -> bool:
        """Whether it may be primary: a verdict needs a better side, and a scale to have a margin
        on."""
        return self.higher_is_better is not None and self.scale != "words"


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                "contains_answer",
                contains_answer,
                "share of answers in which a right answer stands, word for word",
                binary=True,
            ),
            Metric(
                "token_f1", token_f1, "overlap of words with the right answer; brevity helps it"
            ),
            Metric("exact_match", exact_match, "share of answers that equal it", binary=True),
            Metric("rouge_l", rouge_l, "longest common subsequence with the reference"),
            Metric("bleu", bleu, "n-grams of words shared with the references; brevity costs"),
            Metric("chrf", chrf, "n-grams of characters shared with the reference"),
            Metric("answer_recall", answer_recall, "share of the reference's words that are said"),
            Metric(
                "groundedness",
                groundedness,
                "share of the answer's content words found in its passages",
            ),
            Metric(
                "citation_recall",
                citation_recall,
                "share of sentences borne by the passages they cite",
            ),
            Metric(
                "citation_precision",
                citation_precision,
                "share of citations that bear their sentence",
            ),
            Metric(SIMILARITY, None, "cosine of the meaning's embedding with the reference's"),
            Metric(
                "refusal",
                refusal,
                "share of answers that decline, or are empty",
                binary=True,
                higher_is_better=False,
            ),
            Metric(
                "answer_length",
                answer_length,
                "words an answer has",
                scale="words",
                higher_is_better=None,
            ),
        )
    }
)


def score(sample: Sample) -> dict[str, float | None]:
    """Every metric of one answer that needs no model."""
    return {
        metric.name: metric.function(sample) if metric.function else None
        for metric in METRICS.values()
    }


def score_all(
    samples: Sequence[Sample], similarity: ScoreMany | None = None
) -> list[dict[str, float | None]]:
    """Every metric of every answer; semantic similarity where there is a model for it."""
    scores = [score(sample) for sample in samples]
    if similarity is not None and samples:
        for each, value in zip(scores, similarity(samples), strict=True):
            each[SIMILARITY] = value
    return scores


def unscored() -> dict[str, float | None]:
    """What an answer that never came is given: nothing, which is not zero."""
    return dict.fromkeys(METRICS)
