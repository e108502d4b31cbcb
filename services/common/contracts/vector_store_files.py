"""The retriever's wire for files: in OpenAI's words, with a few fields of ours."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.common.contracts.base import Ask, Attributes, Id, Wire, attributes_fault


class StaticChunking(Ask):
    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _overlap_at_most_half(self) -> Self:
        if 2 * self.chunk_overlap_tokens > self.max_chunk_size_tokens:
            raise ValueError("chunk_overlap_tokens must be at most half of max_chunk_size_tokens")
        return self


class AutoChunkingStrategy(Ask):
    type: Literal["auto"] = "auto"


class StaticChunkingStrategy(Ask):
    type: Literal["static"]
    static: StaticChunking


ChunkingStrategy = Annotated[
    AutoChunkingStrategy | StaticChunkingStrategy, Field(discriminator="type")
]


class ChunkingRead(Wire):
    """How a file was cut. ``other`` while that is not known: ``auto`` is decided by the embedding
    model when the file is read."""

    type: Literal["static", "other"]
    static: StaticChunking | None = None


def _within_limits(attributes: Attributes) -> Attributes:
    if (fault := attributes_fault(attributes)) is not None:
        raise ValueError(fault)
    return attributes


FileAttributes = Annotated[Attributes, AfterValidator(_within_limits)]

MAX_BATCH = 2_000


class StoreFileCreate(Ask):
    file_id: Id
    attributes: FileAttributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class StoreFileUpdate(Ask):
    attributes: FileAttributes | None


class FileBatchCreate(Ask):
    """``file_ids``, with ``attributes`` and ``chunking_strategy`` for all; or ``files``, each with
    its own."""

    file_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_BATCH)] | None = None
    files: Annotated[list[StoreFileCreate], Field(min_length=1, max_length=MAX_BATCH)] | None = None
    attributes: FileAttributes | None = None
    chunking_strategy: ChunkingStrategy | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("name the files by either file_ids or files")
        if self.files is not None and (self.attributes or self.chunking_strategy):
            raise ValueError("with files, each has its own attributes and chunking_strategy")
        return self

    def each(self) -> list[StoreFileCreate]:
        return self.files or [
            StoreFileCreate(
                file_id=file_id,
                attributes=self.attributes,
                chunking_strategy=self.chunking_strategy,
            )
            for file_id in self.file_ids or ()
        ]


FileStatus = Literal["in_progress", "completed", "cancelled", "failed"]


class LastError(Wire):
    code: Literal["server_error", "unsupported_file", "invalid_file"]
    message: str


class StoreFile(Wire):
    """A file in a vector store; ``ingestion_id`` is where its progress is told."""

    id: str
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: FileStatus
    usage_bytes: int
    last_error: LastError | None
    attributes: Attributes
    chunking_strategy: ChunkingRead
    filename: str
    ingestion_id: str


class FileCounts(Wire):
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0


class FileBatch(Wire):
    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: FileStatus
    file_counts: FileCounts


class Content(Wire):
    type: Literal["text"] = "text"
    text: str


class FileContent(Wire):
    """A file's text, a part a passage; what passages share is in the first of them."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    data: list[Content]
    has_more: bool = False
    next_page: str | None = None
