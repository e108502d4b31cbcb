"""The rules of answering: which replica, with which adapter, and how many at once."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from services.common.contracts.generator import Adapter, AdapterError, AdapterProof, Model
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import InvalidRequest, NotFound, RateLimited
from services.common.ids import now
from services.generator.adapters import AdapterKeeper
from services.generator.models import AdapterRow
from services.generator.relay import Relay
from services.generator.schemas import completion_head
from services.generator.vllm import Fleet, ModelServerAway, Replica

_ATTEMPTS = 2


class Generator:
    def __init__(
        self,
        fleet: Fleet,
        keeper: AdapterKeeper,
        *,
        base_model: str,
        max_concurrent: int,
        allow_prompt_logprobs: bool,
    ) -> None:
        self.fleet = fleet
        self.base_model = base_model
        self._keeper = keeper
        self._free = max_concurrent
        self._allow_prompt_logprobs = allow_prompt_logprobs
        self._started = now()

    async def hand_on(self, path: str, body: bytes) -> Relay:
        """Send a caller's request to vLLM as it came."""
        head = completion_head(body)
        if head.scores_prompt and not self._allow_prompt_logprobs:
            raise InvalidRequest(
                "Log-probabilities of the prompt (prompt_logprobs, or echo with logprobs) are not "
                "to be had here: with adapters enabled vLLM may die of them. Ask for logprobs of "
                "what is generated.",
                code="unsupported_parameter",
                param="prompt_logprobs",
            )
        return await self.open(path, head.model, body)

    async def open(self, path: str, model: str, body: bytes) -> Relay:
        """Send ``body`` to a replica that serves ``model``; returns when vLLM has begun to answer.

        Nothing is repeated that may have generated anything, but for one case: a vLLM that was
        restarted since the last look does not know the adapter any more. It is loaded again.
        """
        resources = AsyncExitStack()
        try:
            self._take_place(resources)
            for attempt in range(1, _ATTEMPTS + 1):
                replica = await self._route(model)
                try:
                    response = await resources.enter_async_context(replica.generate(path, body))
                except NotFound:
                    if replica.proven.pop(model, None) is None or attempt == _ATTEMPTS:
                        raise
                else:
                    return Relay(response, resources.pop_all())
            raise AssertionError("unreachable: the last attempt returns or raises")
        finally:
            await resources.aclose()

    def adapter_sha256(self, model: str) -> str | None:
        """Of the weights being served under this name; null for the base model."""
        proven = self.fleet.proven(model)
        return proven.sha256 if proven else None

    def base_card(self) -> Model:
        return Model(
            id=self.base_model,
            created=self._started,
            status="loaded" if self.fleet.healthy else "unavailable",
            max_model_len=self.fleet.max_model_len,
        )

    def cards(self, rows: Sequence[AdapterRow]) -> list[Model]:
        """The base model first, then every adapter that was ever asked for, with its status."""
        return [self.base_card(), *(self.card(row) for row in rows)]

    def card(self, row: AdapterRow) -> Model:
        adapter = adapter_of(row)
        return Model(
            id=adapter.id,
            created=adapter.created_at,
            parent=adapter.base_model,
            sha256=adapter.sha256,
            status=adapter.status,
            max_model_len=self.fleet.max_model_len,
        )

    async def _route(self, model: str) -> Replica:
        """A healthy replica that has ``model``, which is loaded first where it is not yet."""
        if model == self.base_model:
            replica = self.fleet.pick()
        else:
            replica = self.fleet.pick(model)
            if replica is None:
                await self._keeper.ensure(model)
                replica = self.fleet.pick(model)
        if replica is None:
            raise ModelServerAway(
                f"'{model}' was taken out of service a moment ago; try again.",
                headers={"Retry-After": "1"},
            )
        return replica

    def _take_place(self, resources: AsyncExitStack) -> None:
        if self._free <= 0:
            raise RateLimited(
                "As many answers are being generated as this service allows; try again in a "
                "moment.",
                code="too_many_requests",
                headers={"Retry-After": "1"},
            )
        self._free -= 1
        resources.callback(self._leave_place)

    def _leave_place(self) -> None:
        self._free += 1


def adapter_of(row: AdapterRow) -> Adapter:
    """The row as the wire shows it; of one proof a replica, the one that agrees least with PEFT."""
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
        proof=max(proofs, key=lambda proof: proof.peft_max_abs_diff, default=None),
        error=error or None,
    )
