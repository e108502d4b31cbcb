"""Whether what an answer cites bears what it says: ALCE's citation recall and precision.

After Gao et al. 2023 (arXiv 2305.14627). A *statement* is a sentence with content words. Where ALCE
asks a model of entailment, support here is lexical: ``SUPPORT`` of a statement's content words
and all its numbers stand in the passages. What is only a paraphrase counts as unsupported.

Citations are the generator's: the model's own markers such as ``[2]`` where there are any, else
what it matched word for word, whose precision is high by construction. A marker of a passage that
was not given is a citation that bears nothing. A refusal states nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.common.text import sentence_spans
from services.evaluator.metrics.answers import Sample, refusal
from services.evaluator.metrics.text import content_words, words

SUPPORT = 2 / 3
_MARKER = re.compile(r"\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\]")


@dataclass(frozen=True)
class _Statement:
    """What one sentence says, and the words of each passage it cites, once each; ``void`` counts
    the passages it names that were not given."""

    said: tuple[str, ...]
    cited: Sequence[frozenset[str]]
    void: int

    def borne_by(self, passages: Sequence[frozenset[str]]) -> bool:
        given = frozenset[str]().union(*passages)
        found = sum(word in given for word in self.said)
        numbers = (word for word in self.said if any(map(str.isdigit, word)))
        return found >= SUPPORT * len(self.said) and all(number in given for number in numbers)

    @property
    def is_borne(self) -> bool:
        return bool(self.cited) and self.borne_by(self.cited)

    def needs(self, place: int) -> bool:
        """Whether the citation bears the statement alone, or the others do not without it."""
        others = [*self.cited[:place], *self.cited[place + 1 :]]
        return self.borne_by([self.cited[place]]) or not self.borne_by(others)


def _statements(sample: Sample) -> Iterator[_Statement]:
    passages = sample.passages or ()
    # A marker is no word of the sentence; blanks keep the places that citations name.
    plain = _MARKER.sub(lambda marker: " " * len(marker.group()), sample.answer)
    spans = sentence_spans(plain)
    ends = [start for start, _ in spans[1:]] + [len(plain)]
    for (start, end), until in zip(spans, ends, strict=True):
        said = content_words(plain[start:end])
        if said:
            places = dict.fromkeys(passage for passage, at in sample.citations if start <= at < end)
            cited = [frozenset(words(passages[place])) for place in places if place < len(passages)]
            yield _Statement(said, cited, _void(sample.answer[start:until], passages))


def _void(text: str, passages: Sequence[str]) -> int:
    """Numbers in markers that count no passage; those that were read in one are no markers."""
    return sum(
        not 1 <= int(number) <= len(passages)
        for marker in _MARKER.finditer(text)
        if not any(marker[0] in passage for passage in passages)
        for number in re.findall(r"\d+", marker[0])
    )


def citation_recall(sample: Sample) -> float | None:
    """Share of statements that the passages they cite bear together.

    None without passages, and where nothing is stated.
    """
    if not sample.passages or refusal(sample):
        return None
    borne = [statement.is_borne for statement in _statements(sample)]
    return sum(borne) / len(borne) if borne else None


def citation_precision(sample: Sample) -> float | None:
    """Share of citations in statements that are borne, and that this one is needed for.

    None where nothing is cited.
    """
    if not sample.passages or refusal(sample):
        return None
    statements = list(_statements(sample))
    good = [
        statement.is_borne and statement.needs(place)
        for statement in statements
        for place in range(len(statement.cited))
    ]
    made = len(good) + sum(statement.void for statement in statements)
    return sum(good) / made if made else None
