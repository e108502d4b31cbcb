import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.conftest import StartGenerator
from tests.services.generator.upstream import Upstream

QUESTION = "For how long are audit logs kept?"
LOGS = "Backups run nightly. Audit logs are kept for 47 days in cold storage."
BILLS = "Invoices are kept for ten years."

Ask = Callable[..., httpx.Response]


def tool(*stores: str, **changes: Any) -> dict[str, Any]:
    return {"type": "file_search", "vector_store_ids": list(stores or ["vs_1"]), **changes}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of each server-sent event, whose name is its type."""
    found = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


@pytest.fixture
def url(start_generator: StartGenerator, upstream: Upstream, shelf: Shelf) -> str:
    shelf.put("vs_1", ("retention", LOGS, 0.9), ("billing", BILLS, 0.4))
    return start_generator(upstream.url, retriever_url=shelf.url)


@pytest.fixture
def ask(url: str) -> Ask:
    def send(input: Any = QUESTION, **changes: Any) -> httpx.Response:
        return httpx.post(f"{url}/v1/responses", json={"input": input, **changes}, timeout=30)

    return send
