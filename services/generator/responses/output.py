"""What a response is made of, as OpenAI's clients read it; our own keys stand beside theirs."""

from typing import Any, Literal

from pydantic import Field

from services.common.contracts.base import Attributes, Wire

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class FileCitation(Wire):
    """``text[start:end]`` is supported by ``passage_start`` to ``passage_end`` of the passage,
    which says ``quote`` there; ``index`` is its place among the search's results, from 0."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str
    filename: str
    index: int
    vector_store_id: str
    passage_id: str
    start: int
    end: int
    passage_start: int
    passage_end: int
    quote: str


class OutputText(Wire):
    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[FileCitation] = Field(default_factory=list)
    logprobs: list[Any] = Field(default_factory=list)


class MessageOutput(Wire):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Status = "in_progress"
    content: list[OutputText] = Field(default_factory=list)


class ReasoningText(Wire):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str = ""


class ReasoningOutput(Wire):
    """What a model says before its answer, as recipe ``raft`` teaches it."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: Status = "in_progress"
    summary: list[Any] = Field(default_factory=list)
    content: list[ReasoningText] = Field(default_factory=list)


class FunctionCallOutput(Wire):
    id: str
    type: Literal["function_call"] = "function_call"
    status: Status = "in_progress"
    call_id: str
    name: str
    arguments: str = ""


class SearchResultOutput(Wire):
    """``in_prompt`` is false where the model's window had no room for the passage."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: Attributes | None
    vector_store_id: str
    passage_id: str
    in_prompt: bool


class FileSearchOutput(Wire):
    """``left_out`` counts passages that were found and did not fit the model's window."""

    id: str
    type: Literal["file_search_call"] = "file_search_call"
    status: Literal["in_progress", "completed"] = "completed"
    queries: list[str]
    results: list[SearchResultOutput] | None = None
    left_out: int = 0


Output = FileSearchOutput | ReasoningOutput | MessageOutput | FunctionCallOutput


class InputTokensDetails(Wire):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Wire):
    reasoning_tokens: int = 0


class ResponseUsage(Wire):
    """vLLM counts reasoning among the output, and cached tokens only where it is told to."""

    input_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int


class ResponseError(Wire):
    """``code`` is the one of OpenAI's that fits; ``reason`` is ours, as in the error envelope."""

    code: Literal["server_error"] = "server_error"
    message: str
    reason: str


class IncompleteDetails(Wire):
    reason: Literal["max_output_tokens", "content_filter"]


class Response(Wire):
    """``adapter_sha256`` is of the weights that answered; null for the base model."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Status = "in_progress"
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    model: str
    instructions: str | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    text: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    metadata: dict[str, str]
    user: str | None
    background: bool = False
    previous_response_id: None = None
    truncation: Literal["disabled"] = "disabled"
    store: bool = False
    output: list[Output] = Field(default_factory=list)
    usage: ResponseUsage | None = None
    adapter_sha256: str | None
