"""Scores of one answer that need no judge. Pure functions; ``None`` where one is not defined."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.evaluator.metrics.refusals import refuses
from services.evaluator.metrics.text import (
    content_words,
    holds,
    squad_tokens,
    words,
)


@dataclass(frozen=True)
class Sample:
    """One answer beside what it is measured by.

    ``references`` are right answers in full (at least one); ``aliases`` short forms of them, any
    of which will do; ``passages`` the texts the prompt held, None when it held none; ``citations``
    are pairs: a place in ``passages``, and the character of ``answer`` where what it bears begins.
    """

    answer: str
    references: Sequence[str]
    aliases: Sequence[str] = ()
    passages: Sequence[str] | None = None
    citations: Sequence[tuple[int, int]] = ()

    @property
    def right_answers(self) -> list[str]:
        return [*self.references, *self.aliases]


def exact_match(sample: Sample) -> float:
    """1 when the answer equals a right one after SQuAD's normalisation."""
    said = squad_tokens(sample.answer)
    return float(any(said == squad_tokens(right) for right in sample.right_answers))


def contains_answer(sample: Sample) -> float:
    """1 when a right answer or alias stands in the answer, whole words side by side."""
    said = words(sample.answer)
    return float(any(holds(said, words(right)) for right in sample.right_answers))


def _f1(said: tuple[str, ...], right: tuple[str, ...]) -> float:
    if not said or not right:
        return float(said == right)
    shared = sum((Counter(said) & Counter(right)).values())
    return 2 * shared / (len(said) + len(right))


def token_f1(sample: Sample) -> float:
    """SQuAD's F1 of tokens with their counts; the best over the right answers."""
    said = squad_tokens(sample.answer)
    return max(_f1(said, squad_tokens(right)) for right in sample.right_answers)


def answer_recall(sample: Sample) -> float | None:
    """Share of a reference's tokens the answer says, with their counts; the best over references.

    What token F1 leaves when a long answer is no fault: a reading of completeness.
    """
    said = Counter(squad_tokens(sample.answer))
    shares = [
        sum((said & Counter(tokens)).values()) / len(tokens)
        for reference in sample.references
        if (tokens := squad_tokens(reference))
    ]
    return max(shares, default=None)


def groundedness(sample: Sample) -> float | None:
    """Share of the answer's content words that stand in the passages it was given.

    None without passages, and for an answer that says nothing. The "K-precision" of Adlakha et
    al. 2024, without function words.
    """
    if not sample.passages:
        return None
    said = content_words(sample.answer)
    if not said:
        return None
    given = frozenset(word for passage in sample.passages for word in words(passage))
    return sum(word in given for word in said) / len(said)


def answer_length(sample: Sample) -> float:
    """Words of the answer, split at blanks."""
    return float(len(sample.answer.split()))


def refusal(sample: Sample) -> float:
    """1 when the answer is empty, or says that it does not know or was not told."""
    return float(refuses(sample.answer))
