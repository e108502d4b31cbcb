"""vLLM over HTTP. Nobody else in this service speaks to it.

vLLM's LoRA endpoints know no authentication and trust their caller; it must be reachable from here
only.
"""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from services.common.contracts.generator import AdapterProof
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import (
    FineproofError,
    NotFound,
    UpstreamFailed,
    error_for_status,
)
from services.generator.servers.asking import (
    Answer,
    ModelServerAway,
    Server,
    Unconnected,
    transport_error,
)

LOOK_SECONDS = 5.0
_START_TIME = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)
_JSON = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


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


def _error_of(response: httpx.Response, body: bytes) -> FineproofError:
    return answered_error(response.status_code, body)


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
    record: AdapterRecord
    proof: AdapterProof


class Replica:
    """One vLLM server, and what is known of it since the last look.

    ``proven`` names the adapters that may be asked of it, ``refused`` why it failed to
    prove others since it was started; ``active`` counts answers under way and ``using`` those of
    each adapter; ``last_used`` says when each was last asked, ``started_at``
    when its process began (Unix seconds; null where it does not say); ``held`` are the paths of the
    adapters it holds; ``warm`` once it was asked through an adapter since.
    """

    def __init__(
        self,
        server: Server,
        url: str,
        *,
        base_model: str,
        adapter_timeout: float,
    ) -> None:
        self.url = url.rstrip("/")
        self.base_model = base_model
        self.healthy = False
        self.warm = False
        self.max_model_len: int | None = None
        self.started_at: float | None = None
        self.held: dict[str, str] = {}
        self.proven: dict[str, Proven] = {}
        self.refused: dict[str, FineproofError] = {}
        self.active = 0
        self.using: Counter[str] = Counter()
        self.last_used: dict[str, float] = {}
        self._idle: dict[str, anyio.Event] = {}
        self.health = server.health
        self._server = server
        self._http = server.http
        self._addresses: dict[str, httpx.URL] = {}
        self._generation = server.timeouts.of_transport
        self._counting = httpx.Timeout(server.timeouts.first_token, connect=LOOK_SECONDS)
        self._adapter = httpx.Timeout(adapter_timeout, connect=LOOK_SECONDS)

    def sha256_of(self, model: str) -> str | None:
        """Of the weights proven here under this name; null for the base model."""
        proven = self.proven.get(model)
        return proven.record.sha256 if proven else None

    async def look(self) -> dict[str, str]:
        """See whether it serves, and which adapters by what path; forget those that are gone.

        A vLLM that was restarted holds none of the adapters that were loaded into it. Where someone
        else has loaded them again meanwhile, they are not proven in this process of it.
        """
        known, was_away = dict(self.proven), not self.healthy
        try:
            answer = await self._json("GET", "/v1/models", timeout=httpx.Timeout(LOOK_SECONDS))
            cards = {str(card["id"]): card for card in answer["data"]}
            base = cards.pop(self.base_model)
            self.max_model_len = int(base["max_model_len"])
            self.held = {name: str(card["root"]) for name, card in cards.items()}
            started_at = await self._start_time()
        except FineproofError:
            self.healthy = False
            raise
        except (KeyError, TypeError, ValueError) as error:
            self.healthy = False
            raise ModelServerAway(
                f"{self.url} does not serve a model called '{self.base_model}'.",
                code="model_server_misconfigured",
            ) from error
        if not self.healthy:
            self.health.well()
        self.healthy = True
        restarted = was_away if started_at is None else started_at != self.started_at
        self.started_at = started_at
        if restarted:
            self.refused.clear()
            self.warm = False
        for name, proven in known.items():
            gone = restarted or self.held.get(name) != str(proven.path)
            if gone and self.proven.get(name) is proven:
                del self.proven[name]
        return self.held

    async def _start_time(self) -> float | None:
        """As known already where it does not say now."""
        try:
            answer = await self._send("GET", "/metrics", timeout=httpx.Timeout(LOOK_SECONDS))
        except FineproofError:
            return self.started_at
        found = _START_TIME.search(answer.text)
        return float(found[1]) if found else self.started_at

    async def load_adapter(self, name: str, path: Path) -> None:
        body = {"lora_name": name, "lora_path": str(path)}
        await self._send("POST", "/v1/load_lora_adapter", json=body, timeout=self._adapter)

    async def drain(self, name: str, seconds: float) -> None:
        """Send it nothing new with this adapter, and wait until answers under way are over."""
        self.proven.pop(name, None)
        with anyio.move_on_after(seconds):
            while self.using[name]:  # also those that begin while this waits
                await self._idle.setdefault(name, anyio.Event()).wait()

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

    async def count_tokens(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        """Length of the prompt in tokens, chat template included."""
        asked = {"model": self.base_model, "messages": list(messages)}
        answer = await self._json(
            "POST",
            "/tokenize",
            json=asked | ({"tools": list(tools)} if tools else {}),
            timeout=self._counting,
        )
        try:
            return int(answer["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamFailed(
                "The model server's token count cannot be read.", code="model_server_malformed"
            ) from error

    @asynccontextmanager
    async def generate(self, path: str, body: bytes, model: str) -> AsyncIterator[Answer]:
        """Send ``body`` as it is and hand out the answer unread, once vLLM has said 200.

        Leaving closes the connection; vLLM then stops generating. ``model`` is who is asked: until
        the answer is over it is in use.
        """
        self._begin(model)
        # Built without the client, which would merge headers and parse the URL anew each time.
        request = httpx.Request(
            "POST",
            self._address(path),
            content=body,
            headers=_JSON,
            extensions={"timeout": self._generation.as_dict()},
        )
        try:
            async with self._server.ask(request, _error_of) as answer:
                yield answer
        except Unconnected:
            self.healthy = False  # until the next look
            raise
        finally:
            self._end(model)

    def _begin(self, model: str) -> None:
        self.active += 1
        self.using[model] += 1
        self._touch(model)

    def _end(self, model: str) -> None:
        self.active -= 1
        self.using[model] -= 1
        if not self.using[model]:
            del self.using[model]
            if waiting := self._idle.pop(model, None):
                waiting.set()
        self._touch(model)

    def _touch(self, model: str) -> None:
        if model != self.base_model:
            self.last_used[model] = time.time()

    def _address(self, path: str) -> httpx.URL:
        if path not in self._addresses:
            self._addresses[path] = httpx.URL(self.url + path)
        return self._addresses[path]

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
