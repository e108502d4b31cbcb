"""OpenAI's own clients, the newest and the oldest that must work, walk all of vector stores."""

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.clients import OLD, old_client, walked
from tests.services.retriever.conftest import Library

WALK = Path(__file__).parent / "walk.py"
GUIDE = Path(__file__).parents[3] / "docs/guides/vector-stores.md"


@pytest.mark.parametrize("client", ["installed", "old"])
def test_a_stock_client_walks_the_whole_surface(library: Library, client: str) -> None:
    path, expected = (old_client(), OLD) if client == "old" else (None, version("openai"))
    with library.working():
        assert walked(WALK, library.url, path=path) == expected


def test_the_guide_does_what_it_says(library: Library, tmp_path: Path) -> None:
    code = GUIDE.read_text().split("```python")[1].split("```")[0]
    manual = tmp_path / "pump.md"
    manual.write_text("# Pump\n\nThe pump is serviced *every nine months*.")
    script = tmp_path / "guide.py"
    code = code.replace("http://localhost:8000", library.url)
    script.write_text(code.replace('"pump.md"', repr(str(manual))))
    with library.working():
        said = walked(script)
    assert said.startswith("completed None")
    assert "pump.md Pump\n\nThe pump is serviced every nine months." in said
