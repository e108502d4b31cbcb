"""The retriever, as its peers and the command line see it."""

from collections.abc import AsyncIterable, Sequence

from services.common.clients.base import PeerClient
from services.common.contracts.retriever import (
    BatchQuery,
    BatchSearchAsk,
    BatchSearchResults,
    Ingestion,
    PassagesDelete,
    PassagesDeleted,
    PassagesFound,
    SearchAsk,
    SearchMode,
    SearchPage,
    SearchResult,
    VectorStore,
    VectorStoreCreate,
)

BATCH = 200


class RetrieverClient(PeerClient):
    service = "retriever"

    async def create_store(self, ask: VectorStoreCreate) -> VectorStore:
        response = await self._call(
            "POST", "/v1/vector_stores", json=ask.model_dump(mode="json", exclude_none=True)
        )
        return VectorStore.model_validate_json(response.content)

    async def store(self, store_id: str) -> VectorStore:
        response = await self._call("GET", f"/v1/vector_stores/{store_id}")
        return VectorStore.model_validate_json(response.content)

    async def ingest(self, store_id: str, lines: AsyncIterable[bytes]) -> Ingestion:
        """Stream passages in as JSON lines; embedding goes on after the answer."""
        response = await self._call(
            "POST",
            f"/v1/vector_stores/{store_id}/passages",
            content=lines,
            headers={"Content-Type": "application/x-ndjson"},
        )
        return Ingestion.model_validate_json(response.content)

    async def ingestion(self, store_id: str, ingestion_id: str) -> Ingestion:
        response = await self._call(
            "GET", f"/v1/vector_stores/{store_id}/ingestions/{ingestion_id}"
        )
        return Ingestion.model_validate_json(response.content)

    async def ingest_file(self, store_id: str, file_id: str) -> Ingestion:
        """The same from an uploaded file, which a worker reads."""
        response = await self._call(
            "POST", f"/v1/vector_stores/{store_id}/ingestions", json={"file_id": file_id}
        )
        return Ingestion.model_validate_json(response.content)

    async def cancel_ingestion(self, store_id: str, ingestion_id: str) -> Ingestion:
        """Safe to repeat; ``Conflict`` when it has ended otherwise."""
        path = f"/v1/vector_stores/{store_id}/ingestions/{ingestion_id}/cancel"
        return Ingestion.model_validate_json((await self._call("POST", path, safe=True)).content)

    async def resume_ingestion(self, store_id: str, ingestion_id: str) -> Ingestion:
        """Safe to repeat; ``Conflict`` when it is completed."""
        path = f"/v1/vector_stores/{store_id}/ingestions/{ingestion_id}/resume"
        return Ingestion.model_validate_json((await self._call("POST", path, safe=True)).content)

    async def delete_passages(self, store_id: str, ask: PassagesDelete) -> int:
        """How many were there; safe to repeat."""
        response = await self._call(
            "POST",
            f"/v1/vector_stores/{store_id}/passages/delete",
            safe=True,
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return PassagesDeleted.model_validate_json(response.content).deleted

    async def search(self, store_id: str, ask: SearchAsk) -> list[SearchResult]:
        response = await self._call(
            "POST",
            f"/v1/vector_stores/{store_id}/search",
            safe=True,
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return SearchPage.model_validate_json(response.content).data

    async def search_batch(
        self,
        store_id: str,
        queries: Sequence[BatchQuery],
        *,
        max_num_results: int,
        mode: SearchMode = "hybrid",
    ) -> list[list[SearchResult]]:
        """Results for each query, in order; asked in requests of ``BATCH`` queries."""
        found: list[list[SearchResult]] = []
        for start in range(0, len(queries), BATCH):
            ask = BatchSearchAsk(
                queries=list(queries[start : start + BATCH]),
                max_num_results=max_num_results,
                mode=mode,
            )
            response = await self._call(
                "POST",
                f"/v1/vector_stores/{store_id}/search/batch",
                safe=True,
                json=ask.model_dump(mode="json", exclude_none=True),
            )
            found.extend(BatchSearchResults.model_validate_json(response.content).data)
        return found

    async def passages(self, store_id: str, ids: Sequence[str]) -> PassagesFound:
        response = await self._call(
            "POST", f"/v1/vector_stores/{store_id}/passages/get", safe=True, json={"ids": list(ids)}
        )
        return PassagesFound.model_validate_json(response.content)
