"""Passages for a prompt: found in a vector store, or brought by the caller."""

import asyncio
from collections.abc import Sequence

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.generator import GivenPassage, UsedPassage
from services.common.contracts.retriever import SearchAsk, SearchResult
from services.common.errors import UpstreamTimeout


class TimelyRetriever(RetrieverClient):
    """A search is over after ``longest_search`` seconds, however often it was tried."""

    longest_search: float = 30

    async def search(self, store_id: str, ask: SearchAsk) -> list[SearchResult]:
        try:
            async with asyncio.timeout(self.longest_search):
                return await super().search(store_id, ask)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"The retriever found nothing within {self.longest_search:g} s.",
                code="retrieval_timeout",
            ) from error


async def find(retriever: RetrieverClient, store_id: str, search: SearchAsk) -> list[UsedPassage]:
    """What the store has, the best first."""
    return used(await retriever.search(store_id, search))


def used(found: Sequence[SearchResult]) -> list[UsedPassage]:
    """What was found, in its order."""
    return [
        UsedPassage(
            index=n,
            id=result.passage_id,
            doc_id=result.doc_id,
            title=result.title,
            text=result.text,
            score=result.score,
        )
        for n, result in enumerate(found, 1)
    ]


def number(given: Sequence[GivenPassage]) -> list[UsedPassage]:
    """The caller's passages in their order."""
    return [UsedPassage(index=n, **passage.model_dump()) for n, passage in enumerate(given, 1)]
