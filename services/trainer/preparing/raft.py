"""Recipe ``raft``: retrieval-augmented fine-tuning (Zhang et al. 2024, arXiv 2403.10131).

A prompt shows the gold passages of its question among distractors that the retriever really
returns for it, and the answer to learn quotes what supports it. A share 1 - p of the prompts shows
distractors alone. In one thing this leaves the paper: there the answer quotes its gold passage even
where the prompt does not show it, which teaches to invent quotations; here it says that no passage
supports it.
"""

import random
from collections.abc import Sequence

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.hyperparameters import Raft, Retrieval
from services.common.contracts.retriever import Passage, SearchResult
from services.common.prompts import (
    UNSUPPORTED,
    PassageText,
    render_messages,
    render_quote,
    render_reasoned,
)
from services.common.text import sentence_spans, squad_normalise
from services.trainer.preparing.examples import Example, Pair
from services.trainer.preparing.rendering import ContextPassage, Rendered, gold_passages, search

MAX_RESULTS = 50
"""Passages that the retriever gives for one question at most."""

Found = tuple[str | None, PassageText]
"""A passage with its id, which one that a row brings along has not."""


class WithDistractors:
    """Rows that bring their own ``context`` keep it: its first passage is the gold one."""

    def __init__(
        self, retriever: RetrieverClient, asked: Retrieval, raft: Raft, *, seed: int
    ) -> None:
        self._retriever = retriever
        self._asked = asked
        self._raft = raft
        self._seed = seed

    async def render(self, examples: Sequence[Example]) -> list[Rendered]:
        pairs = [example for example in examples if isinstance(example, Pair)]
        asking = [pair for pair in pairs if not pair.context]
        golds = max((len(set(pair.evidence_ids)) for pair in asking), default=0)
        limit = min(MAX_RESULTS, self._raft.distractors + golds)
        found = await search(self._retriever, self._asked, asking, limit=limit)
        gold = await gold_passages(self._retriever, self._asked.vector_store_id, asking)
        return [
            self._rendered(pair, *_brought(pair))
            if pair.context
            else self._rendered(pair, *_told_apart(pair, found[pair.line], gold))
            for pair in pairs
        ]

    def _rendered(self, pair: Pair, gold: list[Found], others: list[Found]) -> Rendered:
        dice = random.Random(f"{self._seed}:{pair.line}")  # noqa: S311
        keeps_gold = dice.random() < self._raft.p
        distractors = others[: self._raft.distractors]
        shown = [*gold, *distractors] if keeps_gold or not distractors else distractors
        dice.shuffle(shown)
        supporting = [(n, found[1]) for n, found in enumerate(shown, 1) if found in gold]
        return Rendered(
            line=pair.line,
            prompt=render_messages(pair.question, [passage for _, passage in shown]),
            completion=render_reasoned(pair.reasoning or reason(pair, supporting), pair.answer),
            passages=len(shown),
            passage_ids=[key for key, _ in shown if key is not None],
            lacks_gold=not gold,
        )


def _brought(pair: Pair) -> tuple[list[Found], list[Found]]:
    gold, *others = [(None, ContextPassage(text)) for text in pair.context]
    return [gold], [*others]


def _told_apart(
    pair: Pair, found: Sequence[SearchResult], held: dict[str, Passage]
) -> tuple[list[Found], list[Found]]:
    """Gold passages, and what was found that is none, in the retriever's order.

    A passage that says word for word what a gold one says is no distractor.
    """
    keys = [key for key in dict.fromkeys(pair.evidence_ids) if key in held]
    told = {held[key].text for key in keys}
    others = [
        result for result in found if result.passage_id not in keys and result.text not in told
    ]
    return [(key, held[key]) for key in keys], [(other.passage_id, other) for other in others]


def reason(pair: Pair, supporting: Sequence[tuple[int, PassageText]]) -> str:
    """Why ``pair``'s answer is right, by the passages of the prompt that support it."""
    sentences = [
        (number, passage.text[start:end])
        for number, passage in supporting
        for start, end in sentence_spans(passage.text)
    ]
    if not sentences:
        return UNSUPPORTED
    return render_quote(*max(sentences, key=lambda sentence: _support(pair, sentence[1])))


def _support(pair: Pair, sentence: str) -> tuple[float, float]:
    """How well a sentence supports the answer: the share of the answer's words that it holds, then
    token F1 with question and answer, as SQuAD counts words."""
    said = set(squad_normalise(sentence).split())
    answer = set(squad_normalise(pair.answer).split())
    asked = answer | set(squad_normalise(pair.question).split())
    recall = len(said & answer) / max(len(answer), 1)
    return recall, 2 * len(said & asked) / max(len(said) + len(asked), 1)
