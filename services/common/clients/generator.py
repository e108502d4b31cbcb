"""The generator, as its peers and the command line see it."""

from services.common.clients.base import PeerClient
from services.common.contracts.base import Page
from services.common.contracts.generator import Adapter, ModelList, RagAnswer, RagAsk


class GeneratorClient(PeerClient):
    service = "generator"

    async def models(self) -> ModelList:
        response = await self._call("GET", "/v1/models")
        return ModelList.model_validate_json(response.content)

    async def rag(self, ask: RagAsk) -> RagAnswer:
        """Ask once. Safe to repeat: it changes nothing."""
        response = await self._call(
            "POST", "/v1/rag/query", safe=True, json=ask.model_dump(mode="json", exclude_none=True)
        )
        return RagAnswer.model_validate_json(response.content)

    async def load_adapter(self, name: str) -> Adapter:
        """Load and prove an adapter; returns when it is served. Loading a loaded one is no work."""
        response = await self._call("POST", "/v1/adapters", safe=True, json={"name": name})
        return Adapter.model_validate_json(response.content)

    async def adapter(self, name: str) -> Adapter:
        response = await self._call("GET", f"/v1/adapters/{name}")
        return Adapter.model_validate_json(response.content)

    async def adapters(self, limit: int = 100) -> Page[Adapter]:
        response = await self._call("GET", "/v1/adapters", params={"limit": limit})
        return Page[Adapter].model_validate_json(response.content)
