"""What is asked of ``POST /v1/responses``: OpenAI's names, and a sentence for what is not done."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from services.common.contracts.base import Ask, Id, Metadata, Name, or_if_null
from services.common.contracts.retriever import Filter, RankingOptions
from services.common.errors import UNSUPPORTED
from services.generator.responses.items import MOST_PARTS, Item, Plain, Text, as_messages, one_of

# More than an id of ours holds; nothing that means something else inside a URL.
StoreId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]


def only(*values: Any, reason: str) -> BeforeValidator:
    """A parameter that may be sent as one of ``values`` and is refused otherwise."""

    def check(value: Any) -> Any:
        if value is not None and value not in values:
            raise PydanticCustomError(UNSUPPORTED, reason)
        return value

    return BeforeValidator(check)


class FileSearchTool(Ask):
    type: Literal["file_search"]
    vector_store_ids: Annotated[list[StoreId], Field(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 5
    filters: Annotated[Filter | None, Plain] = None
    ranking_options: RankingOptions | None = None


class FunctionTool(Ask):
    """A function the caller runs; the model's call of it comes back as an item."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    description: Text | None = None
    parameters: Annotated[dict[str, Any] | None, Plain] = None
    strict: bool | None = None


Tool = Annotated[
    FileSearchTool | FunctionTool,
    Field(discriminator="type"),
    one_of("file_search", "function", what="Tools"),
]


class ToolChoice(Ask):
    type: Literal["file_search", "function"]
    name: str | None = None


class PlainFormat(Ask):
    type: Literal["text"] = "text"


class JsonObjectFormat(Ask):
    type: Literal["json_object"]


class JsonSchemaFormat(Ask):
    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    schema_: Annotated[dict[str, Any], Plain] = Field(alias="schema")
    description: Text | None = None
    strict: bool | None = None


class TextOptions(Ask):
    format: Annotated[
        PlainFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
    ] = PlainFormat()


class StreamOptions(Ask):
    """Taken and of no effect: usage always comes, and nothing is padded."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


_KEPT = "Responses are not kept here: send the earlier turns in 'input'."

Include = Annotated[
    Literal["file_search_call.results"],
    only("file_search_call.results", reason="Only 'file_search_call.results' can be included."),
]


class ResponseAsk(Ask):
    """``store`` is taken either way and answered ``false``; nothing depends on the last five, which
    say who asks and what to cache."""

    input: Annotated[
        list[Item], Field(min_length=1, max_length=MOST_PARTS), BeforeValidator(as_messages)
    ]
    model: Id | None = None
    instructions: Text | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    text: TextOptions = TextOptions()
    tools: Annotated[list[Tool], Field(max_length=128)] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | ToolChoice = "auto"
    parallel_tool_calls: Annotated[bool, or_if_null(True)] = True
    include: list[Include] | None = None
    metadata: Annotated[Metadata | None, Plain] = None
    stream: Annotated[bool, or_if_null(False)] = False
    stream_options: StreamOptions | None = None
    store: bool | None = None
    previous_response_id: Annotated[None, only(reason=_KEPT)] = None
    conversation: Annotated[None, only(reason=_KEPT)] = None
    background: Annotated[
        Literal[False] | None,
        only(False, reason="Responses are answered while you wait: leave 'background' out."),
    ] = None
    prompt: Annotated[
        None, only(reason="Prompts are not kept here: send 'instructions' and 'input'.")
    ] = None
    truncation: Annotated[
        Literal["disabled"] | None,
        only("disabled", reason="What is said is never cut here: shorten 'input' instead."),
    ] = None
    reasoning: Annotated[
        None, only(reason="How much a model reasons cannot be set here: leave 'reasoning' out.")
    ] = None
    top_logprobs: Annotated[
        Literal[0] | None,
        only(0, reason="Ask POST /v1/chat/completions for log-probabilities."),
    ] = None
    user: Name | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
