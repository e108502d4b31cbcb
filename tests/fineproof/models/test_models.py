"""Models arrive whole, checked, and once."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fineproof.models import catalog, pull
from fineproof.models.catalog import PACKAGED, Model, ModelError, resolve
from tests.fineproof.models.hub import Hub, serving

SMOLLM = PACKAGED["smollm2-135m-instruct"]


def ignore(_: float, __: str) -> None:
    """No progress to show."""


def test_the_packaged_weights_are_those_we_pinned() -> None:
    seen: list[float] = []
    assert pull.sha256(SMOLLM.source(), seen.append) == SMOLLM.sha256
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_other_weights_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    other = dataclasses.replace(SMOLLM, sha256="0" * 64)
    with pytest.raises(ModelError, match="make setup"):
        pull.unpack(other, tmp_path / "models" / "m", ignore)
    assert not (tmp_path / "models").exists()


def test_a_package_that_is_not_installed_says_so() -> None:
    with pytest.raises(ModelError, match=r"llm-nothing.*is not installed; run `make setup`"):
        dataclasses.replace(SMOLLM, package="llm_nothing").source()


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with contextlib.suppress(ZeroDivisionError), pull.published(folder) as unfinished:
        (unfinished / "half").write_text("")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with pull.published(folder) as unfinished:
        (unfinished / "config.json").write_text("{}")
        assert not folder.exists()
    assert (folder / "config.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.e2e
def test_a_conversion_that_fails_tells_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(ModelError, match=r"The conversion of broken\.gguf failed: \w+"):
        pull._convert(broken, tmp_path / "out", ignore)


def test_a_model_with_a_truncated_file_is_not_complete(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 10)
    sizes = {"config.json": 2, "model.safetensors": 10}
    (folder / catalog.MANIFEST).write_text(json.dumps({"bytes": sizes}))
    model = Model("m", folder)
    assert model.is_complete
    (folder / "model.safetensors").write_bytes(b"x" * 9)
    assert not model.is_complete


def test_a_complete_model_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = tmp_path.stat().st_mtime_ns
    assert pull.pull(Model("m", tmp_path), ignore) is False
    assert tmp_path.stat().st_mtime_ns == before


def test_names_folders_and_hub_ids_are_told_apart(tmp_path: Path) -> None:
    own = tmp_path / "My-Model"
    own.mkdir()
    (own / "config.json").write_text("{}")
    home = tmp_path / "home"
    assert resolve("smollm2-135m-instruct", home).folder == home / "models/smollm2-135m-instruct"
    assert resolve(str(own), home) == Model("My-Model", own)
    hub = resolve("Qwen/Qwen3-0.6B", home)
    assert (hub.name, hub.hub_id) == ("qwen3-0.6b", "Qwen/Qwen3-0.6B")
    assert hub.folder == home / "models" / "qwen3-0.6b"


@pytest.mark.parametrize("named", ["nothing", "../../etc", "a/b/c", "/no/such/folder", "a/..", ""])
def test_what_names_no_model_is_refused_with_the_choices(named: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve(named, tmp_path)


MODEL = "someone/Something-1B"


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"[]",
        "model.safetensors": bytes(range(256)) * 40_000,
        "pytorch_model.bin": b"a pickle, which nobody wants",
    }
    with serving(Hub(MODEL, files)) as hub:
        yield hub


def pull_from(hub: str, home: Path) -> subprocess.CompletedProcess[str]:
    """``fineproof models pull`` as a person runs it: the hub's client reads its settings once."""
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-m", "fineproof.cli", "models", "pull", MODEL],
        env=environment | {"HF_ENDPOINT": hub, "FINEPROOF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
    )


def test_a_model_is_pulled_by_its_hugging_face_id(hub: Hub, tmp_path: Path) -> None:
    done = pull_from(hub.url, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "something-1b"
    assert {file.name for file in folder.iterdir()} == hub.files.keys() - {"pytorch_model.bin"}
    for file in folder.iterdir():
        assert file.read_bytes() == hub.files[file.name]
    assert resolve(MODEL, tmp_path).is_complete
    assert [path.name for path in folder.parent.iterdir()] == ["something-1b"]
    assert pull_from(hub.url, tmp_path).stdout.startswith("something-1b was already in")


def test_a_download_that_was_cut_off_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.withheld = {"model.safetensors"}
    first = pull_from(hub.url, tmp_path)
    assert first.returncode != 0
    assert "The same command goes on from here." in first.stderr
    assert not resolve(MODEL, tmp_path).is_complete
    hub.withheld.clear()
    assert pull_from(hub.url, tmp_path).returncode == 0
    folder = tmp_path / "models" / "something-1b"
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert Counter(hub.asked) == {"config.json": 1, "tokenizer.json": 1, "model.safetensors": 1}


def test_two_who_pull_the_same_at_once_fetch_it_once(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: pull_from(hub.url, tmp_path), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert hub.asked.count("model.safetensors") == 1


def test_a_repository_that_is_no_model_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["config.json"]
    done = pull_from(hub.url, tmp_path)
    assert done.returncode != 0
    assert "holds no config.json" in done.stderr + done.stdout
    assert list((tmp_path / "models").iterdir()) == []


def test_a_download_that_fails_is_one_sentence(tmp_path: Path) -> None:
    done = pull_from("http://127.0.0.1:9", tmp_path)
    assert done.returncode != 0
    assert f"{MODEL} could not be downloaded (" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.e2e
def test_the_packaged_model_becomes_a_folder_that_answers(tmp_path: Path) -> None:
    """26 s on two cores."""
    model = resolve("smollm2-135m-instruct", tmp_path)
    told: list[tuple[float, str]] = []
    assert pull.pull(model, lambda done, doing: told.append((done, doing))) is True
    assert model.is_complete
    assert told == sorted(told, key=lambda step: step[0])
    assert told[-1] == (1.0, "done")
    config = json.loads((model.folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    code = (
        "import sys, torch; from transformers import pipeline\n"
        "ask = pipeline('text-generation', sys.argv[1], dtype=torch.float32)\n"
        "said = ask([{'role': 'user', 'content': 'What is the capital of France?'}],"
        " max_new_tokens=16, do_sample=False)\n"
        "print(said[0]['generated_text'][-1]['content'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model.folder)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert "Paris" in done.stdout, done.stderr[-2000:]
