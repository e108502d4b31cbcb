"""PostgreSQL takes its time over a search."""

import httpx
import pytest

from services.retriever.main import create_app
from services.retriever.settings import RetrieverSettings
from tests.faults.retriever.locks import locked


@pytest.mark.parametrize("path", ["search", "search/batch"])
async def test_a_search_that_takes_too_long_is_stopped_and_told_so(
    retriever_settings: RetrieverSettings, path: str
) -> None:
    app = create_app(retriever_settings.model_copy(update={"max_search_seconds": 0.2}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        store = (await http.post("/v1/vector_stores", json={})).json()["id"]
        here = f"/v1/vector_stores/{store}"
        one = {"query": "x"}
        ask = {"mode": "text", **(one if path == "search" else {"queries": [one]})}
        with locked(app.state.db, "passages"):
            stopped = await http.post(f"{here}/{path}", json=ask)
        assert stopped.status_code == 503
        assert stopped.json()["error"]["code"] == "database_timeout"
        assert int(stopped.headers["retry-after"]) >= 1
        assert (await http.post(f"{here}/{path}", json=ask)).status_code == 200
