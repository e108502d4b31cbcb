"""From an item to what the model under test is asked, and from its answer to a sample."""

from pydantic import TypeAdapter, ValidationError

from services.evaluator.evals.asking import Said
from services.evaluator.evals.graders import Messages
from services.evaluator.evals.grading.grades import to_messages
from services.evaluator.evals.schemas import (
    ChatSampling,
    ItemReference,
    Json,
    ResponsesSampling,
    SampledSource,
)
from services.evaluator.evals.wording import Names, Unfilled, look_up

DEFAULTS: Json = {"temperature": 1.0, "top_p": 1.0, "seed": 42}
"""OpenAI's; the number of tokens is the model's own limit unless it is given."""

_ASKED_WITH = ("temperature", "top_p", "seed", "max_completion_tokens")
_MESSAGES: TypeAdapter[Messages] = TypeAdapter(Messages)


def blank_request(source: SampledSource) -> Json:
    """A chat completion's body before its messages are filled in."""
    return {
        "model": source.model,
        "messages": [],
        **DEFAULTS,
        **_parameters(source.sampling_params),
    }


def request_of(source: SampledSource, item: Json) -> Json:
    """A chat completion's body; ``Unfilled`` where the item lacks what the messages name."""
    return blank_request(source) | {"messages": _messages(source, {"item": item})}


def _messages(source: SampledSource, names: Names) -> list[Json]:
    asked = source.input_messages
    if not isinstance(asked, ItemReference):
        return to_messages(asked.template, names)
    value = look_up(asked.item_reference, names)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    try:
        messages = _MESSAGES.validate_python(value)
    except ValidationError as error:
        raise Unfilled(f"{asked.item_reference} holds no messages") from error
    # Written by the item's author, and not a template.
    return [
        {"role": each.role.replace("developer", "system"), "content": each.text}
        for each in messages
    ]


def _parameters(given: ChatSampling | ResponsesSampling | None) -> Json:
    if given is None:
        return {}
    asked = given.model_dump(mode="json", exclude_none=True)
    if isinstance(given, ResponsesSampling):
        asked.pop("text", None)
        if given.text is not None and given.text.format is not None:
            asked["response_format"] = _chat_format(given.text.format)
        if given.tools is not None:
            asked["tools"] = [_chat_tool(tool) for tool in given.tools]
    return asked


def _chat_format(form: Json) -> Json:
    """Responses keep beside ``type`` what chat completions keep in an object of its own."""
    if form.get("type") != "json_schema":
        return form
    return {
        "type": "json_schema",
        "json_schema": {key: value for key, value in form.items() if key != "type"},
    }


def _chat_tool(tool: Json) -> Json:
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def sample_of(body: Json, said: Said) -> Json:
    """As OpenAI shows it, with ``output_text`` and ``output_tools`` for templates."""
    message: Json = {"role": "assistant", "content": said.text}
    if said.tool_calls:
        message["tool_calls"] = said.tool_calls
    return {
        "input": body["messages"],
        "output": [message],
        "output_text": said.text,
        "output_tools": said.tool_calls,
        "model": said.model,
        "finish_reason": said.finish_reason,
        "usage": said.usage,
        "error": None,
        **_asked_with(body),
    }


def failed_sample(body: Json, code: str, message: str) -> Json:
    """As far as the request came."""
    return {
        "input": body["messages"],
        "output": [],
        "output_text": None,
        "model": body["model"],
        "finish_reason": None,
        "usage": None,
        "error": {"code": code, "message": message[:2_000]},
        **_asked_with(body),
    }


def given_sample(given: Json) -> Json:
    """As it came, and beside it what OpenAI's client finds in each."""
    text = given.get("output_text")
    said = [{"role": "assistant", "content": text}] if isinstance(text, str) else []
    unknown = dict.fromkeys(("model", "finish_reason", "usage", "error", *_ASKED_WITH))
    return {"input": [], "output": said, **unknown, **given}


def _asked_with(body: Json) -> Json:
    return {name: body.get(name) for name in _ASKED_WITH}
