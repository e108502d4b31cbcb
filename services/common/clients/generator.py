"""The generator, as its peers and the command line see it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from services.common.clients.base import PeerClient
from services.common.contracts.aliases import Alias, AliasCreate
from services.common.contracts.base import Page
from services.common.contracts.generator import Adapter, Model, ModelList, RagAnswer, RagAsk
from services.common.errors import UpstreamFailed


@dataclass(frozen=True)
class ChatReply:
    """A chat completion as it came, with the model that gave it, as its headers say."""

    body: dict[str, Any]
    model: str
    adapter_sha256: str | None


class GeneratorClient(PeerClient):
    service = "generator"

    async def models(self) -> ModelList:
        response = await self._call("GET", "/v1/models")
        return ModelList.model_validate_json(response.content)

    async def model(self, name: str) -> Model:
        """The card of a base model, an adapter, an alias or a hosted model."""
        response = await self._call("GET", f"/v1/models/{name}")
        return Model.model_validate_json(response.content)

    async def rag(self, ask: RagAsk) -> RagAnswer:
        """Ask once. Safe to repeat: it changes nothing."""
        response = await self._call(
            "POST", "/v1/rag/query", safe=True, json=ask.model_dump(mode="json", exclude_none=True)
        )
        return RagAnswer.model_validate_json(response.content)

    async def chat(self, request: dict[str, Any]) -> ChatReply:
        """Complete a chat, not streamed. Safe to repeat: it changes nothing.

        Raises ``unreadable_answer`` for what is no JSON object.
        """
        response = await self._call("POST", "/v1/chat/completions", safe=True, json=request)
        try:
            body: Any = response.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise UpstreamFailed("The model's answer is not JSON.", code="unreadable_answer")
        model = response.headers.get("X-Fineproof-Model", request["model"])
        return ChatReply(
            body=body,
            model=unquote(model),
            adapter_sha256=response.headers.get("X-Fineproof-Adapter-Sha256"),
        )

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

    async def set_alias(self, ask: AliasCreate) -> Alias:
        """Make or switch an alias. Safe to repeat: the second time it changes nothing."""
        response = await self._call(
            "POST",
            "/v1/adapters/aliases",
            safe=True,
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return Alias.model_validate_json(response.content)

    async def alias(self, name: str) -> Alias:
        response = await self._call("GET", f"/v1/adapters/aliases/{name}")
        return Alias.model_validate_json(response.content)

    async def aliases(self, limit: int = 100) -> Page[Alias]:
        response = await self._call("GET", "/v1/adapters/aliases", params={"limit": limit})
        return Page[Alias].model_validate_json(response.content)
