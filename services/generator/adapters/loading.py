"""One adapter on its way into one replica: checked, handed over, proven, or taken out again."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from pydantic import BaseModel, ValidationError

from services.common.contracts.generator import AdapterProof
from services.common.contracts.trainer import AdapterRecord, Canary
from services.common.errors import (
    FineproofError,
    InvalidRequest,
    NotFound,
    Unavailable,
    UpstreamFailed,
)
from services.common.ids import now
from services.generator.adapters.artifacts import CANARY, CONFIG, AdapterCache
from services.generator.adapters.proof import (
    Limits,
    Served,
    judge,
    measure,
    probes,
    read_canary,
    tolerance,
)
from services.generator.adapters.refusal import AdapterCorrupt, AdapterIncompatible
from services.generator.adapters.weights import (
    WEIGHTS,
    Shape,
    check_rank,
    check_targets,
    count_matched,
    lora_pairs,
)
from services.generator.servers.vllm import Proven, Replica


@dataclass(frozen=True)
class Engine:
    """What adapters must fit: the base model, the engine's limits, and how they are proven.

    ``target_modules``: the last part of the names of modules that vLLM lets adapters change; all
    linear ones where null.
    """

    base_model: str
    base_model_path: str
    max_lora_rank: int
    target_modules: tuple[str, ...] | None
    limits: Limits


@dataclass(frozen=True)
class Checked:
    """An adapter whose files are whole and fit the base model."""

    record: AdapterRecord
    folder: Path
    canary: Canary
    modules_in_file: int
    modules_matched: int


def check(
    record: AdapterRecord, engine: Engine, base: Mapping[str, Shape], cache: AdapterCache
) -> Checked:
    """Fetch an adapter, and find what can be found against it before vLLM sees it."""
    folder = cache.fetch(record)
    config = _config(folder / CONFIG)
    _check_base(record, config.base_model_name_or_path, engine)
    pairs = lora_pairs(folder / WEIGHTS)
    check_rank(pairs, engine.max_lora_rank, None if config.rank_pattern else config.r)
    check_targets(pairs, engine.target_modules)
    matched = count_matched(pairs, base)
    return Checked(record, folder, read_canary(folder / CANARY), len(pairs), matched)


class _Config(BaseModel):
    """What is read here of PEFT's ``adapter_config.json``."""

    base_model_name_or_path: str
    r: int
    rank_pattern: dict[str, int] | None = None


def _config(file: Path) -> _Config:
    try:
        return _Config.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise AdapterCorrupt(f"{file.name} cannot be read: {error.errors()[0]['msg']}.") from error


def _check_base(record: AdapterRecord, said: str, engine: Engine) -> None:
    """The names of the base model must agree; whether the weights do, the canary says."""
    ours = {short_name(engine.base_model), short_name(engine.base_model_path)}
    if record.base_model != engine.base_model or short_name(said) not in ours:
        other = said if record.base_model == engine.base_model else record.base_model
        raise AdapterIncompatible(
            f"The adapter was trained on '{other}', and '{engine.base_model}' is served here."
        )


def short_name(model: str) -> str:
    """What a served name, a folder and a Hugging Face id of one model have in common.

    A snapshot in the hub's cache lies in ``models--<org>--<name>/snapshots/<hash>``.
    """
    parts = [part for part in model.split("/") if part]
    cached = [part for part in parts if part.startswith("models--")]
    return (cached[-1].split("--")[-1] if cached else parts[-1] if parts else "").casefold()


async def serve(
    replica: Replica, checked: Checked, engine: Engine, *, proving: Callable[[], Awaitable[None]]
) -> AdapterProof:
    """Load into a replica, prove it there and publish it; what is not proven is taken out again.

    ``proving`` is called when vLLM holds the adapter.
    """
    name = checked.record.id
    held = (await replica.look()).get(name)
    try:
        if held != str(checked.folder):
            if held is not None:
                await replica.unload_adapter(name)
            await _hand_over(replica, name, checked.folder)
        await proving()
        proof = await _prove(replica, checked, engine)
    except BaseException:
        with anyio.CancelScope(shield=True), suppress(FineproofError):
            await replica.unload_adapter(name)
        raise
    replica.proven[name] = Proven(checked.folder, checked.record, proof)
    return proof


async def _hand_over(replica: Replica, name: str, folder: Path) -> None:
    try:
        await replica.load_adapter(name, folder)
    except NotFound as error:
        raise Unavailable(
            f"vLLM at {replica.url} cannot read {folder}; ADAPTER_CACHE must be a folder that it "
            "sees under the same path.",
            code="adapter_cache_not_shared",
        ) from error
    except (InvalidRequest, UpstreamFailed) as error:
        held = await replica.look()  # raises when it is vLLM that broke
        if held.get(name) != str(folder):  # else another generator was first
            raise AdapterIncompatible(f"vLLM refuses the adapter: {error.message}") from error


async def _prove(replica: Replica, checked: Checked, engine: Engine) -> AdapterProof:
    record, limits = checked.record, engine.limits
    asked = probes(checked.canary)
    served: list[Served] = []
    # One at a time: on a CPU vLLM takes longer over a batch of adapters mixed with the base model.
    for probe in asked:
        try:
            base = await replica.logprob(engine.base_model, probe.prefix, probe.token)
            adapted = await replica.logprob(record.id, probe.prefix, probe.token)
        except InvalidRequest as error:
            raise AdapterCorrupt(f"vLLM cannot score {CANARY}: {error.message}") from error
        served.append(Served(base, adapted))
    measured = measure(asked, served)
    judge(measured, limits)
    return AdapterProof(
        adapter=record.id,
        replica=replica.url,
        sha256=record.sha256,
        modules_in_file=checked.modules_in_file,
        modules_matched=checked.modules_matched,
        max_abs_logprob_delta=measured.served_delta,
        peft_max_abs_diff=measured.peft_diff,
        tolerance=tolerance(measured, limits),
        checked_at=now(),
        replica_started_at=int(replica.started_at) if replica.started_at else None,
    )
