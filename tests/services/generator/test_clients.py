"""Clients as their makers ship them, before a real vLLM or one that fails on purpose."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.clients import OLD, client_folder, old_client, walked
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.upstream import Upstream

WALKS = Path(__file__).parent / "walks"
CLIENTS = [version("openai"), OLD]


@pytest.mark.e2e
@pytest.mark.parametrize("client", CLIENTS)
def test_openais_clients_chat_stream_and_read_cited_answers(
    real_generator: str, client: str
) -> None:
    path = old_client() if client == OLD else None
    assert walked(WALKS / "openai_client.py", real_generator, BASE, path=path) == client


@pytest.mark.e2e
def test_langchain_chats_streams_and_calls_tools(real_generator: str) -> None:
    walked(WALKS / "langchain_client.py", real_generator, BASE, path=client_folder("langchain"))


@pytest.mark.e2e
def test_llama_index_chats_completes_and_streams(real_generator: str) -> None:
    walked(WALKS / "llama_index_client.py", real_generator, BASE, path=client_folder("llama-index"))


def test_errors_are_the_clients_own_exceptions(start_generator: StartGenerator) -> None:
    keys = [{"name": "a", "sha256": hashlib.sha256(b"a").hexdigest(), "scopes": ["read"]}]
    broken, cut = Upstream(BASE), Upstream(BASE)
    broken.fault, cut.fault = "broken", "cut"
    with serving(broken.app) as broken.url, serving(cut.app) as cut.url:
        urls = [
            start_generator(cut.url, mode="production", api_keys=keys),
            start_generator(broken.url),
            start_generator("http://127.0.0.1:9"),
            start_generator(cut.url),
        ]
        for client, path in zip(CLIENTS, (None, old_client()), strict=True):
            assert walked(WALKS / "openai_errors.py", BASE, *urls, path=path) == client
