"""The retriever's wire: vector stores, passages, ingestion and search."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema, model_validator

from services.common.contracts.base import Ask, Attributes, Id, Key, Metadata, Name, Wire
from services.common.contracts.vector_store_files import (
    MAX_BATCH,
    ChunkingStrategy,
    Content,
    FileCounts,
)

# As many numbers as the store's vectors have; its length does not count.
Vector = Annotated[list[Annotated[float, Strict()]], Field(min_length=1)]


class ExpiresAfter(Ask):
    """``days`` without an upload or a search after which a store is emptied."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class VectorStoreCreate(Ask):
    """``chunking_strategy`` is for ``file_ids``, and for later files that bring none."""

    name: Name | None = None
    description: Annotated[str, Field(max_length=1_000)] | None = None
    metadata: Metadata | None = None
    file_ids: Annotated[list[Id], Field(max_length=MAX_BATCH)] = Field(default_factory=list)
    chunking_strategy: ChunkingStrategy | None = None
    expires_after: ExpiresAfter | None = None


class VectorStoreUpdate(Ask):
    name: Name | None = None
    metadata: Metadata | None = None
    expires_after: ExpiresAfter | None = None


class VectorStore(Wire):
    """``passages`` counts what is searchable; ``in_progress`` while any ingestion runs.

    Ours are ``passages`` and the model that the store's vectors are from, null before the first: by
    name, by a hash that tells it from another of that name, and by the size of its vectors.
    """

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str | None
    status: Literal["expired", "in_progress", "completed"]
    usage_bytes: int
    file_counts: FileCounts
    last_active_at: int | None
    expires_after: ExpiresAfter | None = None
    expires_at: int | None = None
    metadata: dict[str, str]
    description: str | None = None
    passages: int
    embedding_model: str | None = None
    embedding_identity: str | None = None
    dimensions: int | None = None


class PassageInput(Ask):
    """One line of a bulk ingestion. ``id`` is the caller's own, unique in the store; a passage sent
    again under the same id replaces the old one. ``doc_id`` names the document it was cut from.
    With an ``embedding`` it is searchable at once; of the store's model, queries find it too."""

    id: Key
    text: Annotated[str, Field(min_length=1, max_length=100_000)]
    title: Annotated[str, Field(max_length=1_000)] = ""
    doc_id: Key | None = None
    attributes: Attributes = Field(default_factory=dict)
    embedding: Vector | None = None


class Passage(Wire):
    id: str
    doc_id: str
    title: str
    text: str
    attributes: Attributes = Field(default_factory=dict)


class Ingestion(Wire):
    """Passages on their way in: ``received`` are stored, ``embedded`` of them searchable. One that
    takes them from a file has received none until the file is read.

    ``queue_position`` is 1 for the next that a worker takes up, and null once one has it.
    """

    id: str
    object: Literal["vector_store.ingestion"] = "vector_store.ingestion"
    vector_store_id: str
    file_id: str | None = None
    created_at: int
    finished_at: int | None
    status: Literal["in_progress", "completed", "failed", "cancelled"]
    received: int
    embedded: int
    error: str | None
    queue_position: int | None = None
    passages_per_second: float | None = None
    seconds_left: float | None = None


_FILE_URL = re.compile(r"(https?://[^/?#\s]+)?(/[^?#\s]*)?/v1/files/(?P<id>[^/]+)(/content)?")


def _file_of(url: object) -> str:
    found = _FILE_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise ValueError("the URL of an uploaded file ends in /v1/files/{file_id}/content")
    return found["id"]


# The id of the uploaded file whose URL it was.
FileUrl = Annotated[
    Id, BeforeValidator(_file_of), WithJsonSchema({"type": "string", "format": "uri-reference"})
]


class IngestionCreate(Ask):
    """An uploaded file of passages, one a line, by its id or by the URL that it is read at: of this
    deployment under whatever name, or its path alone. No request goes there."""

    file_id: Id | None = None
    url: FileUrl | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.file_id is None) == (self.url is None):
            raise ValueError("name the file by either file_id or url")
        return self

    @property
    def file(self) -> tuple[str, str]:
        """Its id, and the parameter that said so."""
        return (self.file_id, "file_id") if self.file_id else (self.url or "", "url")


class PassagesAsk(Ask):
    ids: Annotated[list[Key], Field(min_length=1, max_length=10_000)]


class PassagesFound(Wire):
    """Passages in the order asked for; ``missing`` lists ids the store does not hold."""

    data: list[Passage]
    missing: list[str]


class PassagesDelete(Ask):
    """By the caller's ids, or by a filter. Passages of files go with their files only."""

    ids: Annotated[list[Key], Field(min_length=1, max_length=10_000)] | None = None
    filters: "Filter | None" = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.ids is None) == (self.filters is None):
            raise ValueError("name the passages by either ids or filters")
        return self


class PassagesDeleted(Wire):
    object: Literal["vector_store.passages.deleted"] = "vector_store.passages.deleted"
    vector_store_id: str
    deleted: int


MAX_FILTER_DEPTH = 5
_MAX_FILTERS = 500
_MAX_FILTER_VALUES = 10_000


class ComparisonFilter(Ask):
    key: Annotated[str, Field(min_length=1, max_length=64)]
    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    value: str | bool | float | Annotated[list[str | float], Field(max_length=_MAX_FILTER_VALUES)]


