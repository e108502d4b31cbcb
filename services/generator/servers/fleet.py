"""The vLLM replicas, which come and go, and which of them is asked."""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from services.common.contracts.generator import AdapterProof
from services.common.errors import FineproofError
from services.generator.servers.asking import ModelServerAway, away
from services.generator.servers.vllm import LOOK_SECONDS, Proven, Replica

log = structlog.get_logger(__name__)


class Fleet:
    """The replicas, all serving the same base model: those of a list, and those behind names.

    ``names`` are URLs whose host names have an address a replica, as headless Services of
    Kubernetes do. A replica is used once it was looked at, and asked for an adapter once that is
    proven there; one whose address is gone is forgotten when the answers it is giving are over.
    """

    def __init__(
        self, make: Callable[[str], Replica], urls: Sequence[str], names: Sequence[str] = ()
    ) -> None:
        self.replicas = tuple(make(url) for url in urls)
        self._make = make
        self._urls = [replica.url for replica in self.replicas]
        self._behind: dict[str, list[str]] = {name: [] for name in names}

    @property
    def healthy(self) -> list[Replica]:
        return [r for r in self.replicas if r.healthy and not r.health.rests]

    @property
    def all_well(self) -> bool:
        return bool(self.replicas) and len(self.healthy) == len(self.replicas)

    @property
    def max_model_len(self) -> int | None:
        """The smallest window of any replica, in tokens."""
        return min((r.max_model_len for r in self.replicas if r.max_model_len), default=None)

    def pick(
        self, adapter: str | None = None, *, besides: Collection[Replica] = ()
    ) -> Replica | None:
        """The least busy healthy replica, among those that have ``adapter`` proven if one is named.

        Raises :class:`ModelServerAway` when no replica is healthy. Those ``besides`` it were asked
        already.
        """
        willing = [r for r in self.healthy if r.health.may_be_asked]
        if not willing:
            raise self._away()
        able = [r for r in willing if adapter is None or adapter in r.proven]
        return min((r for r in able if r not in besides), key=lambda r: r.active, default=None)

    def _away(self) -> ModelServerAway:
        rests = [r.health.rests for r in self.replicas if r.health.rests]
        if not rests or len(rests) < len(self.replicas):  # others may be back at the next look
            return away("no replica is healthy")
        return away("every replica has failed lately", seconds=min(rests))

    def proven(self, adapter: str) -> Proven | None:
        for replica in self.replicas:
            if adapter in replica.proven:
                return replica.proven[adapter]
        return None

    def adapters(self) -> set[str]:
        """Those that are proven somewhere."""
        return {name for replica in self.replicas for name in replica.proven}

    def forget(self, adapters: Set[str]) -> None:
        """Send nothing more with these."""
        for replica in self.replicas:
            for name in adapters:
                replica.proven.pop(name, None)

    def proofs(self, adapter: str) -> list[AdapterProof]:
        """One of each replica in which it is proven."""
        return [r.proven[adapter].proof for r in self.replicas if adapter in r.proven]

    def without(self, adapter: str, folder: Path) -> list[Replica]:
        """Healthy replicas in which the files of ``folder`` are not proven under this name."""
        return [
            replica
            for replica in self.healthy
            if (known := replica.proven.get(adapter)) is None or known.path != folder
        ]

    def lacking(self, adapter: str) -> list[Replica]:
        """Healthy replicas in which it may yet be proven: those that have refused it may not."""
        return [r for r in self.healthy if adapter not in r.proven and adapter not in r.refused]

    def refusal(self, adapter: str) -> FineproofError | None:
        """Why a healthy replica has not proven it, if one has not, though others may have."""
        return next((r.refused[adapter] for r in self.healthy if adapter in r.refused), None)

    def forgive(self, adapter: str) -> None:
        """Let replicas that have refused it try again."""
        for replica in self.replicas:
            replica.refused.pop(adapter, None)

    def last_used(self) -> dict[str, datetime]:
        """When each model was last asked; now, where an answer is under way."""
        uses: dict[str, datetime] = {}
        for replica in self.replicas:
            now = datetime.now(UTC)
            for name, seconds in replica.last_used.items():
                at = now if replica.using[name] else datetime.fromtimestamp(seconds, UTC)
                uses[name] = max(at, uses.get(name, at))
        return uses

    async def look(self) -> None:
        """See which replicas there are, whether they are well, and what they hold."""
        await asyncio.gather(*(self._resolve(name) for name in self._behind))
        urls = dict.fromkeys(
            [*self._urls, *(url for found in self._behind.values() for url in found)]
        )
        known = {replica.url: replica for replica in self.replicas}
        self.replicas = tuple(known.get(url) or self._make(url) for url in urls)
        await asyncio.gather(*(_look(replica) for replica in self.replicas))

    async def _resolve(self, name: str) -> None:
        """The addresses behind a name; where it cannot be resolved, those it had."""
        parts = urlsplit(name)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await asyncio.to_thread(
                    socket.getaddrinfo, parts.hostname, parts.port, type=socket.SOCK_STREAM
                )
        except (OSError, TimeoutError) as error:
            log.warning("replicas_not_resolved", name=name, error=repr(error))
            return
        urls = sorted({_url(str(address[0]), int(address[1])) for *_, address in found})
        if urls != self._behind[name]:
            log.info("replicas_resolved", name=name, replicas=urls)
            self._behind[name] = urls


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


async def _look(replica: Replica) -> None:
    was = replica.healthy
    try:
        await replica.look()
    except FineproofError as error:
        if was:
            log.warning("replica_lost", replica=replica.url, error=error.message)
    else:
        if not was:
            log.info("replica_found", replica=replica.url)
