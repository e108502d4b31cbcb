"""Keeping the vLLM replicas at what the rows want, and the adapters in them at what was proven."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio.to_thread
import structlog
from sqlalchemy.orm import Session

from services.common.contracts.trainer import AdapterRecord
from services.common.db import Database
from services.common.errors import FineproofError
from services.generator import storage
from services.generator.adapters.artifacts import AdapterCache, folder_name
from services.generator.adapters.keeper import AdapterKeeper
from services.generator.adapters.refusal import AdapterRefused
from services.generator.adapters.warming import NAME as IDLE
from services.generator.adapters.warming import WarmUp
from services.generator.models import AdapterRow
from services.generator.servers.fleet import Fleet

log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 600.0


class Reconciler:
    """``warm_up`` is null where vLLM is not to be readied for adapters at its start.

    Adapters that nobody has asked for in ``keep_idle`` seconds leave the cache; they come back
    from the artifact store.
    """

    def __init__(
        self,
        db: Database,
        fleet: Fleet,
        keeper: AdapterKeeper,
        cache: AdapterCache,
        warm_up: WarmUp | None,
        *,
        keep_idle: float,
    ) -> None:
        self._db = db
        self._fleet = fleet
        self._keeper = keeper
        self._cache = cache
        self._warm_up = warm_up
        self._keep_idle = keep_idle
        self._written: dict[str, datetime] = {}
        self._sweep_at = 0.0

    async def keep(self, pause: float) -> None:
        """Look for ever, each second while a replica is away, and put right what is not."""
        work: asyncio.Task[None] | None = None
        try:
            while True:
                await self._fleet.look()
                # Looking goes on meanwhile: an adapter may take a minute, a replica may die.
                if work is None or work.done():
                    work = asyncio.create_task(self._try_to_reconcile())
                await asyncio.sleep(pause if self._fleet.all_well else min(pause, 1.0))
        finally:
            if work is not None:
                work.cancel()

    async def reconcile(self) -> None:
        """Do once what is to be done: adapters out that must not be served, and in that lack."""
        if self._warm_up is not None:
            cold = [replica for replica in self._fleet.healthy if not replica.warm]
            await asyncio.gather(*map(self._warm_up.warm, cold))
        await self._verify()
        served = self._fleet.adapters()
        wanted, draining = await self._db.transact(self._exchange)
        names = {row.name for row in wanted}
        self._fleet.forget(served - names)  # another generator has unloaded them
        for name in {*draining, *(self._held_here() - names)}:
            await self._keeper.settle(name)
        for row in wanted:
            if self._fleet.healthy and (row.status != "loaded" or self._fleet.lacking(row.name)):
                try:
                    await self._keeper.restore(AdapterRecord.model_validate(row.record))
                except FineproofError as error:
                    log.warning("adapter_not_back", adapter=row.name, error=error.message)
        await self._sweep({folder_name(AdapterRecord.model_validate(row.record)) for row in wanted})

    async def _sweep(self, wanted: set[str]) -> None:
        if time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + _SWEEP_SECONDS
        held = {Path(path).name for r in self._fleet.replicas for path in r.held.values()}
        sweep = partial(self._cache.sweep, wanted | held, idle=self._keep_idle)
        await anyio.to_thread.run_sync(sweep)

    def _exchange(self, session: Session) -> tuple[Sequence[AdapterRow], Sequence[str]]:
        """Write back what has changed; read which adapters are wanted, and which draining."""
        uses = self._fleet.last_used()
        if news := {name: at for name, at in uses.items() if self._written.get(name) != at}:
            storage.touch(session, news)
            self._written = uses
        wanted = storage.wanted_adapters(session)
        replicas = {replica.url for replica in self._fleet.replicas}
        for row in wanted:
            if replicas and not replicas.issuperset(proof["replica"] for proof in row.proofs):
                storage.drop_proofs(session, row.name, replicas)
        return wanted, storage.draining_adapters(session)

    async def _verify(self) -> None:
        """Take out adapters whose files were changed: vLLM reads them again when it likes.

        Only files that were touched since are hashed.
        """
        for name in self._fleet.adapters():
            if proven := self._fleet.proven(name):
                try:
                    await anyio.to_thread.run_sync(self._cache.check, proven.record)
                except AdapterRefused:
                    await self._keeper.condemn(proven.record)
                except FineproofError as error:
                    log.warning("adapter_not_verified", adapter=name, error=error.message)

    def _held_here(self) -> set[str]:
        """Adapters in some replica that came there out of our cache."""
        return {
            name
            for replica in self._fleet.healthy
            for name, path in replica.held.items()
            if name != IDLE and Path(path).is_relative_to(self._cache.root)
        }

    async def _try_to_reconcile(self) -> None:
        try:
            await self.reconcile()
        except Exception as error:  # PostgreSQL away, say: what is loaded is served on
            log.warning("reconcile_failed", error=repr(error))
