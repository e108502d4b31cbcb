"""The reference metrics: what each is called, how it reads, and which way is better."""

from collections.abc import Callable, Mapping
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
    rouge_l,
    token_f1,
)

__all__ = ["METRICS", "Metric", "Sample", "score", "unscored"]


@dataclass(frozen=True)
class Metric:
    """``higher_is_better`` is None for what is described only: no side of it is the better one."""

    name: str
    function: Callable[[Sample], float | None]
    description: str
    scale: Literal["0..1", "words"] = "0..1"
    binary: bool = False
    higher_is_better: bool | None = True

    @property
    def may_decide(self) -> bool:
        """Whether it may be primary: a verdict needs a better side and the margin's scale."""
        return self.higher_is_better is not None and self.scale == "0..1"


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
            Metric("answer_recall", answer_recall, "share of the reference's words that are said"),
            Metric(
                "groundedness",
                groundedness,
                "share of the answer's content words found in its passages",
            ),
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
    """Every metric of one answer."""
    return {metric.name: metric.function(sample) for metric in METRICS.values()}


def unscored() -> dict[str, float | None]:
    """What an answer that never came is given: nothing, which is not zero."""
    return dict.fromkeys(METRICS)
