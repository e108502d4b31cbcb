"""What of a request is whose: the search ours, the functions vLLM's."""

import json
from typing import Any

from services.common.errors import InvalidRequest
from services.generator.rag.packing import Messages
from services.generator.responses.schemas import (
    FileSearchTool,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    ResponseAsk,
    ToolChoice,
)


def check_choice(ask: ResponseAsk) -> None:
    searches = [tool for tool in ask.tools if isinstance(tool, FileSearchTool)]
    if len(searches) > 1:
        raise InvalidRequest(
            "One file_search is enough: name all stores in its vector_store_ids.", param="tools"
        )
    choice = ask.tool_choice
    names = {tool.name for tool in functions_of(ask)}
    if isinstance(choice, ToolChoice):
        known = bool(searches) if choice.type == "file_search" else choice.name in names
        if not known:
            raise InvalidRequest(
                "Invalid 'tool_choice': it names a tool that is not among 'tools'.",
                param="tool_choice",
            )
    elif choice == "required" and not ask.tools:
        raise InvalidRequest("'tool_choice' requires a tool, and 'tools' has none.", param="tools")


def search_tool(ask: ResponseAsk) -> FileSearchTool | None:
    """The search to make. It is made before the model is asked, whenever it may be made."""
    choice = ask.tool_choice
    if choice == "none" or (isinstance(choice, ToolChoice) and choice.type == "function"):
        return None
    return next((tool for tool in ask.tools if isinstance(tool, FileSearchTool)), None)


def functions_of(ask: ResponseAsk) -> list[FunctionTool]:
    return [tool for tool in ask.tools if isinstance(tool, FunctionTool)]


def chat_tools(ask: ResponseAsk) -> list[dict[str, Any]]:
    """The functions as vLLM's chat is told of them."""
    return [
        {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}
        for tool in functions_of(ask)
    ]


def chat_request(ask: ResponseAsk, model: str, messages: Messages) -> bytes:
    """What vLLM's chat is asked. A parameter that was left out is the model's own to set."""
    given: dict[str, Any] = {
        "max_tokens": ask.max_output_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "response_format": _response_format(ask),
    }
    request = {name: value for name, value in given.items() if value is not None}
    request |= {"model": model, "messages": messages}
    if functions := chat_tools(ask):
        request |= {
            "tools": functions,
            "tool_choice": _function_choice(ask),
            "parallel_tool_calls": ask.parallel_tool_calls,
        }
    if ask.stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(request).encode()


def _response_format(ask: ResponseAsk) -> dict[str, Any] | None:
    wanted = ask.text.format
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
        return {"type": "json_schema", "json_schema": schema}
    if isinstance(wanted, JsonObjectFormat):
        return {"type": "json_object"}
    return None


def _function_choice(ask: ResponseAsk) -> str | dict[str, Any]:
    """Once the search was made, that a tool is required asks for no further one."""
    choice = ask.tool_choice
    if isinstance(choice, ToolChoice):
        if choice.type == "function":
            return {"type": "function", "function": {"name": choice.name}}
        return "auto"
    return "auto" if choice == "required" and search_tool(ask) else choice
