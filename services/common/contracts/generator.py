"""The generator's wire beyond OpenAI's chat: cited RAG answers, and adapters with their proof."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id, Key, Wire
from services.common.contracts.retriever import Filter

Condition = Literal["closed_book", "retrieved", "oracle", "distractors"]


class GivenPassage(Ask):
    """A passage the caller brings; ``score`` is handed through."""

    id: Key
    text: Annotated[str, Field(min_length=1, max_length=100_000)]
    title: Annotated[str, Field(max_length=1_000)] = ""
    doc_id: str | None = None
    score: float | None = None


class RagAsk(Ask):
    """A question for a model, with passages from a vector store, from the caller, or none.

    ``condition`` names what the prompt is given and is echoed in the answer: ``closed_book`` takes
    no passages, ``oracle`` and ``distractors`` take the caller's, ``retrieved`` takes either.
    """

    question: Annotated[str, Field(min_length=1, max_length=20_000)]
    model: Id | None = None
    vector_store_id: Id | None = None
    passages: Annotated[list[GivenPassage], Field(max_length=100)] | None = None
    condition: Condition = "retrieved"
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 5
    filters: Filter | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _passages_fit_the_condition(self) -> "RagAsk":
        if self.condition == "closed_book":
            if self.passages or self.vector_store_id:
                raise ValueError("condition closed_book takes neither passages nor vector_store_id")
        elif self.passages is not None and self.vector_store_id is not None:
            raise ValueError("give either passages or vector_store_id, not both")
        elif self.condition in ("oracle", "distractors") and self.passages is None:
            raise ValueError(f"condition {self.condition} needs passages")
        elif self.passages is None and self.vector_store_id is None:
            raise ValueError("give a vector_store_id or passages, or set condition to closed_book")
        return self


class UsedPassage(Wire):
    """A passage of the prompt, in its order: ``index`` counts from 1, as ``[1]`` does."""

    index: int
    id: str
    doc_id: str | None
    title: str
    text: str
    score: float | None


class Citation(Wire):
    """``answer[start:end]`` is supported by ``passage.text[passage_start:passage_end]``."""

    index: int
    passage_id: str
    start: int
    end: int
    passage_start: int
    passage_end: int
    quote: str


class Usage(Wire):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RagTimings(Wire):
    """Milliseconds per stage."""

    retrieval_ms: float
    generation_ms: float
    total_ms: float


class RagAnswer(Wire):
    """``left_out`` lists ids of passages that did not fit the model's window."""

    id: str
    object: Literal["rag.answer"] = "rag.answer"
    created: int
    model: str
    adapter_sha256: str | None
    condition: Condition
    answer: str
    finish_reason: str | None
    citations: list[Citation]
    passages: list[UsedPassage]
    left_out: list[str]
    prompt_sha256: str
    usage: Usage
    timings: RagTimings


class AdapterCreate(Ask):
    """Ask for an adapter of the trainer's registry, by its name, to be loaded and proven."""

    name: Id


class AdapterProof(Wire):
    """What shows that an adapter is really there.

    ``modules_in_file``: LoRA module pairs (A and B) in the safetensors file; ``modules_matched``:
    those whose names and shapes exist in the base model. ``max_abs_logprob_delta``: largest change
    of a canary token's log-probability (nats) against the base, as served. ``peft_max_abs_diff``:
    largest difference (nats) between what is served and what PEFT computed; ``tolerance`` is the
    most that is accepted.
    """

    adapter: str
    replica: str
    sha256: str
    modules_in_file: int
    modules_matched: int
    max_abs_logprob_delta: float
    peft_max_abs_diff: float
    tolerance: float
    checked_at: int


class AdapterError(Wire):
    code: str
    message: str


AdapterStatus = Literal["loading", "loaded", "failed", "unloaded"]


class Adapter(Wire):
    id: str
    object: Literal["adapter"] = "adapter"
    created_at: int
    base_model: str
    recipe: str
    sha256: str
    rank: int
    status: AdapterStatus
    proof: AdapterProof | None
    error: AdapterError | None


class Model(Wire):
    """OpenAI's model card; ``parent`` is an adapter's base."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "fineproof"
    parent: str | None = None
    sha256: str | None = None
    status: str = "loaded"
    max_model_len: int | None = None


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[Model]
