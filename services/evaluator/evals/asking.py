"""What models are asked in a run, and what they said: through the cache, with patience."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from services.common.contracts.base import Wire
from services.common.db import Database
from services.common.errors import NotFound, UpstreamFailed
from services.evaluator import cache
from services.evaluator.cache import ServedBy
from services.evaluator.checking import is_adapter
from services.evaluator.concurrency import Concurrency
from services.evaluator.evals.keeping import MOST_DEPTH, held, is_deep
from services.evaluator.evals.schemas import Json
from services.evaluator.peers import Peers, patiently

_GATHER_SECONDS = 0.005  # for keys that are looked up together


class _Details(Wire):
    cached_tokens: int | None = None


class _Usage(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Message(Wire):
    role: str = "assistant"
    content: str | None = None
    tool_calls: list[Json] | None = None


class _Choice(Wire):
    message: _Message
    finish_reason: str | None = None


class _Answer(Wire):
    model: str
    choices: list[_Choice]
    usage: _Usage | None = None


@dataclass(frozen=True)
class Said:
    """One answer of a model. ``known`` if it was answered before, and not asked again."""

    model: str
    text: str
    tool_calls: list[Json]
    finish_reason: str | None
    usage: Json
    known: bool = False


def said_of(content: Json, *, known: bool = False) -> Said:
    """``UpstreamFailed`` for what is no chat completion."""
    try:
        answer = _Answer.model_validate(content)
        choice = answer.choices[0]
    except (ValidationError, IndexError) as error:
        raise UpstreamFailed(
            "The model's answer is no chat completion.", code="unreadable_answer"
        ) from error
    usage = answer.usage or _Usage()
    details = usage.prompt_tokens_details or _Details()
    return Said(
        model=answer.model,
        text=choice.message.content or "",
        tool_calls=choice.message.tool_calls or [],
        finish_reason=choice.finish_reason,
        usage={
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cached_tokens": details.cached_tokens or 0,
        },
        known=known,
    )


async def find_served(
    models: Collection[str], peers: Peers, *, patience_s: float
) -> dict[str, ServedBy]:
    """Which weights answer under each name; ``NotFound`` for one that nothing answers under."""
    return {
        name: await patiently(partial(_find, name, peers), seconds=patience_s)
        for name in sorted(models)
    }


async def _find(name: str, peers: Peers) -> ServedBy:
    try:
        card = await peers.generator.model(name)
    except NotFound:
        if not is_adapter(name):
            raise
    else:
        return ServedBy(name, card.sha256, card.base_revision)
    # Nobody asked for it yet: the generator loads and proves it when it is first asked.
    record = await peers.trainer.adapter(name)
    base = await peers.generator.model(record.base_model)
    return ServedBy(name, record.sha256, base.base_revision)


class Asker:
    """Asks each request once: what was answered before comes from the cache, and what is under way
    is waited for. Nothing is kept before ``take_fresh`` is called for it."""

    def __init__(
        self,
        db: Database,
        peers: Peers,
        served: Mapping[str, ServedBy],
        *,
        concurrency: Concurrency,
        patience_s: float,
    ) -> None:
        self._peers = peers
        self._served = served
        self._concurrency = concurrency
        self._patience_s = patience_s
        self._known = _Lookup(db)
        self._under_way: dict[str, asyncio.Task[Json]] = {}
        self._fresh: dict[str, Json] = {}

    async def ask(self, body: Json) -> Said:
        """Raises what the generator answers; ``adapter_mismatch`` when other weights answered than
        were there when the turn began."""
        served = self._served[body["model"]]
        key = cache.key_of(body, served)
        if (known := self._fresh.get(key) or await self._known.get(key)) is not None:
            return said_of(known, known=True)
        if (under_way := self._under_way.get(key)) is not None:
            return said_of(await asyncio.shield(under_way), known=True)
        asking = self._under_way[key] = asyncio.create_task(self._ask(body, served))
        try:
            content = await asking
        except asyncio.CancelledError:
            asking.cancel()
            raise
        finally:
            del self._under_way[key]
        said = said_of(content)
        self._fresh[key] = content
        return said

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)

    def take_fresh(self) -> dict[str, Json]:
        """Answers for the cache that were not taken before."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    async def _ask(self, body: Json, served: ServedBy) -> Json:
        answer = await self._concurrency.ask(
            lambda: self._peers.models.chat(body), patience_s=self._patience_s
        )
        by = ServedBy(answer.model, answer.adapter_sha256, answer.base_revision)
        if by.differs(served):
            raise UpstreamFailed(
                f"'{served.model}' was answered by {by.weights}, but {served.weights} was to be "
                "asked.",
                code="adapter_mismatch",
            )
        if is_deep(answer.body):
            raise UpstreamFailed(
                f"The model's answer nests more than {MOST_DEPTH} levels.", code="unreadable_answer"
            )
        return dict(held(answer.body))


class _Lookup:
    """Reads from the cache what is asked for within some milliseconds in one statement."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._wanted: dict[str, asyncio.Future[Json | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Json | None:
        if key not in self._wanted:
            self._wanted[key] = asyncio.get_running_loop().create_future()
        found = self._wanted[key]
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(found)

    async def _read(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        self._reading = None
        wanted, self._wanted = self._wanted, {}
        try:
            found = await self._db.transact(lambda session: cache.get_many(session, wanted.keys()))
        except Exception as error:
            for each in wanted.values():
                each.set_exception(error)
            return
        for key, each in wanted.items():
            each.set_result(found.get(key))
