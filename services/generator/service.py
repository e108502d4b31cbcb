"""The rules of answering: which replica, with which adapter, and how many at once."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from services.common.contracts.generator import (
    Adapter,
    AdapterError,
    AdapterProof,
    AdapterTrial,
    Model,
)
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import InvalidRequest, NotFound, Unavailable
from services.common.ids import now
from services.common.line import Line
from services.common.telemetry import current_caller
from services.generator.adapters.keeper import AdapterKeeper
from services.generator.admission.limits import Limiter
from services.generator.models import AdapterRow, AliasRow, TrialRow
from services.generator.rag.packing import Packed, Prompt, pack_bounded, pack_for
from services.generator.routing import Names, Route, Served, addressed
from services.generator.schemas import completion_head
from services.generator.servers.asking import ModelServerAway, Untouched
from services.generator.servers.fleet import Fleet
from services.generator.servers.hosted import Hosted
from services.generator.servers.relay import Relay
from services.generator.servers.vllm import Replica

_ATTEMPTS = 3


class Generator:
    def __init__(
        self,
        fleet: Fleet,
        keeper: AdapterKeeper,
        names: Names,
        hosted: Sequence[Hosted],
        *,
        limiter: Limiter,
        line: Line,
        longest_load: float,
        allow_prompt_logprobs: bool,
    ) -> None:
        self.fleet = fleet
        self.base_model = names.base_model
        self.base_revision: str | None = None
        self._keeper = keeper
        self._names = names
        self._hosted = {model.name: model for model in hosted}
        self._limiter = limiter
        self._line = line
        self._longest_load = longest_load
        self._allow_prompt_logprobs = allow_prompt_logprobs
        self._started = now()

    async def hand_on(self, path: str, body: bytes) -> Relay:
        """Send a caller's request to vLLM as it came, an alias in it replaced by its adapter."""
        head = completion_head(body)
        route = self.route(head.model)
        if head.scores_prompt and not (self._allow_prompt_logprobs or route.hosted):
            raise InvalidRequest(
                "Log-probabilities of the prompt (prompt_logprobs, or echo with logprobs) are not "
                "to be had here: with adapters enabled vLLM may die of them. Ask for logprobs of "
                "what is generated.",
                code="unsupported_parameter",
                param="prompt_logprobs",
            )
        return await self.open(path, route, addressed(body, route))

    def route(self, model: str) -> Route:
        """What the ``model`` of a request means from here to its end, whatever changes meanwhile.

        Asks nobody, and finds nothing wrong: whether the model is there, ``open`` says.
        """
        return self._names.route(model)

    async def open(self, path: str, route: Route, body: bytes) -> Relay:
        """Send ``body``, which names ``route.model``, to a replica or host that serves it.

        Returns when vLLM has begun to answer.

        Another replica is asked only where nothing can have been generated: a replica took no
        connection, or said 503 before anything else. The same one is asked again only where it
        does not know the adapter any more, restarted or told so by another generator: the adapter
        is loaded again.
        """
        caller = current_caller()
        async with AsyncExitStack() as resources:
            seat = await resources.enter_async_context(AsyncExitStack())
            ticket = await seat.enter_async_context(self._limiter.admitted(caller, body))
            if route.hosted:
                hosted = self._hosted[route.asked]
                await seat.enter_async_context(hosted.line.place(caller))
                answer = await resources.enter_async_context(hosted.generate(path, body))
                return Relay(answer, Served(hosted.name), resources.pop_all(), seat, ticket)
            await seat.enter_async_context(self._line.place(caller))
            tried: list[Replica] = []
            for attempt in range(1, _ATTEMPTS + 1):
                replica = await self._replica(route.model, tried)
                sha256 = replica.sha256_of(route.model)
                served = Served(route.model, sha256, self.base_revision)
                proven = replica.proven.get(route.model)
                try:
                    answer = await resources.enter_async_context(
                        replica.generate(path, body, route.model)
                    )
                except Untouched:
                    tried.append(replica)
                    if attempt == _ATTEMPTS or not self._others(route.model, tried):
                        raise
                except NotFound:
                    if proven is None or attempt == _ATTEMPTS:
                        raise
                    if replica.proven.get(route.model) is proven:  # else a look was first
                        del replica.proven[route.model]
                else:
                    return Relay(answer, served, resources.pop_all(), seat, ticket)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def pack(self, route: Route, prompt: Prompt, max_tokens: int) -> Packed:
        """As much of a prompt as fits the window of the model that will answer."""
        if route.hosted:
            window = self._hosted[route.asked].window
            return await pack_bounded(prompt, window=window, max_tokens=max_tokens)
        return await pack_for(self.fleet, prompt, max_tokens)

    def fixed_card(self, name: str) -> Model | None:
        """Of the base model or a hosted one."""
        if name == self.base_model:
            return self.base_card()
        return self._hosted_card(self._hosted[name]) if name in self._hosted else None

    def _hosted_card(self, hosted: Hosted) -> Model:
        return Model(
            id=hosted.name,
            created=self._started,
            owned_by=hosted.host,
            status="unavailable" if hosted.server.health.rests else "loaded",
            max_model_len=hosted.window,
        )

    def base_card(self) -> Model:
        return Model(
            id=self.base_model,
            created=self._started,
            base_revision=self.base_revision,
            status="loaded" if self.fleet.healthy else "unavailable",
            max_model_len=self.fleet.max_model_len,
        )

    def cards(self, rows: Sequence[AdapterRow], aliases: Sequence[AliasRow]) -> list[Model]:
        """The base model, the hosted ones, every adapter ever asked for, then the aliases."""
        cards = {row.name: self.card(row) for row in rows}
        standing = [self.alias_card(alias, cards[alias.adapter]) for alias in aliases]
        hosted = map(self._hosted_card, self._hosted.values())
        return [self.base_card(), *hosted, *cards.values(), *standing]

    def card(self, row: AdapterRow) -> Model:
        adapter = adapter_of(row)
        return Model(
            id=adapter.id,
            created=adapter.created_at,
            parent=adapter.base_model,
            sha256=adapter.sha256,
            base_revision=self.base_revision,
            status=adapter.status,
            max_model_len=self.fleet.max_model_len,
        )

    def alias_card(self, alias: AliasRow, adapter: Model) -> Model:
        """The card of what the alias stands for, which is its parent."""
        changed = {
            "id": alias.name,
            "parent": adapter.id,
            "created": int(alias.created_at.timestamp()),
        }
        return adapter.model_copy(update=changed)

    async def _replica(self, model: str, tried: Sequence[Replica]) -> Replica:
        """A healthy replica that has ``model``, which is loaded first where it is not yet."""
        if model == self.base_model:
            replica = self.fleet.pick(besides=tried)
        else:
            replica = self.fleet.pick(model, besides=tried)
            if replica is None:
                await self._loaded(model)
                replica = self.fleet.pick(model, besides=tried)
        if replica is None:
            raise ModelServerAway(
                f"'{model}' was taken out of service a moment ago; try again.",
                headers={"Retry-After": "1"},
            )
        return replica

    def _others(self, model: str, tried: Sequence[Replica]) -> bool:
        """Whether there is a replica left to ask; with an adapter, one that has it already."""
        adapter = None if model == self.base_model else model
        try:
            return self.fleet.pick(adapter, besides=tried) is not None
        except ModelServerAway:
            return False

    async def _loaded(self, model: str) -> None:
        """See that an adapter is served. Its loading goes on when this one has waited enough."""
        try:
            async with asyncio.timeout(self._longest_load):
                await self._keeper.ensure(model)
        except TimeoutError as error:
            raise Unavailable(
                f"'{model}' is being loaded, which takes longer than {self._longest_load:g} s; try "
                "again in a moment.",
                code="adapter_loading",
                headers={"Retry-After": "5"},
            ) from error


def adapter_of(row: AdapterRow) -> Adapter:
    """The row as the wire shows it."""
    record = AdapterRecord.model_validate(row.record)
    proofs = [AdapterProof.model_validate(proof) for proof in row.proofs]
    error = row.error_code and AdapterError(code=row.error_code, message=row.error_message or "")
    return Adapter(
        id=row.name,
        created_at=record.created_at,
        base_model=record.base_model,
        recipe=record.recipe,
        sha256=record.sha256,
        rank=record.rank,
        status=row.status,
        pinned=row.pinned,
        last_used_at=int(row.last_used_at.timestamp()) if row.last_used_at else None,
        proof=max(proofs, key=lambda proof: proof.peft_max_abs_diff, default=None),
        proofs=proofs,
        error=error or None,
    )


def trial_of(row: TrialRow) -> AdapterTrial:
    error = row.error_code and AdapterError(code=row.error_code, message=row.error_message or "")
    return AdapterTrial(
        id=row.id,
        adapter=row.adapter,
        replica=row.replica,
        sha256=row.sha256,
        created_at=int(row.tried_at.timestamp()),
        proof=AdapterProof.model_validate(row.proof) if row.proof else None,
        error=error or None,
    )
