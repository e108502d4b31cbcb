"""Adapters by name: which are wanted, and seeing that every vLLM replica holds them, proven.

Rows in PostgreSQL say which adapters are wanted; :meth:`AdapterKeeper.keep` makes the replicas
match. An adapter may be asked of a replica only once a canary has proven it there.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import structlog
from sqlalchemy.orm import Session

from services.common.clients.trainer import TrainerClient
from services.common.contracts.generator import AdapterError
from services.common.contracts.trainer import AdapterRecord
from services.common.db import Database
from services.common.errors import FineproofError, NotFound
from services.common.storage import ArtifactStore
from services.generator import storage
from services.generator.loading import Engine, check, serve
from services.generator.models import AdapterRow
from services.generator.refusal import AdapterCorrupt, AdapterRefused, recorded_refusal
from services.generator.vllm import Fleet, ModelServerAway, Replica
from services.generator.weights import Shape, base_shapes

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Also keeps a name from meaning something else inside a URL.
_NAME = re.compile(r"ft:[A-Za-z0-9._:@+-]{1,190}")


class AdapterKeeper:
    def __init__(
        self,
        db: Database,
        fleet: Fleet,
        trainer: TrainerClient,
        store: ArtifactStore,
        cache: Path,
        engine: Engine,
    ) -> None:
        self._db = db
        self._fleet = fleet
        self._trainer = trainer
        self._store = store
        self._cache = cache.absolute()
        self._engine = engine
        self._base: Mapping[str, Shape] | None = None
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, name: str) -> None:
        """See that an adapter someone asks for is served, loading it if need be.

        Raises what was found against it earlier, without trying again: only :meth:`load` does.
        """
        if not _NAME.fullmatch(name):
            raise no_model(name)
        row = await self._transact(lambda session: storage.adapter(session, name))
        if row is not None and row.status == "failed":
            raise recorded_refusal(row.error_code, row.error_message)
        try:
            record = AdapterRecord.model_validate(row.record) if row else await self._record(name)
        except NotFound as error:
            raise no_model(name) from error
        await self._once(record)

    async def load(self, name: str) -> AdapterRow:
        """Load and prove an adapter as the registry has it now, even where it was refused before.

        Work that is done already is not done again.
        """
        if not _NAME.fullmatch(name):
            raise no_adapter(name)
        record = await self._record(name)
        row = await self._transact(lambda session: storage.adapter(session, name))
        if row is not None and row.proofs and row.sha256 != record.sha256:
            raise AdapterCorrupt(
                f"The registry now has other weights under '{name}' than those proven here, and "
                "names are immutable. Delete the adapter here first if this is meant."
            )
        await self._once(record)
        return await self._transact(lambda session: storage.known_adapter(session, name))

    async def unload(self, name: str) -> None:
        """Take an adapter out of service; answers under way are finished."""
        async with self._lock(name):
            if not await self._transact(lambda session: storage.mark_unloaded(session, name)):
                raise no_adapter(name)
            await self._withdraw(name)

    async def look(self) -> None:
        """See which replicas are well and what they hold."""
        await asyncio.gather(*(self._look(replica) for replica in self._fleet.replicas))

    async def restore(self) -> None:
        """Give each healthy replica the wanted adapters it lacks, one after the other."""
        for row in await self._transact(storage.wanted_adapters):
            if self._fleet.healthy and (row.status == "loading" or self._lacks(row.name)):
                try:
                    await self._once(AdapterRecord.model_validate(row.record), if_wanted=True)
                except FineproofError as error:
                    log.warning("adapter_not_back", adapter=row.name, error=error.message)

    async def keep(self, pause: float) -> None:
        """Look for ever, each second while a replica is away, and restore what is missing."""
        restoring: asyncio.Task[None] | None = None
        try:
            while True:
                await self.look()
                # Looking goes on meanwhile: an adapter may take a minute, a replica may die.
                if restoring is None or restoring.done():
                    restoring = asyncio.create_task(self._try_to_restore())
                all_well = len(self._fleet.healthy) == len(self._fleet.replicas)
                await asyncio.sleep(pause if all_well else min(pause, 1.0))
        finally:
            if restoring is not None:
                restoring.cancel()

    async def _try_to_restore(self) -> None:
        try:
            await self.restore()
        except Exception as error:  # PostgreSQL away, say: what is loaded is served on
            log.warning("restore_failed", error=repr(error))

    async def close(self) -> None:
        """Stop loads under way; their rows stay wanted."""
        tasks = list(self._loads.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, replica: Replica) -> None:
        was = replica.healthy
        try:
            await replica.look()
        except FineproofError as error:
            if was:
                log.warning("replica_lost", replica=replica.url, error=error.message)
        else:
            if not was:
                log.info("replica_found", replica=replica.url)

    def _lacks(self, name: str) -> bool:
        return any(name not in replica.proven for replica in self._fleet.healthy)

    async def _once(self, record: AdapterRecord, *, if_wanted: bool = False) -> None:
        """Share one load among all who ask at the same time; none who leaves ends it for others."""
        name = record.id
        task = self._loads.get(name)
        if task is None:
            task = asyncio.create_task(self._load(record, if_wanted), name=f"load {name}")
            self._loads[name] = task
            task.add_done_callback(lambda done: self._finished(name, done))
        await asyncio.shield(task)

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        self._loads.pop(name, None)
        if not task.cancelled():
            task.exception()  # seen, also when everyone who asked has left

    async def _load(self, record: AdapterRecord, if_wanted: bool) -> None:
        async with self._lock(record.id):
            row = await self._transact(lambda session: storage.adapter(session, record.id))
            status = row.status if row is not None and row.sha256 == record.sha256 else None
            if status == "loaded" and self._fleet.healthy and not self._lacks(record.id):
                return
            if if_wanted and status not in storage.WANTED:  # deleted while we were on our way
                return
            await self._transact(lambda session: storage.begin_loading(session, record))
            if not self._fleet.healthy:
                raise ModelServerAway("No model server is healthy; try again in a moment.")
            try:
                await self._check_and_serve(record)
            except AdapterRefused as error:
                await self._withdraw(record.id)
                failure = AdapterError(code=error.code, message=error.message)
                await self._transact(lambda s: storage.mark_failed(s, record.id, failure))
                log.warning("adapter_refused", adapter=record.id, **failure.model_dump())
                raise

    async def _check_and_serve(self, record: AdapterRecord) -> None:
        if self._base is None:
            self._base = await anyio.to_thread.run_sync(base_shapes, self._engine.base_model_path)
        checked = await anyio.to_thread.run_sync(
            check, record, self._engine, self._base, self._store, self._cache
        )
        proofs = [await serve(replica, checked, self._engine) for replica in self._fleet.healthy]
        await self._transact(lambda session: storage.mark_loaded(session, record.id, proofs))
        log.info("adapter_loaded", adapter=record.id, replicas=len(proofs))

    async def _withdraw(self, name: str) -> None:
        for replica in self._fleet.replicas:
            replica.proven.pop(name, None)  # from here on nothing new is sent to it
        for replica in self._fleet.healthy:
            with suppress(FineproofError):  # unreachable: it will not be there after a restart
                await replica.unload_adapter(name)

    async def _record(self, name: str) -> AdapterRecord:
        try:
            record = await self._trainer.adapter(name)
        except NotFound as error:
            raise no_adapter(name) from error
        if record.id != name:
            raise AdapterCorrupt(f"The registry answers for '{name}' with '{record.id}'.")
        return record

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _transact(self, work: Callable[[Session], T]) -> T:
        def run() -> T:
            with self._db.transaction() as session:
                return work(session)

        return await anyio.to_thread.run_sync(run)


def no_adapter(name: str) -> NotFound:
    return NotFound(
        f"No fine-tuning job ended in an adapter called '{name}'.",
        code="adapter_not_found",
        param="name",
    )


def no_model(name: str) -> NotFound:
    return NotFound(
        f"The model '{name}' does not exist; GET /v1/models lists those that do.",
        code="model_not_found",
        param="model",
    )
