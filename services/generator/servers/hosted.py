"""Models at other hosts, asked as ours are: chat, completions, RAG, responses."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from socket import AddressFamily

import httpx
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from services.common.errors import (
    FineproofError,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    error_for_status,
)
from services.common.line import Line
from services.generator.servers.asking import Answer, Server
from services.generator.servers.hosting import HostedModel, Network, is_open

log = structlog.get_logger(__name__)


class Hosted:
    """One of them. Its key leaves this object in a header and nowhere else."""

    def __init__(self, model: HostedModel, server: Server, line: Line) -> None:
        self.name = model.name
        self.model = model.model or model.name
        self.host = model.host
        self.window = model.max_model_len
        self.line = line
        self.server = server
        self._url = str(model.url).rstrip("/")
        self._secret = model.secret()
        self._timeout = server.timeouts.of_transport.as_dict()

    @asynccontextmanager
    async def generate(self, path: str, body: bytes) -> AsyncIterator[Answer]:
        """Send ``body`` as it is; leaving closes the connection."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._secret is not None:
            headers["Authorization"] = f"Bearer {self._secret}"
        request = httpx.Request(
            "POST",
            self._url + path.removeprefix("/v1"),
            content=body,
            headers=headers,
            extensions={"timeout": self._timeout},
        )
        async with self.server.ask(request, self._error) as answer:
            yield answer

    def _error(self, response: httpx.Response, body: bytes) -> FineproofError:
        """What the host says is wrong, where that is the caller's business.

        What is wrong with our key or our settings is not the caller's mistake, and must not look
        like it: a 401 would have them change a key that is right.
        """
        status = response.status_code
        log.warning("hosted_model_refused", model=self.name, status=status)
        if status in (401, 403):
            return UpstreamFailed(
                f"The host of '{self.name}' does not accept this service's key for it.",
                code="upstream_unauthorized",
            )
        if status == 429:
            after = response.headers.get("retry-after", "")
            return RateLimited(
                f"The host of '{self.name}' takes no more requests from here for now.",
                code="upstream_rate_limited",
                headers={"Retry-After": after if after.isdigit() else "5"},
            )
        if status == 503:
            return Unavailable(
                f"The host of '{self.name}' is overloaded or away; try again in a moment.",
                code="upstream_unavailable",
            )
        if status in (400, 413, 422):
            return self._callers_mistake(status, body)
        return UpstreamFailed(
            f"The host of '{self.name}' answered {status}.",
            code="upstream_redirected" if 300 <= status < 400 else "upstream_failed",
        )

    def _callers_mistake(self, status: int, body: bytes) -> FineproofError:
        try:
            error = httpx.Response(status, content=body).json()["error"]
            message, code, param = str(error["message"]), error.get("code"), error.get("param")
        except (ValueError, KeyError, TypeError, AttributeError):
            message, code, param = f"The host of '{self.name}' answered {status}.", None, None
        if self._secret is not None:
            message = message.replace(self._secret, "***")
        return error_for_status(
            status,
            message[:1000],
            code=code if isinstance(code, str) else None,
            param=param if isinstance(param, str) else None,
        )


class GuardedResolver(AbstractResolver):
    """Resolves to public addresses and listed networks only, at each connection anew.

    A name may be allowed and yet point, today or tomorrow, into the cluster or at the cloud's
    metadata service.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [address for address in found if is_open(address["host"], self._networks)]
        if not allowed:
            log.warning("hosted_address_refused", host=host)
            raise OSError(f"{host} has no address that requests may go to")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
