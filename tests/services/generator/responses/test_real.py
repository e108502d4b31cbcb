"""Before a real vLLM on CPU with the small model: what it says is cited and shaped."""

from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from services.common.ids import new_id
from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.conftest import BASE, StartGenerator, VllmServer
from tests.services.generator.registry import Registry
from tests.services.generator.responses.conftest import tool

pytestmark = pytest.mark.e2e

QUESTION = "When does the warehouse in Tilburg open?"
TILBURG = "The warehouse in Tilburg opens at 6 in the morning."


@pytest.fixture
def client(
    start_generator: StartGenerator, vllm_server: VllmServer, registry: Registry, shelf: Shelf
) -> openai.OpenAI:
    shelf.put("vs_1", ("gent", "The office in Gent has a garden.", 0.3))
    shelf.put("vs_2", ("tilburg", TILBURG, 0.8))
    url = start_generator(
        vllm_server.url,
        trainer_url=registry.url,
        retriever_url=shelf.url,
        base_model_path=str(vllm_server.model.folder),
    )
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def ask(**changes: Any) -> Any:
    asked = {
        "model": BASE,
        "input": QUESTION,
        "tools": [tool("vs_1", "vs_2")],
        "include": ["file_search_call.results"],
        "max_output_tokens": 32,
        "temperature": 0,
    }
    return asked | changes


def test_a_streamed_answers_cited_span_is_in_its_passage(client: openai.OpenAI) -> None:
    with client.responses.stream(**ask()) as stream:
        kinds = [event.type for event in stream]
        response: Any = stream.get_final_response()
    assert kinds.count("response.output_text.delta") > 3
    search, message = response.output
    assert [result.passage_id for result in search.results] == ["tilburg", "gent"]
    (part,) = message.content
    cited = [note for note in part.annotations if note.file_id == "doc_tilburg"]
    assert cited, part.text
    for note in cited:
        assert TILBURG[note.passage_start : note.passage_end] == note.quote
        assert part.text[note.start : note.end].lower() == note.quote.lower()
    assert response.usage.output_tokens <= 32


def test_an_adapter_answers_by_its_name(
    client: openai.OpenAI, registry: Registry, adapter_folder: Path
) -> None:
    name = f"ft:{BASE}:demo:{new_id('ftjob')}"
    registry.add(name, adapter_folder, base_model=BASE)
    response: Any = client.responses.create(**ask(model=name, max_output_tokens=4))
    assert response.model == name
    assert response.adapter_sha256 == registry.records[name].sha256
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


class Opening(pydantic.BaseModel):
    hour: int


def test_an_answer_takes_the_form_of_a_schema(client: openai.OpenAI) -> None:
    response = client.responses.parse(**ask(), text_format=Opening)
    assert isinstance(response.output_parsed, Opening)


def test_a_function_that_must_be_called_is_called(client: openai.OpenAI) -> None:
    parameters = {
        "type": "object",
        "properties": {"day": {"type": "integer", "minimum": 1, "maximum": 31}},
        "required": ["day"],
        "additionalProperties": False,
    }
    function = {"type": "function", "name": "find", "parameters": parameters, "strict": True}
    choice = {"type": "function", "name": "find"}
    asked = ask(
        tools=[function], tool_choice=choice, max_output_tokens=96
    )  # vLLM forgets a call that is cut
    response: Any = client.responses.create(**asked)
    (call,) = (item for item in response.output if item.type == "function_call")
    assert call.name == "find"
    assert call.call_id
