"""In place of the retriever: stores whose passages are found in the order they were put there."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Shelf:
    """``asks`` are the searches as they arrived."""

    def __init__(self) -> None:
        self.stores: dict[str, list[dict[str, Any]]] = {}
        self.asks: list[dict[str, Any]] = []
        self.url = ""
        self.app = Starlette(
            routes=[Route("/v1/vector_stores/{store}/search", self._search, methods=["POST"])]
        )

    def put(self, store: str, *passages: tuple[str, str, float]) -> None:
        """Passages by id, text and score, each in a document of its own."""
        self.stores[store] = [
            {
                "file_id": f"doc_{name}",
                "filename": name.title(),
                "score": score,
                "attributes": {"place": n},
                "content": [{"type": "text", "text": text}],
                "passage_id": name,
                "doc_id": f"doc_{name}",
                "title": name.title(),
            }
            for n, (name, text, score) in enumerate(passages)
        ]

    async def _search(self, request: Request) -> Response:
        store, ask = request.path_params["store"], await request.json()
        self.asks.append({"store": store, **ask})
        if store not in self.stores:
            error = {"message": f"No vector store '{store}'.", "code": "not_found", "param": None}
            return JSONResponse({"error": {**error, "type": "invalid_request_error"}}, 404)
        found = self.stores[store][: ask["max_num_results"]]
        return JSONResponse({"search_query": [ask["query"]], "data": found})
