"""Responses: search, pack, ask, attribute; as ``rag.service`` does, in OpenAI's form."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from services.common.clients.retriever import RetrieverClient
from services.common.errors import FineproofError, InvalidRequest
from services.common.ids import new_id, now
from services.generator.rag.chat import CHAT, Piece, piece_of, whole
from services.generator.rag.citations import cited
from services.generator.rag.packing import Messages, Packed, Prompt
from services.generator.rag.retrieval import used
from services.generator.responses.conversation import Conversation, conversation
from services.generator.responses.draft import Draft, Event
from services.generator.responses.output import FileCitation, FileSearchOutput, Response
from services.generator.responses.request import (
    chat_request,
    chat_tools,
    check_choice,
    search_tool,
)
from services.generator.responses.schemas import ResponseAsk
from services.generator.responses.search import Found, as_annotation, as_results, search
from services.generator.routing import Route, Served
from services.generator.servers.relay import Relay
from services.generator.service import Generator

ANSWER_TOKENS = 256
"""Kept free of passages where the caller does not say how long the answer may be."""
MAX_QUERY = 20_000
"""Characters; the retriever takes no more."""
_SHOWN = {
    "instructions",
    "max_output_tokens",
    "parallel_tool_calls",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
}


@dataclass(frozen=True)
class Asked:
    """A request with its prompt, on its way to the model. Without a search nothing is cited."""

    ask: ResponseAsk
    route: Route
    messages: Messages
    question: str = ""
    found: Sequence[Found] = ()
    packed: Packed | None = None
    id: str = field(default_factory=lambda: new_id("resp"))
    created: int = field(default_factory=now)


class Responses:
    def __init__(self, generator: Generator, retriever: RetrieverClient) -> None:
        self._generator = generator
        self._retriever = retriever

    async def create(self, ask: ResponseAsk) -> Response:
        asked = await self._prepare(ask)
        async with await self._open(asked) as relay:
            draft = _draft(asked, relay.served)
            piece = whole(await relay.read())
        async for _ in self._told(asked, draft, _once(piece)):
            pass
        return draft.response

    async def begin(self, ask: ResponseAsk) -> tuple[Asked, Relay]:
        """Search, pack and ask; what goes wrong until here still has a status line."""
        asked = await self._prepare(ask)
        return asked, await self._open(asked)

    async def events(self, asked: Asked, relay: Relay) -> AsyncIterator[bytes]:
        """OpenAI's typed events, to ``response.completed``, ``.incomplete`` or ``.failed``."""
        draft = _draft(asked, relay.served)
        pieces = (piece_of(chunk) async for chunk in relay.data())
        try:
            async for event in self._told(asked, draft, pieces):
                yield _encoded(event)
        except FineproofError as error:
            yield _encoded(draft.fail(error))

    async def _told(
        self, asked: Asked, draft: Draft, pieces: AsyncIterator[Piece]
    ) -> AsyncIterator[Event]:
        for event in draft.begin(_search_item(asked)):
            yield event
        async for piece in pieces:
            for event in draft.take(piece):
                yield event
        for event in draft.settle():
            yield event
        for event in draft.end(await _annotations(asked, draft.answer)):
            yield event

    async def _prepare(self, ask: ResponseAsk) -> Asked:
        check_choice(ask)
        route = self._generator.route(ask.model or self._generator.base_model)
        said = conversation(ask.input, ask.instructions)
        tool = search_tool(ask)
        if tool is None:
            return Asked(ask, route, said.asked(said.earlier))
        question = _query(said)
        found = await search(self._retriever, tool, question)
        packed = await self._pack(ask, route, said, found)
        return Asked(ask, route, packed.messages, question, found, packed)

    async def _pack(
        self, ask: ResponseAsk, route: Route, said: Conversation, found: Sequence[Found]
    ) -> Packed:
        passages = used([one.result for one in found])
        # What was said is never cut: only passages make room.
        prompt = Prompt(
            lambda kept, _: said.with_passages(kept, said.earlier),
            passages,
            param="input",
            tools=chat_tools(ask),
        )
        room = ask.max_output_tokens or ANSWER_TOKENS
        try:
            return await self._generator.pack(route, prompt, room)
        except InvalidRequest as error:
            if error.param == "max_tokens":
                error.param = "max_output_tokens"
            raise

    async def _open(self, asked: Asked) -> Relay:
        body = chat_request(asked.ask, asked.route.model, asked.messages)
        return await self._generator.open(CHAT, asked.route, body)


def _draft(asked: Asked, served: Served) -> Draft:
    shown = asked.ask.model_dump(mode="json", by_alias=True, include=_SHOWN)
    return Draft(
        Response(
            id=asked.id,
            created_at=asked.created,
            model=served.model,
            adapter_sha256=served.sha256,
            metadata=asked.ask.metadata or {},
            **shown,
        )
    )


def _query(said: Conversation) -> str:
    question = (said.question or "").strip()
    if not question:
        raise InvalidRequest(
            "file_search searches for what the user said last, and 'input' has no text of theirs.",
            param="input",
        )
    if len(question) > MAX_QUERY:
        raise InvalidRequest(
            f"file_search searches for what the user said last: at most {MAX_QUERY} characters.",
            param="input",
        )
    return question


def _search_item(asked: Asked) -> FileSearchOutput | None:
    if asked.packed is None:
        return None
    in_prompt = len(asked.packed.passages)
    return FileSearchOutput(
        id=new_id("fs"),
        queries=[asked.question],
        results=as_results(asked.found, in_prompt) if asked.ask.include else None,
        left_out=len(asked.found) - in_prompt,
    )


async def _annotations(asked: Asked, answer: str) -> list[FileCitation]:
    if asked.packed is None or not asked.packed.passages:
        return []
    citations = await cited(answer, asked.packed.passages, asked.question)
    return [as_annotation(citation, asked.found) for citation in citations]


async def _once(piece: Piece) -> AsyncIterator[Piece]:
    yield piece


def _encoded(event: Event) -> bytes:
    data = json.dumps(event, default=lambda model: model.model_dump(mode="json", by_alias=True))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()
