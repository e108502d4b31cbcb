"""Chat, completions, models and RAG answers, with the ``openai`` that this process imports.

    python openai_client.py URL MODEL

Says nothing but the client's version, when every answer was as that client's types want it.
"""

import sys
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

FRANCE: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France?"}
]
PARIS = "The capital of France is Paris."
PASSAGE = "The warehouse in Tilburg opens at 6 in the morning."


def main(url: str, model: str) -> None:
    client = openai.OpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    )
    models(client, model)
    chat(client, model)
    completions(client, model)
    rag(client, model)
    errors(client, model)
    print(openai.__version__)


def models(client: openai.OpenAI, model: str) -> None:
    assert model in [card.id for card in client.models.list()]
    assert client.models.retrieve(model).object == "model"


def chat(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(
        model=model, messages=FRANCE, max_tokens=12, temperature=0, logprobs=True, top_logprobs=2
    )
    choice = whole.choices[0]
    assert (choice.message.content, choice.finish_reason) == (PARIS, "stop")
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert len(choice.logprobs.content[0].top_logprobs) == 2
    several = client.chat.completions.create(
        model=model, messages=FRANCE, max_tokens=2, temperature=1, seed=1, n=3
    )
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    *chunks, last = client.chat.completions.create(
        model=model,
        messages=FRANCE,
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == PARIS
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks)


def completions(client: openai.OpenAI, model: str) -> None:
    ask: Any = {
        "model": model,
        "prompt": "One two three four",
        "max_tokens": 4,
        "temperature": 0,
        "logprobs": 1,
    }
    whole = client.completions.create(**ask).choices[0]
    assert whole.logprobs is not None
    assert whole.logprobs.tokens is not None
    assert len(whole.logprobs.tokens) == 4
    # Its type has no null for a reason to finish, which every piece but the last has.
    lenient = openai.OpenAI(base_url=client.base_url, api_key="none", max_retries=0)
    chunks = lenient.completions.create(**ask, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.text


def rag(client: openai.OpenAI, model: str) -> None:
    """Ours, by the client's own door for what it does not know."""
    ask = {
        "question": "When does the warehouse in Tilburg open?",
        "model": model,
        "passages": [{"id": "p1", "text": PASSAGE}],
        "max_tokens": 16,
    }
    whole: Any = client.post("/rag/query", body=ask, cast_to=object)
    stream: Any = client.post(
        "/rag/query",
        body={**ask, "stream": True, "stream_options": {"include_usage": True}},
        cast_to=object,
        stream=True,
        stream_cls=openai.Stream[object],
    )
    events = list(stream)
    said = "".join(event["delta"] for event in events if event["object"] == "rag.delta")
    answer, usage = events[-2:]
    assert said == answer["answer"] == whole["answer"]
    assert usage["usage"] == answer["usage"] == whole["usage"]
    assert answer["citations"], answer["answer"]
    for cited in answer["citations"]:
        assert PASSAGE[cited["passage_start"] : cited["passage_end"]] == cited["quote"]
        assert said[cited["start"] : cited["end"]].lower() == cited["quote"].lower()


def errors(client: openai.OpenAI, model: str) -> None:
    ask: Any = {"model": model, "messages": FRANCE}
    for wrong, kind, code in (
        ({"model": "gpt-4"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": 10**6}, openai.BadRequestError, "context_length_exceeded"),
        ({"temperature": "hot"}, openai.BadRequestError, "invalid_request"),
    ):
        for stream in (False, True):
            with pytest.raises(kind) as caught:
                client.chat.completions.create(**{**ask, **wrong}, stream=stream)
            assert caught.value.code == code


main(*sys.argv[1:])
