"""What the retriever is told by its environment."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


class RetrieverSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_RETRIEVER_", extra="forbid")

    embedding_model: str = Field(
        description="Folder or Hugging Face id of a sentence-transformers model; with "
        "`EMBEDDING_URL`, the name under which that server has one."
    )
    embedding_url: str | None = Field(
        None,
        pattern=r"^https?://.+/v1/?$",
        description="Base URL, to `/v1`, of an OpenAI-compatible server that embeds instead: vLLM, "
        "TEI. Part of the model's identity: stores made with another are refused.",
    )
    embedding_key: SecretStr | None = Field(
        None, description="Key that the embedding server asks for."
    )
    embedding_tokenizer: str | None = Field(
        None,
        description="Folder or Hugging Face id of the tokenizer of the model behind "
        "`EMBEDDING_URL`. Unset, tokens are estimated: one for every three bytes.",
    )
    embedding_max_tokens: int = Field(
        512,
        ge=16,
        description="Tokens that the model behind `EMBEDDING_URL` reads of a text, its special "
        "ones included. Longer texts are cut before they are sent.",
    )
    trainer_url: str = Field(
        "http://127.0.0.1:8003", description="Base URL of the trainer, which has the files."
    )
    embedding_device: str = Field(
        "cpu", description="Where the embedding model runs, in torch's words: `cpu`, `cuda`."
    )
    embedding_batch_size: int = Field(
        32, ge=1, le=4096, description="Texts that go through the embedding model at once."
    )
    embedding_cache_days: int = Field(
        30,
        ge=1,
        description="Days for which the vector of a text is kept for when it comes again, counted "
        "from when it last came.",
    )
    embedding_timeout_s: float = Field(
        30,
        gt=0,
        description="Seconds in which the embedding server answers a batch; searches wait as long "
        "for one that hangs, and those that come meanwhile with them.",
    )
    reranking_model: str | None = Field(
        None,
        description="Folder or Hugging Face id of a sentence-transformers cross-encoder that puts "
        "what a search found in order; unset, nothing is reranked.",
    )
    reranking_candidates: int = Field(
        50,
        ge=1,
        le=100,
        description="Passages of a search that the reranking model reads, at the least as many as "
        "are asked for.",
    )
    query_threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="Threads that embed a query. More are slower, tenfold, where a model server or "
        "a training keeps the cores busy: torch's threads wait for each other at every step.",
    )
    torch_threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads with which the worker embeds passages; torch's own choice if unset.",
    )
    ef_search: int = Field(
        200,
        ge=100,
        le=1000,
        description="HNSW's search breadth: larger finds more and takes longer. No ranking is "
        "deeper than 100.",
    )
    max_concurrent_searches: int = Field(
        32, ge=1, description="Searches, batches and audits that one process has under way at once."
    )
    search_connections: int = Field(
        4,
        ge=1,
        le=200,
        description="Connections for single searches. Those that come while all are busy go to "
        "PostgreSQL together where they are alike. Batches and audits have others, up to twice "
        "`DATABASE_POOL_SIZE`.",
    )
    max_search_seconds: float = Field(
        60,
        gt=0,
        description="Longest time that PostgreSQL works on one statement of a search; then the "
        "answer is 503.",
    )
    max_waiting_searches: int = Field(
        256, ge=0, description="Searches that may wait for a place; more are answered 429."
    )
    max_wait_seconds: float = Field(
        30, gt=0, description="Longest wait for a place; then the answer is 503."
    )
    max_ingestion_bytes: int = Field(
        4 * 2**30, ge=1024, description="Largest body of one bulk ingestion, in bytes."
    )
    max_file_bytes: int = Field(
        64 * 2**20, ge=1024, description="Largest file that is read into a store, in bytes."
    )
    max_file_characters: int = Field(
        10_000_000,
        ge=1024,
        description="Most text taken from one file; while it is read, a worker holds about five "
        "bytes for each character, of Markdown twenty.",
    )
    max_file_seconds: float = Field(
        120, gt=0, description="Longest time that one file is read; then it fails."
    )
