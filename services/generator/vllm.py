"""vLLM over HTTP: a replica, and the fleet of them. Nobody else in this service speaks to it.

vLLM's LoRA endpoints know no authentication and trust their caller; it must be reachable from here
only.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from services.common.contracts.generator import AdapterProof
from services.common.errors import (
    FineproofError,
    NotFound,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
    error_for_status,
)

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
_JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class ModelServerAway(Unavailable):
    code = "model_server_unavailable"


def away(reason: str) -> ModelServerAway:
    return ModelServerAway(
        f"The model server cannot be reached ({reason}); try again in a moment.",
        headers={"Retry-After": "2"},
    )


def transport_error(error: httpx.HTTPError) -> FineproofError:
    """What a failed exchange with vLLM means to the caller."""
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(
            "The model server did not answer in time.", code="model_server_timeout"
        )
    return away(type(error).__name__)


def answered_error(status: int, body: bytes) -> FineproofError:
    """vLLM's own error as ours: its sentence and, up to 499 and for 503, its status."""
    try:
        error = httpx.Response(status, content=body).json()["error"]
        message, param = str(error["message"]), error.get("param")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, param = f"The model server answered {status}.", None
    param = param if isinstance(param, str) else None
    if status == 404:
        return NotFound(message, code="model_not_found", param=param)
    if status >= 500 and status != 503:
        return UpstreamFailed(message, code="model_server_failed", param=param)
    too_long = "maximum context length" in message or "max_model_len" in message
    code = "context_length_exceeded" if too_long else None
    return error_for_status(status, message, code=code, param=param)


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise transport_error(error) from error


@dataclass(frozen=True)
class Proven:
    """An adapter that a replica holds and that a canary has proven there."""

    path: Path
    sha256: str
    proof: AdapterProof


class Replica:
    """One vLLM server, and what is known of it since the last look.

    ``proven`` names the adapters that may be asked of it; ``active`` counts answers under way.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        *,
        base_model: str,
        request_timeout: float,
        adapter_timeout: float,
    ) -> None:
        self.url = url.rstrip("/")
        self.base_model = base_model
        self.healthy = False
        self.max_model_len: int | None = None
        self.proven: dict[str, Proven] = {}
        self.active = 0
        self._http = http
        self._generation = httpx.Timeout(request_timeout, connect=LOOK_SECONDS)
        self._adapter = httpx.Timeout(adapter_timeout, connect=LOOK_SECONDS)

    async def look(self) -> dict[str, str]:
        """See whether it serves, and which adapters by what path; forget those that are gone.

        A vLLM that was restarted holds none of the adapters that were loaded into it.
        """
        try:
            answer = await self._json("GET", "/v1/models", timeout=httpx.Timeout(LOOK_SECONDS))
            cards = {str(card["id"]): card for card in answer["data"]}
            base = cards.pop(self.base_model)
            self.max_model_len = int(base["max_model_len"])
            paths = {name: str(card["root"]) for name, card in cards.items()}
        except FineproofError:
            self.healthy = False
            raise
        except (KeyError, TypeError, ValueError) as error:
            self.healthy = False
            raise ModelServerAway(
                f"{self.url} does not serve a model called '{self.base_model}'.",
                code="model_server_misconfigured",
            ) from error
        self.healthy = True
        self.proven = {n: p for n, p in self.proven.items() if paths.get(n) == str(p.path)}
        return paths

    async def load_adapter(self, name: str, path: Path) -> None:
        body = {"lora_name": name, "lora_path": str(path)}
        await self._send("POST", "/v1/load_lora_adapter", json=body, timeout=self._adapter)

    async def unload_adapter(self, name: str) -> None:
        """Nothing happens when it is not loaded. Answers under way with it are finished."""
        self.proven.pop(name, None)
        try:
            await self._send(
                "POST", "/v1/unload_lora_adapter", json={"lora_name": name}, timeout=self._adapter
            )
        except NotFound:
            return

    async def logprob(self, model: str, prefix: Sequence[int], token: int) -> float:
        """Natural-log probability of ``token`` after the tokens of ``prefix``.

        The token is forced; vLLM reports its probability from before that.
        """
        answer = await self._json(
            "POST",
            "/v1/completions",
            json={
                "model": model,
                "prompt": list(prefix),
                "max_tokens": 1,
                "temperature": 0,
                "allowed_token_ids": [token],
                "logprobs": 0,
            },
            timeout=self._adapter,
        )
        try:
            return float(answer["choices"][0]["logprobs"]["token_logprobs"][0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UpstreamFailed(
                "The model server's log-probability of a token cannot be read.",
                code="model_server_malformed",
            ) from error

    async def count_tokens(self, messages: Sequence[Mapping[str, str]]) -> int:
        """Length of the prompt in tokens, chat template included."""
        answer = await self._json(
            "POST",
            "/tokenize",
            json={"model": self.base_model, "messages": list(messages)},
            timeout=self._generation,
        )
        try:
            return int(answer["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamFailed(
                "The model server's token count cannot be read.", code="model_server_malformed"
            ) from error

    @asynccontextmanager
    async def generate(self, path: str, body: bytes) -> AsyncIterator[httpx.Response]:
        """Send ``body`` as it is and hand out the answer unread, once vLLM has said 200.

        Leaving closes the connection; vLLM then stops generating.
        """
        self.active += 1
        try:
            request = self._http.build_request(
                "POST", self.url + path, content=body, headers=_JSON, timeout=self._generation
            )
            try:
                response = await self._http.send(request, stream=True)
            except httpx.ConnectError:
                self.healthy = False
                raise
            try:
                if response.is_error:
                    raise answered_error(response.status_code, await response.aread())
                yield response
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise transport_error(error) from error
        finally:
            self.active -= 1

    async def _json(self, method: str, path: str, **request: Any) -> Any:
        response = await self._send(method, path, **request)
        try:
            return response.json()
        except ValueError as error:
            raise UpstreamFailed(
                "The model server's answer is not JSON.", code="model_server_malformed"
            ) from error

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with _typed():
            response = await self._http.request(method, self.url + path, **request)
        if response.is_error:
            raise answered_error(response.status_code, response.content)
        return response


class Fleet:
    """The replicas, all serving the same base model."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self.replicas = tuple(replicas)

    @property
    def healthy(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.healthy]

    @property
    def max_model_len(self) -> int | None:
        """The smallest window of any replica, in tokens."""
        return min((r.max_model_len for r in self.replicas if r.max_model_len), default=None)

    def pick(self, adapter: str | None = None) -> Replica | None:
        """The least busy healthy replica, among those that have ``adapter`` proven if one is named.

        Raises :class:`ModelServerAway` when no replica is healthy.
        """
        if not self.healthy:
            raise away("no replica is healthy")
        able = [r for r in self.healthy if adapter is None or adapter in r.proven]
        return min(able, key=lambda replica: replica.active, default=None)

    def proven(self, adapter: str) -> Proven | None:
        for replica in self.replicas:
            if adapter in replica.proven:
                return replica.proven[adapter]
        return None
