"""OpenAI's own clients, the newest and the oldest that must work, ask, stream and accumulate."""

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.clients import OLD, old_client, walked
from tests.services.generator.conftest import BASE
from tests.services.generator.upstream import Upstream

WALK = Path(__file__).parent / "walk.py"


@pytest.mark.parametrize("client", [version("openai"), OLD])
def test_a_stock_client_walks_the_responses(url: str, upstream: Upstream, client: str) -> None:
    upstream.text = ('{"answer": "They are', ' kept for 47 days."}')
    path = old_client() if client == OLD else None
    assert walked(WALK, url, BASE, "vs_1", path=path) == client
