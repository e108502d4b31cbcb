"""Adapters by name: which are wanted, and seeing that one is served when it is asked for.

Rows in PostgreSQL say which adapters are wanted; ``reconciler`` keeps every vLLM replica at that.
An adapter may be asked of a replica only once a canary has proven it there.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio.to_thread
import structlog
from sqlalchemy.orm import Session

from services.common.clients.trainer import TrainerClient
from services.common.contracts.generator import AdapterError
from services.common.contracts.trainer import AdapterRecord
from services.common.db import Database
from services.common.errors import Conflict, NotFound
from services.generator import storage
from services.generator.adapters.artifacts import AdapterCache
from services.generator.adapters.loading import Checked
from services.generator.adapters.locks import NameLocks
from services.generator.adapters.placement import Placement
from services.generator.adapters.places import NoPlace, take_place
from services.generator.adapters.refusal import AdapterCorrupt, AdapterRefused, recorded_refusal
from services.generator.aliases import storage as alias_storage
from services.generator.models import AdapterRow
from services.generator.servers.fleet import Fleet

log = structlog.get_logger(__name__)

# Also keeps a name from meaning something else inside a URL.
NAME = re.compile(r"ft:[A-Za-z0-9._:@+-]{1,190}")


@dataclass(frozen=True)
class _Load:
    """A load under way, shared by all who ask; ``published`` once a first replica may be asked."""

    task: asyncio.Task[None]
    published: asyncio.Event


class AdapterKeeper:
    """``places``: how many adapters vLLM keeps in memory."""

    def __init__(
        self,
        db: Database,
        fleet: Fleet,
        trainer: TrainerClient,
        cache: AdapterCache,
        placement: Placement,
        *,
        places: int,
    ) -> None:
        self._db = db
        self._fleet = fleet
        self._trainer = trainer
        self._cache = cache
        self._placement = placement
        self._places = places
        self._locks = NameLocks(db)
        self._loads: dict[str, _Load] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def ensure(self, name: str) -> None:
        """See that an adapter someone asks for is served, loading it if need be.

        Raises what was found against it earlier, without trying again: only :meth:`load` does.
        """
        if not NAME.fullmatch(name):
            raise no_model(name)
        asking = asyncio.create_task(self._ensure(name), name=f"ensure {name}")
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        await asyncio.shield(asking)  # who leaves while it is looked up has asked all the same

    async def load(
        self, name: str, pinned: bool | None = None, *, everywhere: bool = False
    ) -> AdapterRow:
        """Load and prove an adapter as the registry has it now, even where it was refused before.

        Work that is done already is not done again. ``pinned``: null leaves it as it is.
        ``everywhere``: what one healthy replica refuses is raised, though others may serve it.
        """
        if not NAME.fullmatch(name):
            raise no_adapter(name)
        record = await self._record(name)
        row = await self._db.transact(lambda session: storage.adapter(session, name))
        if row is not None and row.proofs and row.sha256 != record.sha256:
            raise AdapterCorrupt(
                f"The registry now has other weights under '{name}' than those proven here, and "
                "names are immutable. Delete the adapter here first if this is meant."
            )
        self._fleet.forgive(name)
        await asyncio.shield(self._begin(record).task)
        if everywhere and (refusal := self._fleet.refusal(name)) is not None:
            raise refusal
        if pinned is None:
            return await self._db.transact(lambda session: storage.known_adapter(session, name))
        return await self._db.transact(lambda session: storage.set_pinned(session, name, pinned))

    async def unload(self, name: str) -> None:
        """Take an adapter out of service for which no alias stands; answers under way are
        finished."""
        if not NAME.fullmatch(name):
            raise no_adapter(name)
        async with self._locks.hold(name):
            if not await self._db.transact(lambda session: _let_go(session, name)):
                raise no_adapter(name)
            await self._retire(name, "unloaded")

    async def restore(self, record: AdapterRecord) -> None:
        """Load it where it is lacking, unless it was unloaded meanwhile."""
        await asyncio.shield(self._begin(record, if_wanted=True).task)

    async def settle(self, name: str) -> None:
        """Finish what a generator that died, or a replica that was away, has left half done."""
        await self._finish_draining(name, "unloaded")

    async def condemn(self, record: AdapterRecord) -> None:
        """Take an adapter out of service at once, as a file of it is not what was proven."""
        self._fleet.forget({record.id})  # also while PostgreSQL is away
        async with self._locks.hold(record.id):
            try:
                await anyio.to_thread.run_sync(self._cache.check, record)
            except AdapterRefused as error:
                await self._refuse(record, error)

    async def close(self) -> None:
        """Stop loads under way; their rows stay wanted."""
        tasks = [*self._asking, *(load.task for load in self._loads.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await anyio.to_thread.run_sync(self._locks.close)

    async def _ensure(self, name: str) -> None:
        row = await self._db.transact(lambda session: storage.adapter(session, name))
        if row is not None and row.status == "failed":
            raise recorded_refusal(row.error_code, row.error_message)
        try:
            record = AdapterRecord.model_validate(row.record) if row else await self._record(name)
        except NotFound as error:
            raise no_model(name) from error
        load = self._begin(record)
        publication = asyncio.ensure_future(load.published.wait())
        try:
            await asyncio.wait((load.task, publication), return_when=asyncio.FIRST_COMPLETED)
        finally:
            publication.cancel()
        if load.task.done():
            load.task.result()

    def _begin(self, record: AdapterRecord, *, if_wanted: bool = False) -> _Load:
        """The load all share who ask at the same time; none who leaves ends it for others."""
        name = record.id
        if name not in self._loads:
            published = asyncio.Event()
            work = self._load(record, published, if_wanted=if_wanted)
            self._loads[name] = _Load(asyncio.create_task(work, name=f"load {name}"), published)
            self._loads[name].task.add_done_callback(lambda done: self._finished(name, done))
        return self._loads[name]

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()

    def _finished(self, name: str, task: asyncio.Task[None]) -> None:
        del self._loads[name]
        if not task.cancelled():
            task.exception()  # seen, also when everyone who asked has left

    async def _load(
        self, record: AdapterRecord, published: asyncio.Event, *, if_wanted: bool
    ) -> None:
        async with self._locks.hold(record.id):
            row = await self._db.transact(lambda session: storage.adapter(session, record.id))
            if row is not None and row.sha256 != record.sha256:
                row = None
            if if_wanted and (row is None or row.status not in storage.WANTED):
                return
            try:
                if row is not None and self._is_served(row):
                    await anyio.to_thread.run_sync(self._cache.check, record)
                    if self._fleet.lacking(record.id):
                        await self._put(await self._placement.check(record), published)
                else:
                    await self._db.transact(
                        lambda session: storage.begin_fetching(session, record, asked=not if_wanted)
                    )
                    checked = await self._placement.check(record)
                    await self._take_place(record)
                    await self._put(
                        checked, published, lambda: self._set_status(record.id, "proving")
                    )
            except AdapterRefused as error:
                await self._refuse(record, error)
                raise

    def _is_served(self, row: AdapterRow) -> bool:
        """Whether some replica may be asked for it, by this generator or by another."""
        if row.status != "loaded":
            return False
        proven = {(proof["replica"], proof.get("replica_started_at")) for proof in row.proofs}
        return any(
            row.name in replica.proven
            or (replica.started_at and (replica.url, int(replica.started_at)) in proven)
            for replica in self._fleet.healthy
        )

    async def _take_place(self, record: AdapterRecord) -> None:
        uses = self._fleet.last_used()
        try:
            going = await self._db.transact(
                lambda session: take_place(session, record, self._places, uses)
            )
        except NoPlace:
            await self._set_status(record.id, "evicted")
            raise
        for name in going:
            await self._finish_draining(name, "evicted")

    async def _put(
        self,
        checked: Checked,
        published: asyncio.Event,
        proving: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        record = checked.record
        placed = await self._placement.put(checked, published.set, proving)
        proofs, replicas = self._fleet.proofs(record.id), [r.url for r in self._fleet.replicas]

        failure = None if proofs else placed.failure

        def note(session: Session) -> None:
            for replica, outcome in placed.outcomes.items():
                storage.add_trial(session, record, replica, outcome)
            if failure is None:
                storage.mark_loaded(session, record.id, proofs, replicas)

        await self._db.transact(note)
        if failure is not None:
            raise failure
        log.info("adapter_loaded", adapter=record.id, replicas=len(proofs))

    async def _finish_draining(self, name: str, status: str) -> None:
        """Unload what nobody wants, which it may be again by the time its name is free."""
        async with self._locks.hold(name):
            row = await self._db.transact(lambda session: storage.adapter(session, name))
            if row is not None and row.status == "draining":
                await self._retire(name, status)
            elif row is None or row.status not in storage.WANTED:
                await self._placement.take_out(name)

    async def _retire(self, name: str, status: str) -> None:
        await self._placement.drain(name)
        await self._placement.take_out(name)
        await self._set_status(name, status)
        log.info("adapter_unloaded", adapter=name, status=status)

    async def _refuse(self, record: AdapterRecord, error: AdapterRefused) -> None:
        await self._placement.take_out(record.id)
        failure = AdapterError(code=error.code, message=error.message)
        await self._db.transact(lambda session: storage.mark_failed(session, record.id, failure))
        log.warning("adapter_refused", adapter=record.id, **failure.model_dump())

    async def _set_status(self, name: str, status: str) -> None:
        await self._db.transact(lambda session: storage.set_status(session, name, status))

    async def _record(self, name: str) -> AdapterRecord:
        try:
            record = await self._trainer.adapter(name)
        except NotFound as error:
            raise no_adapter(name) from error
        if record.id != name:
            raise AdapterCorrupt(f"The registry answers for '{name}' with '{record.id}'.")
        return record


def _let_go(session: Session, name: str) -> bool:
    wanted = storage.begin_draining(session, name)
    aliases = alias_storage.names_of(session, name)  # with the row locked: none is added now
    if aliases:
        raise Conflict(
            f"{', '.join(aliases)} stands for '{name}'; switch the alias to another adapter or "
            "delete it first.",
            code="adapter_has_alias",
            param="name",
        )
    return wanted


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
