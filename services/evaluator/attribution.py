"""Why an answer got worse: rules over one item's answers under the conditions. Pure functions.

An answer is *lost* when, on the first declared metric where that is so, the baseline was right and
the arm is wrong (a metric of 0 and 1), or the arm is worse by more than the margin. Answers given
passages are attributed, to the first of these that holds:

1. ``answer_cut_short``: the arm's answer ended at ``max_tokens``.
2. ``format``: the answer is blank, or says as much of the reference as the baseline's did; what was
   lost is its form.
3. ``retrieval_missed``: the prompt held no gold passage (none that holds a right answer, where the
   item names no evidence): the baseline knew better without.
4. ``parametric_override``: the answer is the one the arm gives closed book, and words of it stand
   in no passage: it said what it knows in place of what it was shown.
5. ``context_ignored``: what remains. The gold was there, and the arm declined, or said what is in
   no passage, or read another passage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.common.contracts.findings import Attribution, Cause
from services.evaluator.metrics import Metric
from services.evaluator.metrics.text import content_words, holds, words

_SAME = 0.8  # token F1 from which two answers say the same thing
_GROUNDED = 0.5  # share of an answer's content words in the passages from which it was read there

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class Said:
    """One answer; ``scores`` by metric, None unscored."""

    text: str
    finish_reason: str | None
    scores: Scores


@dataclass(frozen=True)
class Given:
    """What a prompt held: ids and texts of its passages, and the item's gold and right answers."""

    passage_ids: Sequence[str]
    passages: Sequence[str]
    evidence_ids: Sequence[str]
    right_answers: Sequence[str]

    @property
    def holds_gold(self) -> bool:
        if self.evidence_ids:
            return not set(self.evidence_ids).isdisjoint(self.passage_ids)
        wanted = [words(right) for right in self.right_answers]
        return any(holds(words(text), right) for text in self.passages for right in wanted)


def lost_metric(
    base: Scores, tuned: Scores, metrics: Sequence[Metric], margins: Mapping[str, float]
) -> str | None:
    """The first of ``metrics`` on which ``tuned`` is worse; None when it lost nothing."""
    for metric in metrics:
        before, after = base.get(metric.name), tuned.get(metric.name)
        if before is None or after is None or metric.higher_is_better is None:
            continue
        worse = before - after if metric.higher_is_better else after - before
        if worse > (0 if metric.binary else margins[metric.name]):
            return metric.name
    return None


def attribute(
    metric: str, base: Said, tuned: Said, given: Given, *, closed_book: str | None
) -> Attribution:
    """Why ``tuned`` is worse than ``base`` though both were given the same passages.

    ``closed_book`` is what the arm says without passages, None where that was not asked.
    """
    cause, reason = _cause(base, tuned, given, closed_book)
    return Attribution(cause=cause, metric=metric, reason=reason)


def _cause(base: Said, tuned: Said, given: Given, closed_book: str | None) -> tuple[Cause, str]:
    if tuned.finish_reason == "length":
        return "answer_cut_short", "The answer ended at max_tokens."
    if not tuned.text.strip():
        return "format", "The answer is blank."
    if _says_as_much(base, tuned):
        return "format", "It says as much of the reference as the baseline's, in another form."
    if not given.holds_gold:
        return "retrieval_missed", "No passage in the prompt holds the answer."
    grounded = _grounded(tuned.text, given.passages)
    if closed_book is not None and grounded < 1 and _same(tuned.text, closed_book):
        return "parametric_override", "It says what it says closed book, against its passages."
    if tuned.scores.get("refusal"):
        return "context_ignored", "It declines, though the answer was in the prompt."
    if grounded < _GROUNDED:
        return "context_ignored", "Most of its words stand in no passage."
    return "context_ignored", "The answer was in the prompt, and it read something else there."


def _says_as_much(base: Said, tuned: Said) -> bool:
    contains = [said.scores.get("contains_answer") for said in (base, tuned)]
    if contains[1]:
        return True
    if contains[0]:
        return False
    recall = [said.scores.get("answer_recall") for said in (base, tuned)]
    return bool(recall[1]) and recall[0] is not None and (recall[1] or 0) >= recall[0]


def _grounded(text: str, passages: Sequence[str]) -> float:
    said = content_words(text)
    given = {word for passage in passages for word in words(passage)}
    return sum(word in given for word in said) / len(said) if said else 0.0


def _same(one: str, other: str) -> bool:
    first, second = set(words(one)), set(words(other))
    if not first or not second:
        return False
    return 2 * len(first & second) / (len(first) + len(second)) >= _SAME
