"""Examples made into the prompts a model is trained on, worded as they are when it serves."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.base import Key
from services.common.contracts.hyperparameters import Retrieval
from services.common.contracts.retriever import BatchQuery, ComparisonFilter, Passage, SearchResult
from services.common.prompts import PassageText, render_messages
from services.trainer.preparing.examples import Conversation, Example, Pair, Preference
from services.trainer.preparing.tokens import TokenCounter

MAX_QUERY = 20_000
"""Characters of a question that the retriever takes."""
GOLD_BATCH = 5_000

_ID: TypeAdapter[str] = TypeAdapter(Key)


@dataclass(frozen=True, slots=True)
class ContextPassage:
    """A passage that a row brings along."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One training prompt: chat messages, what the assistant should say, and how many passages it
    shows; ``passage_ids`` are of those that came from the vector store. ``lacks_gold`` when the row
    names gold passages and the store holds none. ``rejected`` is the answer that the completion is
    preferred to."""

    line: int
    prompt: list[dict[str, str]]
    completion: str
    passages: int = 0
    passage_ids: list[str] = field(default_factory=list)
    lacks_gold: bool = False
    rejected: str | None = None


def lengths_of(rendered: Sequence[Rendered], counter: TokenCounter) -> list[tuple[int, int]]:
    """Tokens of each prompt and of its answer, or of the longer of its two."""
    lengths = counter.examples([(each.prompt, each.completion) for each in rendered])
    others = [(each.prompt, each.rejected) for each in rendered if each.rejected is not None]
    if not others:
        return lengths
    return [max(both) for both in zip(lengths, counter.examples(others), strict=True)]


class Recipe(Protocol):
    async def render(self, examples: Sequence[Example]) -> list[Rendered]: ...


class ClosedBook:
    """Recipe ``qa``, the paper's: the question alone. A conversation is kept as it is."""

    async def render(self, examples: Sequence[Example]) -> list[Rendered]:
        return [render_alone(example) for example in examples]


def render_alone(example: Example) -> Rendered:
    if isinstance(example, Conversation):
        *prompt, last = example.messages
        rejected = example.rejected if isinstance(example, Preference) else None
        return Rendered(example.line, prompt, last["content"], rejected=rejected)
    return Rendered(example.line, render_messages(example.question), example.answer)


class WithPassages:
    """Recipe ``rag``: the passages that the retriever really returns for each question.

    The order is shuffled by ``seed`` and line: a gold passage that always came last, or first,
    would teach a place instead of reading. Rows that bring their own ``context`` keep it.
    """

    def __init__(self, retriever: RetrieverClient, asked: Retrieval, *, seed: int) -> None:
        self._retriever = retriever
        self._asked = asked
        self._seed = seed

    async def render(self, examples: Sequence[Example]) -> list[Rendered]:
        pairs = [example for example in examples if isinstance(example, Pair)]
        asking = [pair for pair in pairs if not pair.context]
        found = await search(
            self._retriever, self._asked, asking, limit=self._asked.max_num_results
        )
        store = self._asked.vector_store_id
        gold = (
            await gold_passages(self._retriever, store, asking) if self._asked.include_gold else {}
        )
        rendered = []
        for pair in pairs:
            passages: Sequence[Any] = [ContextPassage(text) for text in pair.context]
            ids: list[str] = []
            lacks_gold = False
            if not pair.context:
                chosen = self._choose(pair, found[pair.line], gold)
                ids, passages = [key for key, _ in chosen], [passage for _, passage in chosen]
                named = pair.evidence_ids if self._asked.include_gold else ()
                lacks_gold = bool(named) and gold.keys().isdisjoint(named)
            prompt = render_messages(pair.question, passages)
            rendered.append(
                Rendered(pair.line, prompt, pair.answer, len(passages), ids, lacks_gold)
            )
        return rendered

    def _choose(
        self, pair: Pair, found: Sequence[SearchResult], gold: dict[str, Passage]
    ) -> list[tuple[str, PassageText]]:
        """What was found, with missing gold passages in the place of the last that are not gold."""
        limit = self._asked.max_num_results
        own = list(dict.fromkeys(key for key in pair.evidence_ids if key in gold))[:limit]
        kept = {result.passage_id: result for result in found[:limit]}
        others = [key for key in kept if key not in own][: limit - len(own)]
        shown: list[tuple[str, PassageText]] = [(key, kept[key]) for key in others]
        shown += [(key, kept.get(key) or gold[key]) for key in own]
        random.Random(f"{self._seed}:{pair.line}").shuffle(shown)  # noqa: S311
        return shown


async def search(
    retriever: RetrieverClient, asked: Retrieval, pairs: Sequence[Pair], *, limit: int
) -> dict[int, list[SearchResult]]:
    """What the retriever returns for each question, by line."""
    queries = [
        BatchQuery(
            query=pair.question[:MAX_QUERY],
            filters=ComparisonFilter(key="doc_id", type="eq", value=pair.doc_id)
            if asked.within_document and pair.doc_id is not None
            else None,
        )
        for pair in pairs
    ]
    results = await retriever.search_batch(asked.vector_store_id, queries, max_num_results=limit)
    return {pair.line: found for pair, found in zip(pairs, results, strict=True)}


async def gold_passages(
    retriever: RetrieverClient, store_id: str, pairs: Sequence[Pair]
) -> dict[str, Passage]:
    """Gold passages by id; those that the store does not hold are left out."""
    wanted = list(dict.fromkeys(key for pair in pairs for key in pair.evidence_ids if _is_id(key)))
    gold: dict[str, Passage] = {}
    for start in range(0, len(wanted), GOLD_BATCH):
        found = await retriever.passages(store_id, wanted[start : start + GOLD_BATCH])
        gold.update((passage.id, passage) for passage in found.data)
    return gold


def _is_id(key: str) -> bool:
    """Whether a passage can have this id at all; asking for another would refuse the batch."""
    try:
        _ID.validate_python(key)
    except ValidationError:
        return False
    return True
