"""The generator's wire beyond OpenAI's chat: cited RAG answers, and adapters with their proof."""

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from services.common.contracts.base import Ask, Id, Key, Wire
from services.common.contracts.retriever import Filter

MAX_QUESTION = 20_000
"""Characters that can be searched for."""
_PLACE = re.compile(r"\{(\w+)\}")

Condition = Literal["closed_book", "retrieved", "oracle", "distractors"]


class GivenPassage(Ask):
    """A passage the caller brings; ``score`` is handed through."""

    id: Key
    text: Annotated[str, Field(min_length=1, max_length=100_000)]
    title: Annotated[str, Field(max_length=1_000)] = ""
    doc_id: str | None = None
    score: float | None = None


class Turn(Ask):
    """A message of a conversation. A system message comes first, in place of our own."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(min_length=1, max_length=100_000)]


class StreamOptions(Ask):
    """``include_usage``: a last event ``rag.usage`` before ``[DONE]``."""

    include_usage: bool = False


class RagAsk(Ask):
    """A question for a model, with passages from a vector store, from the caller, or none.

    ``messages`` is a conversation that ends with the question; passages are looked for by the
    question alone. ``condition`` names what the prompt is given and is echoed in the answer:
    ``closed_book`` takes no passages, ``oracle`` and ``distractors`` take the caller's,
    ``retrieved`` takes either. ``top_k`` may also be called ``max_num_results``, as in a search.
    ``prompt_template`` words the last message: ``{passages}`` and ``{question}`` are filled in.
    """

    question: Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)] | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=500)] | None = None
    model: Id | None = None
    vector_store_id: Id | None = None
    passages: Annotated[list[GivenPassage], Field(max_length=100)] | None = None
    condition: Condition = "retrieved"
    top_k: Annotated[
        int, Field(ge=1, le=50, validation_alias=AliasChoices("top_k", "max_num_results"))
    ] = 5
    filters: Filter | None = None
    prompt_template: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def asked(self) -> str:
        """The question, wherever it stands."""
        return self.question or (self.messages or [])[-1].content

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @model_validator(mode="after")
    def _asks_once(self) -> "RagAsk":
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either question or messages, whose last one is the question")
        if self.messages is not None:
            *earlier, last = self.messages
            if last.role != "user":
                raise ValueError("the last of the messages must be the user's question")
            if len(last.content) > MAX_QUESTION:
                raise ValueError(f"the last message holds at most {MAX_QUESTION} characters")
            if any(turn.role == "system" for turn in earlier[1:]):
                raise ValueError("only the first of the messages may be a system message")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options are for stream: true")
        return self

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

    @model_validator(mode="after")
    def _template_takes_what_there_is(self) -> "RagAsk":
        if self.prompt_template is None:
            return self
        named = set(_PLACE.findall(self.prompt_template))
        if strange := sorted(named - {"passages", "question"}):
            raise ValueError(
                f"prompt_template names {{{strange[0]}}}; it can name {{passages}} and {{question}}"
            )
        if "question" not in named:
            raise ValueError("prompt_template must say where the {question} goes")
        if ("passages" in named) == (self.condition == "closed_book"):
            does = "has no" if "passages" in named else "must say where they go:"
            raise ValueError(
                f"with condition {self.condition}, prompt_template {does} {{passages}}"
            )
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


class LeftOut(Wire):
    """What did not fit the prompt: a passage by its id, an earlier message as ``messages[0]``."""

    type: Literal["passage", "message"]
    id: str
    reason: Literal["context_window"] = "context_window"


class Packing(Wire):
    """How the prompt was fitted into the model's window, in tokens.

    ``max_tokens`` of the ``window`` are kept for the answer; what was left out would have taken
    ``left_out_tokens``.
    """

    window: int
    max_tokens: int
    left_out: list[LeftOut]
    left_out_tokens: int


class RagTimings(Wire):
    """Milliseconds per stage.

    ``generation_ms`` counts from asking the model: waiting for its turn, for an adapter to be
    loaded and for the prompt to be read are in it. Where the answer was streamed,
    ``first_token_ms`` is how much of it went by before the first text.
    """

    retrieval_ms: float
    packing_ms: float = 0.0
    first_token_ms: float | None = None
    generation_ms: float
    citing_ms: float = 0.0
    total_ms: float


class RagAnswer(Wire):
    """``left_out`` lists ids of passages that did not fit the model's window.

    ``reasoning`` is what a model tuned with recipe ``raft`` says before its ``answer``.
    ``template_sha256`` is over the caller's template (UTF-8), or names the one that training uses.
    """

    id: str
    object: Literal["rag.answer"] = "rag.answer"
    created: int
    model: str
    adapter_sha256: str | None
    condition: Condition
    answer: str
    reasoning: str | None = None
    finish_reason: str | None
    citations: list[Citation]
    passages: list[UsedPassage]
    left_out: list[str]
    packing: Packing | None = None
    template_sha256: str | None = None
    prompt_sha256: str
    usage: Usage
    timings: RagTimings


class AdapterCreate(Ask):
    """Ask for an adapter of the trainer's registry, by its name, to be loaded and proven.

    ``pinned``: whether it stays loaded when others need its place; null leaves that as it is.
    """

    name: Id
    pinned: bool | None = None


class AdapterProof(Wire):
    """What shows that an adapter is really there.

    ``modules_in_file``: LoRA module pairs (A and B) in the safetensors file; ``modules_matched``:
    those whose names and shapes exist in the base model. ``max_abs_logprob_delta``: largest change
    of a canary token's log-probability (nats) against the base, as served. ``peft_max_abs_diff``:
    largest difference (nats) between what is served and what PEFT computed; ``tolerance`` is the
    most that is accepted. ``replica_started_at``: when that vLLM process began, where it says so.
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
    replica_started_at: int | None = None


class AdapterError(Wire):
    code: str
    message: str


class AdapterTrial(Wire):
    """One time an adapter was proven in a replica, or not: ``proof`` or ``error`` is null."""

    object: Literal["adapter.trial"] = "adapter.trial"
    id: str
    adapter: str
    replica: str
    sha256: str
    created_at: int
    proof: AdapterProof | None
    error: AdapterError | None


AdapterStatus = Literal[
    "fetching", "loading", "proving", "loaded", "draining", "evicted", "unloaded", "failed"
]


class Adapter(Wire):
    """``fetching`` its files, ``loading`` into vLLM, ``proving`` by its canary, ``loaded``: asked;
    ``draining``: asked no more, answers under way are finished; ``evicted`` for one that was asked
    later, comes back when asked; ``unloaded`` by request; ``failed``: refused, ``error`` says why.

    ``proofs`` holds the last of each replica, ``proof`` the one that agrees least with PEFT.
    """

    id: str
    object: Literal["adapter"] = "adapter"
    created_at: int
    base_model: str
    recipe: str
    sha256: str
    rank: int
    status: AdapterStatus
    pinned: bool = False
    last_used_at: int | None = None
    proof: AdapterProof | None
    proofs: Annotated[list[AdapterProof], Field(default_factory=list)]
    error: AdapterError | None


class Model(Wire):
    """OpenAI's model card; ``parent`` is an adapter's base, or the adapter an alias stands for.

    ``base_revision`` names the base model's weights, beneath an adapter too: a commit, or
    ``sha256:`` and a hash; null for models of other hosts, and where the weights cannot be read.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "fineproof"
    parent: str | None = None
    sha256: str | None = None
    base_revision: str | None = None
    status: str = "loaded"
    max_model_len: int | None = None


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[Model]
