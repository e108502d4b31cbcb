"""Before a real vLLM on CPU with the small model: refusals, real adapters, and a restart."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.common.ids import new_id
from services.generator.adapters.warming import write_idle
from services.generator.adapters.weights import base_shapes
from tests.services.generator.adapters.test_keeper import eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator, held
from tests.services.generator.registry import Registry
from tests.vllm import VllmServer

pytestmark = pytest.mark.e2e

FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(real_generator: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real_generator}/v1", api_key="none", max_retries=0)


def test_vllms_refusals_are_typed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=BASE, messages=FRANCE, max_tokens=10**6)
    assert caught.value.code == "context_length_exceeded"
    for wrong in ({"messages": "x"}, {"n": -1}, {"temperature": "hot"}, {"messages": []}):
        ask: Any = {"model": BASE, "messages": FRANCE} | wrong
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**ask)


def test_seeded_requests_whose_prompts_are_read_in_several_steps_are_answered(
    vllm_server: VllmServer,
) -> None:
    """Unpatched, vLLM's engine ends at the first of them on a CPU."""
    limit = 3 * 2048  # more than vLLM reads in one step, together

    def ask(number: int) -> list[str]:
        said = {"role": "user", "content": f"{number} " + "and so on, " * (limit // 24)}
        body = {"messages": [said], "model": BASE, "seed": 7, "n": 3, "max_tokens": 2}
        answer = httpx.post(f"{vllm_server.url}/v1/chat/completions", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
        return [choice["message"]["content"] for choice in answer.json()["choices"]]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert all(len(choices) == 3 for choices in answers)
    assert httpx.get(f"{vllm_server.url}/health").status_code == 200


def test_a_sound_adapter_is_loaded_proven_and_asked(
    client: openai.OpenAI, real_generator: str, adapter: str
) -> None:
    proof = load(real_generator, adapter).json()["proof"]
    assert (proof["modules_in_file"], proof["modules_matched"]) == (210, 210)
    assert proof["max_abs_logprob_delta"] > 0.1
    assert proof["peft_max_abs_diff"] < 1e-3
    by_adapter = client.chat.completions.create(
        model=adapter, messages=FRANCE, max_tokens=8, temperature=0, logprobs=True
    )
    by_base = client.chat.completions.create(
        model=BASE, messages=FRANCE, max_tokens=8, temperature=0, logprobs=True
    )
    assert by_adapter.model == adapter
    assert by_adapter.choices[0].logprobs != by_base.choices[0].logprobs
    assert adapter in {model.id for model in client.models.list()}


def test_the_adapter_without_effect_is_one_that_vllm_takes_and_answers_through(
    vllm_server: VllmServer, tmp_path: Path
) -> None:
    write_idle(tmp_path, base_shapes(str(vllm_server.model.folder)))
    body = {"lora_name": "idle", "lora_path": str(tmp_path)}
    httpx.post(f"{vllm_server.url}/v1/load_lora_adapter", json=body, timeout=300).raise_for_status()
    assert _one_token(vllm_server.url, "idle").status_code == 200
    httpx.post(f"{vllm_server.url}/v1/unload_lora_adapter", json=body).raise_for_status()


def test_twenty_first_requests_at_once_are_all_answered_by_the_adapter(
    real_generator: str, registry: Registry, adapter: str
) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: _one_token(real_generator, adapter), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model"] for answer in answers} == {adapter}
    eventually(lambda: shown(real_generator, adapter)["status"] == "loaded")


def test_an_adapter_is_proven_while_others_are_answered(
    real_generator: str, vllm_server: VllmServer, adapter: str
) -> None:
    body = {"model": BASE, "messages": FRANCE, "max_tokens": 160, "ignore_eos": True}
    with ThreadPoolExecutor(4) as pool:
        url = f"{real_generator}/v1/chat/completions"
        busy = [pool.submit(httpx.post, url, json=body, timeout=300) for _ in range(4)]
        assert load(real_generator, adapter).json()["proof"]["peft_max_abs_diff"] < 1e-3
        assert not all(answer.done() for answer in busy), "nobody was being answered"
        assert {answer.result().status_code for answer in busy} == {200}
    assert adapter in held(vllm_server)


def test_a_rag_answer_through_an_adapter_names_its_weights(
    real_generator: str, registry: Registry, adapter: str
) -> None:
    text = "The warehouse in Tilburg opens at 6 in the morning."
    ask = {
        "question": "When does the warehouse in Tilburg open?",
        "condition": "oracle",
        "passages": [{"id": "p1", "text": text}],
        "model": adapter,
        "max_tokens": 24,
    }
    answer = httpx.post(f"{real_generator}/v1/rag/query", json=ask, timeout=300).json()
    assert answer["adapter_sha256"] == registry.records[adapter].sha256
    assert answer["model"] == adapter
    assert answer["usage"]["completion_tokens"] <= 24
    for citation in answer["citations"]:  # which words it says is the model's business
        assert text[citation["passage_start"] : citation["passage_end"]] == citation["quote"]


def test_passages_fill_the_models_window_and_no_more(real_generator: str) -> None:
    passages = [{"id": f"p{n}", "text": f"Site {n} is closed on day {n}. " * 40} for n in range(40)]
    ask = {"question": "Why?", "condition": "oracle", "passages": passages, "max_tokens": 2}
    answer = httpx.post(f"{real_generator}/v1/rag/query", json=ask, timeout=300).json()
    window = httpx.get(f"{real_generator}/v1/models").json()["data"][0]["max_model_len"]
    assert window - 600 < answer["usage"]["prompt_tokens"] <= window - 2
    assert len(answer["passages"]) + len(answer["left_out"]) == 40


def test_more_adapters_than_places_take_turns_in_vllm(
    start_generator: StartGenerator,
    vllm_server: VllmServer,
    registry: Registry,
    adapter_folder: Path,
) -> None:
    url = start_generator(
        vllm_server.url,
        trainer_url=registry.url,
        base_model_path=str(vllm_server.model.folder),
        max_cpu_loras=1,
    )
    names = [f"ft:{BASE}:demo:{new_id('ftjob')}" for _ in range(2)]
    for name in names:
        registry.add(name, adapter_folder, base_model=BASE)
    for name in (*names, names[0]):
        assert _one_token(url, name).json()["model"] == name
        assert held(vllm_server) & set(names) == {name}
    assert shown(url, names[1])["status"] == "evicted"


def _one_token(generator: str, model: str) -> httpx.Response:
    body = {"model": model, "messages": FRANCE, "max_tokens": 1, "temperature": 0}
    return httpx.post(f"{generator}/v1/chat/completions", json=body, timeout=300)
