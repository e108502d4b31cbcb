"""One adapter into every vLLM replica, or out of all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import anyio.to_thread
import structlog

from services.common.contracts.generator import AdapterProof
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import FineproofError
from services.generator.adapters.artifacts import AdapterCache
from services.generator.adapters.loading import Checked, Engine, check, serve
from services.generator.adapters.refusal import AdapterRefused
from services.generator.adapters.weights import Shape, base_shapes
from services.generator.servers.asking import ModelServerAway
from services.generator.servers.fleet import Fleet
from services.generator.servers.vllm import Replica

log = structlog.get_logger(__name__)

Outcome = AdapterProof | FineproofError


@dataclass(frozen=True)
class Placed:
    """What came of an adapter in each replica that lacked it, by the replica's URL."""

    outcomes: Mapping[str, Outcome]

    @property
    def proofs(self) -> list[AdapterProof]:
        return [found for found in self.outcomes.values() if isinstance(found, AdapterProof)]

    @property
    def failure(self) -> FineproofError | None:
        """Why it is proven in none: the first refusal, or else the first error."""
        errors = [found for found in self.outcomes.values() if isinstance(found, FineproofError)]
        refusals = [error for error in errors if isinstance(error, AdapterRefused)]
        return None if self.proofs else next(iter(refusals or errors), None)


class Placement:
    """``drain_seconds``: the longest that unloading waits for answers under way."""

    def __init__(
        self, fleet: Fleet, engine: Engine, cache: AdapterCache, *, drain_seconds: float
    ) -> None:
        self._fleet = fleet
        self._engine = engine
        self._cache = cache
        self._drain_seconds = drain_seconds
        self._base: Mapping[str, Shape] | None = None

    async def check(self, record: AdapterRecord) -> Checked:
        """Fetch it, and find what can be found against it before vLLM sees it."""
        base = await self.base()
        return await anyio.to_thread.run_sync(check, record, self._engine, base, self._cache)

    async def base(self) -> Mapping[str, Shape]:
        """Names and shapes of the base model's weights, read once."""
        if self._base is None:
            model = self._engine.base_model_path
            self._base = await anyio.to_thread.run_sync(base_shapes, model)
        return self._base

    @property
    def targets(self) -> tuple[str, ...] | None:
        """Modules that vLLM lets adapters change; all linear ones where null."""
        return self._engine.target_modules

    async def put(
        self,
        checked: Checked,
        published: Callable[[], None],
        proving: Callable[[], Awaitable[None]] | None = None,
    ) -> Placed:
        """Load and prove it in the replicas that are without it, all at once.

        ``published`` is called whenever another one may be asked for it, so that a replica that
        hangs keeps nobody waiting; ``proving`` when the first holds it.
        """
        if not self._fleet.healthy:
            raise ModelServerAway("No model server is healthy; try again in a moment.")
        lacking = self._fleet.without(checked.record.id, checked.folder)
        first = _Once(proving)
        outcomes = await asyncio.gather(
            *(self._serve(replica, checked, first, published) for replica in lacking)
        )
        return Placed({r.url: outcome for r, outcome in zip(lacking, outcomes, strict=True)})

    async def drain(self, name: str) -> None:
        """Nothing new is sent anywhere with it; return when answers under way are over."""
        await asyncio.gather(*(r.drain(name, self._drain_seconds) for r in self._fleet.replicas))

    async def take_out(self, name: str) -> None:
        """Unload it everywhere at once; vLLM finishes answers under way with what it has."""
        self._fleet.forget({name})
        await asyncio.gather(*(self._unload(replica, name) for replica in self._fleet.healthy))

    async def _serve(
        self, replica: Replica, checked: Checked, proving: "_Once", published: Callable[[], None]
    ) -> Outcome:
        try:
            proof = await serve(replica, checked, self._engine, proving=proving)
        except FineproofError as error:
            if isinstance(error, AdapterRefused):
                replica.refused[checked.record.id] = error
            log.warning(
                "adapter_not_proven",
                adapter=checked.record.id,
                replica=replica.url,
                code=error.code,
                error=error.message,
            )
            return error
        replica.refused.pop(checked.record.id, None)
        published()
        return proof

    async def _unload(self, replica: Replica, name: str) -> None:
        with suppress(FineproofError):  # unreachable: the reconciler sees it when it is back
            await replica.unload_adapter(name)


class _Once:
    """Does ``work``, if there is any, the first time it is called; who comes meanwhile waits."""

    def __init__(self, work: Callable[[], Awaitable[None]] | None) -> None:
        self._work = work
        self._lock = asyncio.Lock()

    async def __call__(self) -> None:
        async with self._lock:
            if self._work is not None:
                await self._work()
                self._work = None
