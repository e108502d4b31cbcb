"""Which words of an answer come from which passage.

A passage is cited where a run of the answer's words is found in it, in order and word for word. A
marker such as ``[2]`` in the answer is the model's own claim about the sentence before it: that
sentence is compared with passage 2 alone, and cited even where no words agree. ``[1, 2]`` claims
both. A claim of a passage that was not given bears nothing, and nothing is looked for in its place.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher

import anyio.to_thread

from services.common.contracts.generator import Citation, UsedPassage
from services.common.text import sentence_spans

MIN_WEIGHT = 3
"""A lighter run is a coincidence, unless it is all that its sentence says."""

_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")
_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_STOP_WORDS = """
a an and are as at be but by can could did do does for from had has have he her his how i if in into
is it its may more no not of on one or our she should so such than that the their them then there
these they this those to under up was we were what when where which who whom why will with would you
your
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Word:
    """A word in lower case and where it stands."""

    text: str
    start: int
    end: int

    @property
    def weight(self) -> int:
        """How much it says: nothing for a stop word, twice as much for a number or code."""
        if self.text in _STOP:
            return 0
        return 2 if any(map(str.isdigit, self.text)) else 1


@dataclass(frozen=True)
class _Run:
    """Characters of the answer, and of the passage they are found in."""

    weight: int
    passage: UsedPassage
    start: int
    end: int
    passage_start: int
    passage_end: int


def words_of(text: str) -> list[Word]:
    """``3,000`` and ``don't`` are one word each."""
    return [Word(m.group().casefold(), m.start(), m.end()) for m in _WORD.finditer(text)]


async def cited(answer: str, passages: Sequence[UsedPassage], question: str) -> list[Citation]:
    """:func:`cite` in a thread: a long answer and a full window of passages take a while."""
    return await anyio.to_thread.run_sync(cite, answer, passages, question)


def cite(answer: str, passages: Sequence[UsedPassage], question: str = "") -> list[Citation]:
    """Citations in the order of the answer: the markers' if there are any, else what is found.

    Runs that only repeat words of ``question`` say nothing about where the answer comes from.
    """
    # A marker is no word of the answer; spaces keep every other character where it is.
    plain = _MARKER.sub(lambda marker: " " * len(marker.group()), answer)
    asked = {word.text for word in words_of(question)}
    runs = list(_claimed(answer, plain, passages))
    if not runs and not _claims_another(answer, passages):
        runs = _found(plain, passages, asked)
    return [
        Citation(
            index=run.passage.index,
            passage_id=run.passage.id,
            start=run.start,
            end=run.end,
            passage_start=run.passage_start,
            passage_end=run.passage_end,
            quote=run.passage.text[run.passage_start : run.passage_end],
        )
        for run in runs
    ]


def _found(plain: str, passages: Sequence[UsedPassage], asked: Set[str]) -> list[_Run]:
    """Runs that do not overlap, the weightiest first; of two as good the higher ranked passage."""
    sentences = [words_of_span(plain, start, end) for start, end in sentence_spans(plain)]
    candidates: list[_Run] = []
    for passage in passages:
        matching = _Matching(passage)
        for said in sentences:
            least = min(MIN_WEIGHT, sum(word.weight for word in said))
            candidates += matching.runs(said, least=max(least, 1), asked=asked)
    candidates.sort(key=lambda run: (-run.weight, run.passage.index, run.start))
    kept: list[_Run] = []
    for run in candidates:
        if all(run.end <= other.start or run.start >= other.end for other in kept):
            kept.append(run)
    return sorted(kept, key=lambda run: run.start)


def _claimed(answer: str, plain: str, passages: Sequence[UsedPassage]) -> Iterator[_Run]:
    """One run for each passage of the prompt that a marker names.

    It is about the sentence it stands in or follows, up to the marker; several may stand together.
    """
    by_index = {passage.index: passage for passage in passages}
    for marker in _MARKER.finditer(answer):
        sentences = sentence_spans(plain[: marker.start()])
        if not sentences or _is_copied(marker[0], passages):
            continue
        start, end = sentences[-1]
        for number in _numbers(marker[1]):
            if (passage := by_index.get(number)) is not None:
                shared = _Matching(passage).runs(words_of_span(plain, start, end), least=1)
                whole = _Run(0, passage, start, end, 0, len(passage.text))
                yield max(shared, key=lambda run: run.weight, default=whole)


def _claims_another(answer: str, passages: Sequence[UsedPassage]) -> bool:
    """Whether a marker names a passage that the prompt did not hold."""
    given = {passage.index for passage in passages}
    return any(
        not given.issuperset(_numbers(marker[1])) and not _is_copied(marker[0], passages)
        for marker in _MARKER.finditer(answer)
    )


def _numbers(listed: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", listed)]


def _is_copied(marker: str, passages: Sequence[UsedPassage]) -> bool:
    """Whether it is an interval, or a reference of the passage's own, that was read there.

    A lone ``[1]`` that names a passage is a claim wherever else it may stand.
    """
    lone = marker[1:-1]
    named = lone.isdigit() and any(passage.index == int(lone) for passage in passages)
    return not named and any(marker in passage.text for passage in passages)


class _Matching:
    """One passage, ready to be compared with sentence after sentence."""

    def __init__(self, passage: UsedPassage) -> None:
        self._passage = passage
        self._told = words_of(passage.text)
        self._matcher: SequenceMatcher[str] = SequenceMatcher(autojunk=False)
        self._matcher.set_seq2([word.text for word in self._told])

    def runs(
        self, said: Sequence[Word], *, least: int, asked: Set[str] = frozenset()
    ) -> Iterator[_Run]:
        self._matcher.set_seq1([word.text for word in said])
        for at, told_at, size in self._matcher.get_matching_blocks():
            run = said[at : at + size]
            weight = sum(word.weight for word in run)
            if weight < least or all(word.text in asked for word in run if word.weight):
                continue
            told = self._told[told_at : told_at + size]
            yield _Run(
                weight, self._passage, run[0].start, run[-1].end, told[0].start, told[-1].end
            )


def words_of_span(text: str, start: int, end: int) -> list[Word]:
    return [Word(w.text, w.start + start, w.end + start) for w in words_of(text[start:end])]