class CompoundFilter(Ask):
    type: Literal["and", "or"]
    filters: Annotated[
        list["ComparisonFilter | CompoundFilter"], Field(min_length=1, max_length=32)
    ]


def _few(value: object) -> object:
    """The filter as it came, refused before a model is made of each of its parts."""
    left, level = _MAX_FILTERS, [value]
    for _ in range(MAX_FILTER_DEPTH + 1):
        inner = [part.get("filters") for part in level if isinstance(part, dict)]
        level = [part for parts in inner if isinstance(parts, list) for part in parts]
        left -= len(level)
        if left < 0:
            raise ValueError(f"a filter holds at most {_MAX_FILTERS} others")
        if not level:
            return value
    raise ValueError(f"filters nest at most {MAX_FILTER_DEPTH} deep")


Filter = Annotated[ComparisonFilter | CompoundFilter, BeforeValidator(_few)]


Weight = Annotated[float, Field(ge=0, le=1_000)]


class HybridSearch(Ask):
    """How much each ranking counts in ``hybrid``; only their ratio matters."""

    embedding_weight: Weight
    text_weight: Weight

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not self.embedding_weight + self.text_weight:
            raise ValueError("one of the two weights must be above 0")
        return self


class RankingOptions(Ask):
    """``auto``, and OpenAI's name for its own, rerank where the server has a model for it;
    ``cross-encoder`` is ours and insists, ``none`` never does."""

    ranker: Literal["none", "auto", "default-2024-11-15", "cross-encoder"] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    hybrid_search: HybridSearch | None = None


Query = Annotated[str, Field(min_length=1, max_length=20_000)]
SearchMode = Literal["hybrid", "vector", "text"]


# Whether vectors were searched through the index, or all that come into question were read.
Scan = Literal["index", "exact"]
RankingStage = Literal["vector", "text", "rerank"]
SearchStage = Literal["embed", "vector", "text", "merge", "read", "rerank"]


class SearchAsk(Ask):
    """``mode`` is ours: ``hybrid`` fuses vector and full-text rank, the others use one of them. So
    is ``explain``: what each stage found, and how long it took. So is ``vector``, which one query's
    words are not embedded for; in mode ``vector`` it needs no query."""

    query: Query | Annotated[list[Query], Field(min_length=1, max_length=16)] | None = None
    vector: Vector | None = None
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    filters: Filter | None = None
    ranking_options: RankingOptions = Field(default_factory=RankingOptions)
    rewrite_query: Literal[False] = False
    mode: SearchMode = "hybrid"
    explain: bool = False


class Placement(Wire):
    """A passage's place, from 1, in a ranking of the query of that number, from 0; the score is the
    ranking's own, and ``of_best`` its share of the ranking's best."""

    stage: RankingStage
    query: int
    rank: int
    score: float
    of_best: float


class Fusion(Wire):
    """What makes a ``hybrid`` score: each place adds its ranking's weight × (k + 1) / (k + rank) ×
    ``of_best``. The weights add up to 1; several queries share them evenly."""

    k: int
    embedding_weight: float
    text_weight: float


class StageTime(Wire):
    """``scan`` is of the stage ``vector``."""

    stage: SearchStage
    milliseconds: float
    scan: Scan | None = None


class SearchResult(Wire):
    """A passage found; for OpenAI's clients ``file_id`` is its document, ``filename`` its title."""

    file_id: str
    filename: str
    score: float
    attributes: Attributes | None
    content: list[Content]
    passage_id: str
    doc_id: str
    title: str
    placements: list[Placement] | None = None

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content)


class SearchPage(Wire):
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[SearchResult]
    has_more: bool = False
    next_page: str | None = None
    stages: list[StageTime] | None = None
    fusion: Fusion | None = None


class BatchQuery(Ask):
    """``vector`` as in a single search."""

    query: Query | None = None
    vector: Vector | None = None
    filters: Filter | None = None


class BatchSearchAsk(Ask):
    """Many questions in one request; embedded in one batch, answered in their order."""

    queries: Annotated[list[BatchQuery], Field(min_length=1, max_length=1_000)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    ranking_options: RankingOptions = Field(default_factory=RankingOptions)
    mode: SearchMode = "hybrid"


class BatchSearchResults(Wire):
    object: Literal["vector_store.batch_search_results"] = "vector_store.batch_search_results"
    data: list[list[SearchResult]]


class AuditAsk(Ask):
    """``sample`` vectors of the store are the queries, unless ``queries`` brings some."""

    k: Annotated[int, Field(ge=1, le=50)] = 10
    sample: Annotated[int, Field(ge=1, le=1_000)] = 100
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    queries: Annotated[list[Query], Field(min_length=1, max_length=200)] | None = None
    filters: Filter | None = None


class Audit(Wire):
    """``recall`` is the mean over the queries, ``interval`` its 95 % interval, ``imperfect`` the
    number of queries for which something was missed."""

    object: Literal["vector_store.audit"] = "vector_store.audit"
    vector_store_id: str
    passages: int
    queries: int
    k: int
    recall: float
    interval: tuple[float, float]
    imperfect: int
    milliseconds_per_search: float
    milliseconds_per_scan: float


JsonObject = dict[str, Any]
