"""LlamaIndex's OpenAI-like client: chat and completion, whole and streamed.

python llama_index_client.py URL MODEL
"""

import sys

import openai
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

FRANCE = [ChatMessage(role="user", content="What is the capital of France?")]
PARIS = "The capital of France is Paris."


def main(url: str, model: str) -> None:
    def client(name: str, *, chats: bool) -> OpenAILike:
        return OpenAILike(
            model=name,
            api_base=f"{url}/v1",
            api_key="none",
            is_chat_model=chats,
            context_window=4096,
            max_tokens=12,
            temperature=0,
            max_retries=0,
        )

    chat = client(model, chats=True)
    assert chat.chat(FRANCE).message.content == PARIS
    *_, last = chat.stream_chat(FRANCE)
    assert last.message.content == PARIS
    plain = client(model, chats=False)
    text = plain.complete("One two three four").text
    assert text
    *_, last_of_text = plain.stream_complete("One two three four")
    assert last_of_text.text == text
    with pytest.raises(openai.NotFoundError):
        client("gpt-4", chats=True).chat(FRANCE)


main(*sys.argv[1:])
