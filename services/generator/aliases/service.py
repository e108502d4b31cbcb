"""Names that stand for adapters: who may take one, and how it is switched under load.

The rows in PostgreSQL are the truth. Each process holds them in memory, hears of changes by
NOTIFY, and looks anyway at intervals; while PostgreSQL is away what was known last is served on.
"""

import asyncio
from collections.abc import Sequence
from fnmatch import fnmatchcase

import psycopg
import structlog
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.aliases import Alias, AliasChange, AliasCreate, GateRef
from services.common.contracts.gate import Gate
from services.common.db import Database
from services.common.errors import Conflict, FineproofError, InvalidRequest, NotFound, Unavailable
from services.generator import storage
from services.generator.adapters.keeper import NAME, AdapterKeeper
from services.generator.aliases import storage as alias_storage
from services.generator.models import AliasChangeRow, AliasRow
from services.generator.routing import Names
from services.generator.servers.fleet import Fleet

log = structlog.get_logger(__name__)

_ATTEMPTS = 3  # to switch to an adapter that is taken out, while replicas come and go
_REASONS = 3  # of a gate that was not passed, quoted


class AliasRefused(InvalidRequest):
    """422, as for adapters: asking again will not help."""

    status, code = 422, "alias_refused"


class Aliases:
    def __init__(
        self,
        db: Database,
        names: Names,
        fleet: Fleet,
        keeper: AdapterKeeper,
        trainer: TrainerClient,
        evaluator: EvaluatorClient,
        *,
        protected: Sequence[str],
    ) -> None:
        self._db = db
        self._names = names
        self._fleet = fleet
        self._keeper = keeper
        self._trainer = trainer
        self._evaluator = evaluator
        self._protected = tuple(protected)
        # What is read first must not be written last.
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Learn what every alias stands for now."""
        async with self._lock:
            rows = await self._db.transact(alias_storage.all_aliases)
            self._names.aliases = {row.name: row.adapter for row in rows}

    async def follow(self, pause: float) -> None:
        """Keep up for ever: at once where PostgreSQL tells, within ``pause`` seconds anyway."""
        lost = False
        while True:
            try:
                async for _ in alias_storage.changes(self._db.engine, pause):
                    await self.refresh()
                    lost = False
            except (psycopg.Error, SQLAlchemyError) as error:
                if not lost:
                    log.warning("aliases_not_followed", error=repr(error))
                lost = True
                await asyncio.sleep(pause)

    async def point(self, ask: AliasCreate, caller: str) -> AliasRow:
        """Let a name stand for an adapter, which every healthy replica serves, proven, by then.

        Requests that come in after this returns are answered by the new adapter, those under way
        by the one they began with. Other processes follow when they hear of it.
        """
        await self._check_name(ask.name)
        gate = await self._gate(ask)
        for _ in range(_ATTEMPTS):
            sha256 = (await self._keeper.load(ask.adapter, everywhere=True)).sha256
            if gate is not None and gate.adapter_sha256 != sha256:
                raise AliasRefused(
                    f"Gate '{gate.id}' was passed with other weights than those served now under "
                    f"'{ask.adapter}'.",
                    code="gate_mismatch",
                    param="gate",
                )
            if any(ask.adapter not in replica.proven for replica in self._fleet.healthy):
                continue
            row = await self._move(ask, sha256, caller)
            if row is not None:
                log.info("alias_points", alias=ask.name, adapter=ask.adapter, caller=caller)
                return row
        raise Conflict(
            f"Not every model server serves '{ask.adapter}', proven; '{ask.name}' stands for what "
            f"it stood for. GET /v1/adapters/{ask.adapter}/trials says what came of each proof.",
            code="adapter_not_served",
            param="adapter",
        )

    async def remove(self, name: str, caller: str) -> None:
        async with self._lock:
            if not await self._db.transact(lambda s: alias_storage.remove(s, name, caller)):
                raise no_alias(name)
            known = self._names.aliases
            self._names.aliases = {one: known[one] for one in known if one != name}
        log.info("alias_removed", alias=name, caller=caller)

    async def delete_model(self, name: str) -> None:
        """As OpenAI's client deletes a fine-tuned model: the adapter is taken out of service."""
        if name == self._names.base_model or name in self._names.hosted:
            raise InvalidRequest(
                f"'{name}' is no adapter: this service was started with it, and it stays.",
                code="model_not_deletable",
                param="model",
            )
        if name in self._names.aliases:
            raise InvalidRequest(
                f"'{name}' is an alias of '{self._names.aliases[name]}'; delete it by "
                f"DELETE /v1/adapters/aliases/{name}.",
                code="model_is_alias",
                param="model",
            )
        await self._keeper.unload(name)

    def shown(self, row: AliasRow) -> Alias:
        return Alias(
            id=row.name,
            created_at=int(row.created_at.timestamp()),
            adapter=row.adapter,
            sha256=row.sha256,
            protected=self._is_protected(row.name),
            gate=GateRef.model_validate(row.gate) if row.gate else None,
            since=int(row.since.timestamp()),
            created_by=row.created_by,
        )

    async def _move(self, ask: AliasCreate, sha256: str, caller: str) -> AliasRow | None:
        async with self._lock:
            row = await self._db.transact(lambda s: alias_storage.point(s, ask, sha256, caller))
            if row is not None:
                self._names.aliases = {**self._names.aliases, ask.name: ask.adapter}
            return row

    async def _check_name(self, name: str) -> None:
        """An alias looks like an adapter's name and is none: what it hid could never be asked."""
        if not NAME.fullmatch(name):
            raise InvalidRequest(
                "An alias begins with 'ft:', as in 'ft:my-model:production', and goes on in "
                "letters, digits and . _ : @ + -, at most 190 of them.",
                code="invalid_alias",
                param="name",
            )
        taken = name == self._names.base_model or name in self._names.hosted
        if not taken and name not in self._names.aliases:
            taken = await self._db.transact(lambda s: storage.adapter(s, name)) is not None
            taken = taken or await self._is_registered(name)
        if taken:
            raise AliasRefused(
                f"'{name}' is the name of a model itself; choose another for the alias.",
                code="name_taken",
                param="name",
            )

    async def _is_registered(self, name: str) -> bool:
        try:
            await self._trainer.adapter(name)
        except NotFound:
            return False
        return True

    async def _gate(self, ask: AliasCreate) -> Gate | None:
        """The gate that the adapter has passed; None where none is named and none is needed."""
        if ask.gate is None:
            if not self._is_protected(ask.name):
                return None
            raise AliasRefused(
                f"'{ask.name}' is protected: only an adapter that passed a gate may take it. Make "
                "one by POST /v1/experiments/{id}/gate and name it: "
                '"gate": {"experiment_id": …, "gate_id": …}.',
                code="gate_required",
                param="gate",
            )
        gate = await self._ask_evaluator(ask.gate)
        if not gate.passed:
            reasons = " ".join(reason.message for reason in gate.reasons[:_REASONS])
            raise AliasRefused(
                f"Gate '{gate.id}' was not passed: {reasons}",
                code="gate_not_passed",
                param="gate",
            )
        if gate.model != ask.adapter:
            raise AliasRefused(
                f"Gate '{gate.id}' was passed by '{gate.model}', not by '{ask.adapter}'.",
                code="gate_mismatch",
                param="gate",
            )
        return gate

    async def _ask_evaluator(self, named: GateRef) -> Gate:
        try:
            return await self._evaluator.gate(named.experiment_id, named.gate_id)
        except NotFound as error:
            raise AliasRefused(error.message, code="gate_not_found", param="gate") from error
        except (FineproofError, ValidationError) as error:
            said = error.message if isinstance(error, FineproofError) else "unreadable answer"
            raise Unavailable(
                f"The evaluator cannot be asked whether the gate was passed ({said}); the alias "
                "stands for what it stood for. Try again in a moment.",
                code="evaluator_unavailable",
                headers={"Retry-After": "5"},
            ) from error

    def _is_protected(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._protected)


def change_of(row: AliasChangeRow) -> AliasChange:
    return AliasChange(
        id=row.id,
        created_at=int(row.created_at.timestamp()),
        created_by=row.created_by,
        alias=row.alias,
        adapter=row.adapter,
        sha256=row.sha256,
        gate=GateRef.model_validate(row.gate) if row.gate else None,
    )


def no_alias(name: str) -> NotFound:
    return NotFound(f"There is no alias '{name}'.", code="alias_not_found", param="name")
