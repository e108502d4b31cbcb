"""LangChain's ``ChatOpenAI``: asked, streamed, and made to call a tool.

python langchain_client.py URL MODEL
"""

import sys
from typing import Literal

import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."


class Capital(BaseModel):
    """The capital of a country."""

    city: Literal["Paris", "London"]


def main(url: str, model: str) -> None:
    chat = ChatOpenAI(
        base_url=f"{url}/v1",
        api_key=SecretStr("none"),
        model=model,
        temperature=0,
        max_completion_tokens=64,
        max_retries=0,
        stream_usage=True,
    )
    whole = chat.invoke(FRANCE)
    assert whole.content == PARIS
    assert whole.usage_metadata is not None
    streamed = AIMessageChunk("")
    for chunk in chat.stream(FRANCE):
        streamed += chunk
    assert streamed.content == PARIS
    assert streamed.usage_metadata == whole.usage_metadata
    tool = chat.bind_tools([Capital], tool_choice="Capital", strict=True)
    (call,) = tool.invoke(FRANCE).tool_calls
    assert (call["name"], set(call["args"])) == ("Capital", {"city"})
    assert call["args"]["city"] in ("Paris", "London")
    with pytest.raises(openai.NotFoundError):
        chat.bind(model="gpt-4").invoke(FRANCE)


main(*sys.argv[1:])
