"""Before a real vLLM on CPU with the small model: stock clients, real adapters, and a restart."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.common.ids import new_id
from tests.services.generator.conftest import BASE, VllmServer
from tests.services.generator.registry import Registry, folder_of
from tests.services.generator.test_adapters import chat, eventually, load, shown

pytestmark = pytest.mark.e2e

FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(real_generator: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real_generator}/v1", api_key="none", max_retries=0)


@pytest.fixture
def adapter(registry: Registry, adapter_folder: Path) -> str:
    """The name of a sound adapter; a new one each time, as vLLM outlives the tests."""
    name = f"ft:{BASE}:demo:{new_id('ftjob')}"
    registry.add(name, adapter_folder, base_model=BASE)
    return name


def held(server: VllmServer) -> set[str]:
    """Names of the models that vLLM itself says it serves."""
    return {card["id"] for card in httpx.get(f"{server.url}/v1/models").json()["data"]}


def test_the_stock_client_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=BASE, messages=FRANCE, max_tokens=12, temperature=0, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].message.content == "The capital of France is Paris."
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content[0].top_logprobs) == 2
    assert answer.usage is not None
    several = client.chat.completions.create(
        model=BASE, messages=FRANCE, max_tokens=4, temperature=1, seed=1, n=3
    )
    assert [choice.index for choice in several.choices] == [0, 1, 2]


def test_the_stock_client_streams_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=BASE,
            messages=FRANCE,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "The capital of France is Paris."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_what_only_vllm_knows_passes_through(client: openai.OpenAI) -> None:
    forced = client.chat.completions.create(
        model=BASE,
        messages=FRANCE,
        max_tokens=4,
        extra_body={"structured_outputs": {"choice": ["1", "2"]}},
    )
    assert forced.choices[0].message.content in ("1", "2")
    plain = client.completions.create(
        model=BASE, prompt="One two three", max_tokens=2, stop=["."], seed=1, logprobs=1
    )
    assert plain.choices[0].logprobs is not None


def test_vllms_refusals_are_typed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=BASE, messages=FRANCE, max_tokens=10**6)
    assert caught.value.code == "context_length_exceeded"
    for wrong in ({"messages": "x"}, {"n": -1}, {"temperature": "hot"}, {"messages": []}):
        ask: Any = {"model": BASE, "messages": FRANCE} | wrong
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**ask)


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


SPOILT = {
    "zero_effect": "adapter_no_effect",
    "renamed_modules": "adapter_incompatible",
    "wrapped_modules": "adapter_incompatible",
    "half_the_layers": "adapter_mismatch",
    "other_base": "adapter_incompatible",
    "canary_of_another_base": "adapter_incompatible",
    "truncated_file": "adapter_corrupt",
    "rank_64": "adapter_incompatible",
    "wrong_scale": "adapter_mismatch",
}


@pytest.mark.parametrize(("how", "code"), SPOILT.items())
def test_a_spoilt_adapter_is_refused_for_its_reason_and_never_served(
    real_generator: str,
    vllm_server: VllmServer,
    registry: Registry,
    adapter_folder: Path,
    tmp_path: Path,
    how: str,
    code: str,
) -> None:
    from tests.services.generator import adapters

    folder = adapters.copy_of(adapter_folder, tmp_path / how)
    getattr(adapters, how)(folder)
    name = f"ft:{BASE}:{how}:{new_id('ftjob')}"
    registry.add(name, folder, base_model=BASE)
    assert load(real_generator, name).json()["error"]["code"] == code
    assert shown(real_generator, name)["status"] == "failed"
    assert name not in held(vllm_server)
    asked = chat(real_generator, name)
    assert (asked.status_code, asked.json()["error"]["code"]) == (422, code)


def test_a_file_swapped_under_the_same_name_is_refused(
    real_generator: str, vllm_server: VllmServer, registry: Registry, adapter: str
) -> None:
    from tests.services.generator.adapters import zero_effect

    zero_effect(folder_of(registry.records[adapter]))
    assert load(real_generator, adapter).json()["error"]["code"] == "adapter_corrupt"
    assert adapter not in held(vllm_server)


def test_twenty_first_requests_at_once_are_all_answered_by_the_adapter(
    real_generator: str, registry: Registry, adapter: str
) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: _one_token(real_generator, adapter), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model"] for answer in answers} == {adapter}
    assert shown(real_generator, adapter)["status"] == "loaded"


def test_an_adapter_is_proven_while_others_are_answered(
    real_generator: str, vllm_server: VllmServer, adapter: str
) -> None:
    body = {"model": BASE, "messages": FRANCE, "max_tokens": 40, "ignore_eos": True}
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


def test_a_vllm_that_was_killed_and_restarted_gets_its_adapters_back(
    real_generator: str, vllm_server: VllmServer, registry: Registry, adapter: str
) -> None:
    before = load(real_generator, adapter).json()["proof"]
    vllm_server.kill()
    away = chat(real_generator, adapter)
    assert (away.status_code, away.json()["error"]["code"]) == (503, "model_server_unavailable")
    eventually(lambda: httpx.get(f"{real_generator}/readyz").status_code == 503)
    vllm_server.start()
    assert held(vllm_server) == {BASE} or adapter in held(vllm_server)
    eventually(lambda: adapter in held(vllm_server))
    eventually(lambda: shown(real_generator, adapter)["status"] == "loaded", seconds=120)
    again = shown(real_generator, adapter)["proof"]
    assert again["checked_at"] > before["checked_at"]
    assert _one_token(real_generator, adapter).json()["model"] == adapter


def _one_token(generator: str, model: str) -> httpx.Response:
    body = {"model": model, "messages": FRANCE, "max_tokens": 1, "temperature": 0}
    return httpx.post(f"{generator}/v1/chat/completions", json=body, timeout=300)
