"""Adapters spoilt on purpose, each by hand through the API: refused with its reason, never served.

Before a real vLLM wherever one shows the fault. A model server that lies is a stand-in.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from services.common.ids import new_id
from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator, VllmServer, held
from tests.services.generator.registry import Registry, folder_of
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream

WEIGHTS = "adapter_model.safetensors"

SPOILT = {
    "empty": ("adapter_no_effect", "changes nothing|were not there"),
    "other_base": ("adapter_incompatible", "trained on 'meta-llama/Llama-2-7b-hf'"),
    "canary_of_another_base": ("adapter_incompatible", "trained on another base model"),
    "renamed_modules": ("adapter_incompatible", "210 of 210 LoRA modules do not exist"),
    "wrapped_modules": ("adapter_incompatible", "210 of 210 LoRA modules do not exist"),
    "half_the_layers": ("adapter_mismatch", "not what was trained"),
    "truncated_file": ("adapter_corrupt", "not a whole safetensors file"),
    "rank_64": ("adapter_incompatible", "rank is 64, the engine's limit 16"),
    "wrong_rank": ("adapter_corrupt", "says r=16, and its matrices are of rank 8"),
    "wrong_scale": ("adapter_mismatch", "not what was trained"),
}


def refused(generator: str, name: str, code: str) -> str:
    """That it is refused whoever asks, and the reason, which every way of asking gives."""
    asked = [load(generator, name), chat(generator, name)]
    rag = {"question": "Hi?", "model": name, "condition": "closed_book"}
    asked.append(httpx.post(f"{generator}/v1/rag/query", json=rag, timeout=60))
    for answer in asked:
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    adapter = shown(generator, name)
    assert (adapter["status"], adapter["proof"], adapter["proofs"]) == ("failed", None, [])
    assert httpx.get(f"{generator}/v1/models/{name}").json()["status"] == "failed"
    reasons = {answer.json()["error"]["message"] for answer in asked}
    assert reasons == {adapter["error"]["message"]}
    return str(reasons.pop())


@pytest.mark.e2e
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_adapter_is_refused_by_a_real_vllm_s_answers_or_before(
    real_generator: str,
    vllm_server: VllmServer,
    registry: Registry,
    adapter_folder: Path,
    tmp_path: Path,
    how: str,
) -> None:
    from tests.services.generator.adapters import spoiling

    code, reason = SPOILT[how]
    folder = spoiling.copy_of(adapter_folder, tmp_path / how)
    getattr(spoiling, how)(folder)
    name = f"ft:{BASE}:{how}:{new_id('ftjob')}"
    registry.add(name, folder, base_model=BASE)
    assert any(words in refused(real_generator, name, code) for words in reason.split("|"))
    assert name not in held(vllm_server)


@pytest.mark.e2e
def test_a_file_swapped_in_the_cache_takes_a_loaded_adapter_out_of_a_real_vllm(
    real_generator: str, vllm_server: VllmServer, adapter: str, tmp_path: Path
) -> None:
    from tests.services.generator.adapters.spoiling import empty

    assert load(real_generator, adapter).status_code == 200
    assert adapter in held(vllm_server)
    (folder,) = (tmp_path / "cache").iterdir()
    empty(folder)
    eventually(lambda: shown(real_generator, adapter)["status"] == "failed")
    assert WEIGHTS in shown(real_generator, adapter)["error"]["message"]
    assert adapter not in held(vllm_server)
    assert chat(real_generator, adapter).json()["error"]["code"] == "adapter_corrupt"


@pytest.fixture
def tiny(registry: Registry, tmp_path: Path) -> str:
    """The name of a sound adapter for a model server that answers by rote."""
    name = f"ft:{BASE}:demo:ftjob-1"
    registry.add(name, tiny_adapter(tmp_path / "one", base_model=BASE), base_model=BASE)
    return name


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def replace(file: Path) -> None:
    """By another file of the same size and time, as a swap that means to be overlooked."""
    other = file.with_name("other")
    shutil.copy2(file, other)
    flip_a_bit(other)
    shutil.copystat(file, other)
    other.rename(file)


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("swap", [flip_a_bit, replace, shorten])
@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json", "canary.json"])
def test_a_file_swapped_in_the_cache_takes_a_loaded_adapter_out(
    generator: str,
    upstream: Upstream,
    tiny: str,
    tmp_path: Path,
    name: str,
    swap: Callable[[Path], None],
) -> None:
    assert load(generator, tiny).status_code == 200
    (folder,) = (tmp_path / "cache").iterdir()
    swap(folder / name)
    eventually(lambda: shown(generator, tiny)["status"] == "failed")
    assert shown(generator, tiny)["error"]["code"] == "adapter_corrupt"
    assert (
        f"{name} is not the file that was registered" in shown(generator, tiny)["error"]["message"]
    )
    assert upstream.adapters == {}
    assert chat(generator, tiny).status_code == 422
    assert load(generator, tiny).status_code == 200, "what lies in the store is sound"
    assert chat(generator, tiny).status_code == 200


def test_asking_for_a_loaded_adapter_again_looks_at_its_files(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    tiny: str,
    tmp_path: Path,
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, reconcile_seconds=3600)
    load(url, tiny)
    (folder,) = (tmp_path / "cache").iterdir()
    flip_a_bit(folder / WEIGHTS)
    assert load(url, tiny).json()["error"]["code"] == "adapter_corrupt"
    assert upstream.adapters == {}


def test_a_file_gone_from_the_cache_comes_back_and_the_adapter_is_served_on(
    generator: str, upstream: Upstream, tiny: str, tmp_path: Path
) -> None:
    load(generator, tiny)
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / WEIGHTS).unlink()
    eventually(lambda: (folder / WEIGHTS).exists())
    assert (shown(generator, tiny)["status"], upstream.loads) == ("loaded", [tiny])


def test_a_file_swapped_in_the_store_is_refused(
    generator: str, upstream: Upstream, registry: Registry, tiny: str
) -> None:
    flip_a_bit(folder_of(registry.records[tiny]) / WEIGHTS)
    assert "SHA-256" in refused(generator, tiny, "adapter_corrupt")
    assert upstream.loads == []


def test_a_file_swapped_in_the_store_later_changes_nothing_until_it_is_fetched(
    generator: str, upstream: Upstream, registry: Registry, tiny: str, tmp_path: Path
) -> None:
    load(generator, tiny)
    flip_a_bit(folder_of(registry.records[tiny]) / WEIGHTS)
    assert load(generator, tiny).status_code == 200
    httpx.delete(f"{generator}/v1/adapters/{tiny}", timeout=30)
    shutil.rmtree(tmp_path / "cache")
    assert "SHA-256" in refused(generator, tiny, "adapter_corrupt")
    assert upstream.adapters == {}


def test_other_weights_registered_under_a_loaded_name_are_refused(
    generator: str, registry: Registry, tiny: str, tmp_path: Path
) -> None:
    load(generator, tiny)
    before = shown(generator, tiny)["sha256"]
    registry.add(tiny, tiny_adapter(tmp_path / "two", base_model=BASE, seed=1), base_model=BASE)
    answer = load(generator, tiny)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "adapter_corrupt")
    assert shown(generator, tiny)["sha256"] == before


def test_modules_that_vllm_was_not_started_for_are_refused(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, tiny: str
) -> None:
    url = start_generator(
        upstream.url, trainer_url=registry.url, lora_target_modules=["k_proj", "v_proj"]
    )
    reason = refused(url, tiny, "adapter_incompatible")
    assert "q_proj" in reason
    assert "--lora-target-modules" in reason
    assert upstream.loads == []


def test_weights_that_are_pickled_are_refused(
    generator: str, upstream: Upstream, registry: Registry, tmp_path: Path
) -> None:
    folder = tiny_adapter(tmp_path / "pickled", base_model=BASE)
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    (folder / WEIGHTS).write_bytes(b"\x80\x04pickle")
    name = f"ft:{BASE}:demo:ftjob-2"
    registry.add(name, folder, base_model=BASE)
    assert "safetensors" in refused(generator, name, "adapter_corrupt")
    assert upstream.loads == []


@pytest.mark.parametrize(
    "changes",
    [
        {"base_model_name_or_path": None},
        {"base_model_name_or_path": [BASE]},
        {"rank_pattern": "all"},
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused(
    generator: str,
    upstream: Upstream,
    registry: Registry,
    tmp_path: Path,
    changes: dict[str, object],
) -> None:
    folder = tiny_adapter(tmp_path / "odd", base_model=BASE)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    name = f"ft:{BASE}:demo:ftjob-3"
    registry.add(name, folder, base_model=BASE)
    assert "adapter_config.json cannot be read" in refused(generator, name, "adapter_corrupt")
    assert upstream.loads == []


def test_a_vllm_that_answers_200_and_serves_the_base_is_found_out(
    generator: str, upstream: Upstream, tiny: str
) -> None:
    upstream.fault = "serves_base"
    assert "as if the adapter were not there" in refused(generator, tiny, "adapter_no_effect")
    assert upstream.adapters == {}


def test_a_vllm_that_serves_the_base_after_a_restart_is_found_out(
    generator: str, upstream: Upstream, tiny: str
) -> None:
    load(generator, tiny)
    upstream.fault = "serves_base"
    upstream.started_at += 1  # it says that it holds the adapter, as before
    eventually(lambda: shown(generator, tiny)["status"] == "failed")
    assert shown(generator, tiny)["error"]["code"] == "adapter_no_effect"
    assert upstream.adapters == {}
    upstream.fault = None
    assert chat(generator, tiny).status_code == 422, "until someone loads it by hand"
    assert load(generator, tiny).status_code == 200
