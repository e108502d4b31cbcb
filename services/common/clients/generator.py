"""The generator, as its peers and the command line see it."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from services.common.clients.base import PeerClient, lines_of
from services.common.contracts.aliases import Alias, AliasCreate
from services.common.contracts.base import Page
from services.common.contracts.generator import Adapter, Model, ModelList, RagAnswer, RagAsk
from services.common.contracts.rag_events import RagDelta, RagEvent, RagPassages, RagUsage
from services.common.errors import UpstreamFailed

_EVENTS: Mapping[str, type[RagEvent]] = MappingProxyType(
    {
        "rag.passages": RagPassages,
        "rag.delta": RagDelta,
        "rag.reasoning.delta": RagDelta,
        "rag.reset": RagDelta,
        "rag.answer": RagAnswer,
        "rag.usage": RagUsage,
    }
)


@dataclass(frozen=True)
class ChatReply:
    """A chat completion as it came, with the model that gave it, as its headers say."""

    body: dict[str, Any]
    model: str
    adapter_sha256: str | None
    base_revision: str | None = None


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

    async def rag_events(self, ask: RagAsk) -> AsyncIterator[RagEvent]:
        """Ask once and hear the answer as it is said; events of a newer generator are passed over.

        Raises the error that the stream ends in, if it does.
        """
        body = ask.model_copy(update={"stream": True}).model_dump(mode="json", exclude_none=True)
        async with self._stream("POST", "/v1/rag/query", json=body) as response:
            async for line in lines_of(response.aiter_bytes()):
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    return
                if data != line and (event := _event(data)) is not None:
                    yield event
        raise UpstreamFailed("The generator's answer broke off.", code="generator_broke_off")

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
            base_revision=response.headers.get("X-Fineproof-Base-Revision"),
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


def _event(data: str) -> RagEvent | None:
    """One event; raises the error that it is, where it is one."""
    try:
        told = json.loads(data)
        error = told.get("error")
        if error is None:
            kind = _EVENTS.get(told["object"])
            return None if kind is None else kind.model_validate(told)
        failed = UpstreamFailed(
            str(error["message"]), code=error.get("code"), param=error.get("param")
        )
    except (ValueError, KeyError, TypeError, AttributeError) as unreadable:
        raise UpstreamFailed(
            "The generator's answer cannot be read.", code="unreadable_answer"
        ) from unreadable
    raise failed
