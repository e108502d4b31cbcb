"""The ``file_search`` tool: one question to several vector stores, and what they answer cited."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.generator import Citation
from services.common.contracts.retriever import RankingOptions, SearchAsk, SearchResult
from services.generator.responses.output import FileCitation, SearchResultOutput
from services.generator.responses.schemas import FileSearchTool


@dataclass(frozen=True)
class Found:
    """A passage, and the store it is in: a passage's id is its own within one store only."""

    store_id: str
    result: SearchResult


async def search(retriever: RetrieverClient, tool: FileSearchTool, question: str) -> list[Found]:
    """The best passages of all stores, by their scores; an earlier store's first among equals."""
    ask = SearchAsk(
        query=question,
        max_num_results=tool.max_num_results,
        filters=tool.filters,
        ranking_options=tool.ranking_options or RankingOptions(),
    )
    stores = list(dict.fromkeys(tool.vector_store_ids))
    answers = await asyncio.gather(*(retriever.search(store, ask) for store in stores))
    found = [
        Found(store, result)
        for store, results in zip(stores, answers, strict=True)
        for result in results
    ]
    found.sort(key=lambda one: -one.result.score)
    return found[: tool.max_num_results]


def as_results(found: Sequence[Found], in_prompt: int) -> list[SearchResultOutput]:
    """The first ``in_prompt`` of them are in the prompt."""
    return [
        SearchResultOutput(
            file_id=one.result.file_id,
            filename=one.result.filename,
            score=one.result.score,
            text=one.result.text,
            attributes=one.result.attributes,
            vector_store_id=one.store_id,
            passage_id=one.result.passage_id,
            in_prompt=n < in_prompt,
        )
        for n, one in enumerate(found)
    ]


def as_annotation(citation: Citation, found: Sequence[Found]) -> FileCitation:
    at = citation.index - 1  # a prompt counts its passages from 1
    return FileCitation(
        file_id=found[at].result.file_id,
        filename=found[at].result.filename,
        index=at,
        vector_store_id=found[at].store_id,
        **citation.model_dump(exclude={"index"}),
    )
