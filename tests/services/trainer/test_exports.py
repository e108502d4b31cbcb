"""Adapters that leave the registry: where they may go, and what arrives."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import httpx
import openai
import pytest
from pydantic import SecretStr

from services.trainer.running.attempt import Workshop
from services.trainer.running.exporting import export
from services.trainer.settings import TrainerSettings
from tests.services.trainer.conftest import BASE, fine_tune, pairs, registered

NAME = f"ft:{BASE}:mine:ftjob_1"


@pytest.fixture
def settings(settings: TrainerSettings, tmp_path: Path) -> TrainerSettings:
    allowed = ("memory://exports", (tmp_path / "exports").as_uri())
    return settings.model_copy(update={"export_urls": allowed})


@pytest.fixture
def adapter(workshop: Workshop) -> str:
    """A name in the registry, and a file in the store."""
    stored = workshop.store.write_bytes("adapters/ftjob_1/1-abc/adapter_config.json", b"{}")
    file = {"name": "adapter_config.json", "bytes": stored.bytes, "sha256": stored.sha256}
    url = workshop.store.url_of("adapters/ftjob_1/1-abc")
    return registered(workshop, NAME, job_id="ftjob_1", url=url, files=[file])


def ask(http: httpx.Client, name: str, destination: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"destination": destination} | more
    return http.post(f"/v1/fine_tuning/adapters/{name}/exports", json=body)


def test_an_adapter_is_exported_to_a_url_and_the_export_can_be_followed(
    http: httpx.Client, workshop: Workshop, adapter: str
) -> None:
    url = "memory://exports/mine"
    made = ask(http, adapter, {"type": "url", "url": url}).raise_for_status().json()
    assert (made["status"], made["adapter"], made["merge"]) == ("queued", adapter, False)
    one = f"/v1/fine_tuning/adapters/{adapter}/exports/{made['id']}"
    export(workshop, made["id"])
    done = http.get(one).raise_for_status().json()
    assert (done["status"], done["url"], done["error"]) == ("succeeded", url, None)
    assert fsspec.filesystem("memory").cat("/exports/mine/adapter_config.json") == b"{}"
    listed = http.get(f"/v1/fine_tuning/adapters/{adapter}/exports").json()
    assert listed["data"] == [done]
    # The routes of adapters are still there.
    assert http.get(f"/v1/fine_tuning/adapters/{adapter}").json()["id"] == adapter
    assert http.get(f"{one}x").json()["error"]["code"] == "export_not_found"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("memory://elsewhere/mine", "url_not_allowed"),
        ("memory://exports-of-others/mine", "url_not_allowed"),
        ("file:///etc", "url_not_allowed"),
        ("memory://exports/../elsewhere", "invalid_url"),
        ("memory://exports/%2e%2e/elsewhere", "invalid_url"),
        ("memory://exports/.hidden", "invalid_url"),
        ("simplecache::memory://exports/mine", "invalid_url"),
        ("/etc/passwd", "invalid_url"),
        ("memory://exports/mine\n", "invalid_url"),
    ],
)
def test_only_what_the_operator_lists_is_written_to(
    http: httpx.Client, adapter: str, target: str, code: str
) -> None:
    refused = ask(http, adapter, {"type": "url", "url": target})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)


def test_what_cannot_be_exported_is_refused_with_a_reason(http: httpx.Client, adapter: str) -> None:
    hub = {"type": "huggingface", "repo_id": "me/mine"}
    refused = ask(http, adapter, hub).json()["error"]
    assert refused["code"] == "export_not_configured"
    assert "FINEPROOF_TRAINER_HUGGINGFACE_TOKEN" in refused["message"]
    bad_name = ask(http, adapter, hub | {"repo_id": "me/../mine"}).json()["error"]
    assert bad_name["code"] == "invalid_value"
    unknown = ask(http, "ft:none", {"type": "url", "url": "memory://exports/mine"})
    assert unknown.status_code == 404


def test_a_destination_that_takes_nothing_fails_the_export_in_the_end(
    http: httpx.Client, workshop: Workshop, adapter: str, tmp_path: Path
) -> None:
    (tmp_path / "exports").write_text("no folder")
    destination = {"type": "url", "url": (tmp_path / "exports" / "mine").as_uri()}
    made = ask(http, adapter, destination).json()
    once = workshop.settings.model_copy(update={"max_attempts": 1})
    export(replace(workshop, settings=once), made["id"])
    done = http.get(f"/v1/fine_tuning/adapters/{adapter}/exports/{made['id']}").json()
    assert (done["status"], done["error"]["code"]) == ("failed", "export_failed")
    assert str(tmp_path) not in done["error"]["message"]


def test_merged_weights_say_what_base_and_adapter_say(
    http: httpx.Client,
    client: openai.OpenAI,
    upload: Callable[..., str],
    workshop: Workshop,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hyperparameters = {"n_epochs": 1, "learning_rate": 0.01, "lora": {"r": 4}}
    job_id = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(pairs(10)),
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},  # type: ignore[typeddict-item]
    ).id
    fine_tune(workshop, job_id)
    name = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    assert name is not None
    for merge in (False, True):
        folder = tmp_path / "exports" / str(merge)
        made = ask(http, name, {"type": "url", "url": folder.as_uri()}, merge=merge).json()
        export(workshop, made["id"])
        got = http.get(f"/v1/fine_tuning/adapters/{name}/exports/{made['id']}").json()
        assert got["status"] == "succeeded", got["error"]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "exports" / "True")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = AutoTokenizer.from_pretrained(tmp_path / "exports" / "True")("What is 2?")["input_ids"]
    with torch.inference_mode():
        untuned = base(torch.tensor([ids])).logits
        adapted = PeftModel.from_pretrained(base, tmp_path / "exports" / "False")
        expected = adapted(torch.tensor([ids])).logits
        found = merged(torch.tensor([ids])).logits
    assert not torch.allclose(found, untuned, atol=1e-3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's HTTP API as a push uses; it asks for every file inline."""

    seen: list[tuple[str, str | None]]
    files: dict[str, bytes]

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != "Bearer hf_secret":
            self._answer({"error": "Invalid token"}, status=401)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.path, self.headers.get("Authorization")))
        answer: dict[str, Any] = {}
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            assert asked["visibility"] == "private"
            answer = {"url": f"http://{self.headers['Host']}/me/mine", "name": "me/mine"}
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            answer = {
                "files": [
                    {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
                ]
            }
        elif "/commit/" in self.path:
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            host = self.headers["Host"]
            answer = {"commitUrl": f"http://{host}/me/mine/commit/1", "commitOid": "1"}
        self._answer(answer)

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer hf_secret"
        self._answer({"id": "me/mine", "siblings": []}, status=200 if known else 401)

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    handler = type("TestHub", (Hub,), {"seen": [], "files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


class TestHuggingFace:
    @pytest.fixture
    def settings(
        self, settings: TrainerSettings, hub: tuple[str, type[Hub]], monkeypatch: pytest.MonkeyPatch
    ) -> TrainerSettings:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        told = {"huggingface_token": SecretStr("hf_secret"), "huggingface_endpoint": hub[0]}
        return settings.model_copy(update=told)

    def test_an_adapter_is_pushed_to_a_private_repository(
        self, http: httpx.Client, workshop: Workshop, adapter: str, hub: tuple[str, type[Hub]]
    ) -> None:
        """The hub is a stand-in: the real one is not reached from a test."""
        made = ask(http, adapter, {"type": "huggingface", "repo_id": "me/mine"}).json()
        export(workshop, made["id"])
        done = http.get(f"/v1/fine_tuning/adapters/{adapter}/exports/{made['id']}").json()
        assert (done["status"], done["url"]) == ("succeeded", f"{hub[0]}/me/mine")
        assert hub[1].files == {"adapter_config.json": b"{}"}
        assert {key for _, key in hub[1].seen} == {"Bearer hf_secret"}

    def test_a_token_the_hub_does_not_know_fails_the_export_at_once(
        self, http: httpx.Client, workshop: Workshop, adapter: str
    ) -> None:
        made = ask(http, adapter, {"type": "huggingface", "repo_id": "me/mine"}).json()
        other = workshop.settings.model_copy(update={"huggingface_token": SecretStr("hf_other")})
        export(replace(workshop, settings=other), made["id"])
        done = http.get(f"/v1/fine_tuning/adapters/{adapter}/exports/{made['id']}").json()
        assert done["error"]["message"] == "Hugging Face refused 'me/mine' with status 401."
