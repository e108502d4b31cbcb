import socket

import pytest
from huggingface_hub import HfApi, constants

from services.generator import revision


async def test_a_hub_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub = HfApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(revision, "model_info", hub.model_info)
        monkeypatch.setattr(revision, "_HUB_SECONDS", 0.2)
        assert await revision.base_revision("somebody/a-model-that-is-not-here") is None
        silent.settimeout(0)
        silent.accept()  # it was asked
