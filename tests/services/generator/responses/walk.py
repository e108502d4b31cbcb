"""``client.responses``, walked with the ``openai`` that this process imports.

    python walk.py URL MODEL STORE

The model is to say ``{"answer": …}`` in words of a passage of the store. Says nothing but the
client's version, when every answer and event was as that client's types want it.
"""

import sys
from typing import Any

import openai
import pydantic
import pytest

QUESTION = "For how long are audit logs kept?"


class Answer(pydantic.BaseModel):
    answer: str


def main(url: str, model: str, store: str) -> None:
    client = openai.OpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    )
    asked: dict[str, Any] = {
        "model": model,
        "input": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
        ],
        "tools": [
            {
                "type": "file_search",
                "vector_store_ids": [store],
                "max_num_results": 3,
                "filters": {"type": "ne", "key": "place", "value": 9},
                "ranking_options": {"ranker": "auto", "score_threshold": 0},
            }
        ],
        "include": ["file_search_call.results"],
        "max_output_tokens": 60,
        "temperature": 0,
        "metadata": {"client": openai.__version__},
    }
    whole(client, asked)
    streamed(client, asked)
    accumulated(client, asked)
    parsed(client, asked)
    conversed(client, asked)
    refused(client, asked)
    print(openai.__version__)


def check(response: Any) -> None:
    assert response.status == "completed"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    search, message = response.output
    assert (search.type, search.queries) == ("file_search_call", [QUESTION])
    (part,) = message.content
    assert part.text == response.output_text
    assert part.annotations
    for citation in part.annotations:
        assert citation.type == "file_citation"
        found = search.results[citation.index]
        assert (found.file_id, found.filename) == (citation.file_id, citation.filename)
        assert found.text[citation.passage_start : citation.passage_end] == citation.quote
        assert part.text[citation.start : citation.end]


def whole(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    response = client.responses.create(**asked)
    check(response)
    assert response.metadata == {"client": openai.__version__}


def streamed(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert events[-1].type == "response.completed"
    assert text == events[-1].response.output_text
    check(events[-1].response)


def accumulated(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    with client.responses.stream(**asked) as stream:
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    check(final)
    assert snapshots[-1] == final.output_text


def parsed(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    response = client.responses.parse(**asked, text_format=Answer)
    assert response.output_parsed is not None
    assert response.output_parsed.answer in response.output_text
    with client.responses.stream(**asked, text_format=Answer) as stream:
        assert stream.get_final_response().output_parsed == response.output_parsed


def conversed(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    """With what was answered sent back, as clients do it that keep the turns themselves."""
    turns = asked["input"] + client.responses.create(**asked).output
    turns += [{"role": "user", "content": QUESTION}]
    check(client.responses.create(**asked | {"input": turns}))


def refused(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    for wrong, code in (
        ({"previous_response_id": "resp_1"}, "unsupported_parameter"),
        ({"tools": [{"type": "web_search_preview"}]}, "unsupported_parameter"),
        ({"max_output_tokens": 0}, "invalid_value"),
    ):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                client.responses.create(**asked | wrong | {"stream": stream})
            assert caught.value.code == code
    with pytest.raises(openai.NotFoundError) as missed:
        client.responses.retrieve("resp_1")
    assert missed.value.code == "response_not_kept"


if __name__ == "__main__":
    main(*sys.argv[1:])
