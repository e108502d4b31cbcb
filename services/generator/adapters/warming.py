"""The first adapter after vLLM's start, loaded before anybody asks for one.

vLLM readies its kernels for adapters when it is first asked for any of them: about 20 seconds on a
CPU. An adapter without effect (LoRA with B = 0, Hu et al. 2021) lets its start pay for that.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio.to_thread
import numpy
import structlog
from safetensors.numpy import save_file

from services.common.errors import FineproofError
from services.generator.adapters.artifacts import CONFIG
from services.generator.adapters.placement import Placement
from services.generator.adapters.weights import WEIGHTS, Shape
from services.generator.servers.vllm import Replica

log = structlog.get_logger(__name__)

NAME = "fineproof-warm-up"
_TOKEN = 1  # any will do


class WarmUp:
    """``cache`` is the folder that every vLLM replica reads."""

    def __init__(self, placement: Placement, cache: Path) -> None:
        self._placement = placement
        self._cache = cache

    async def warm(self, replica: Replica) -> None:
        """Have a replica answer once through an adapter without effect; it is gone afterwards.

        What goes wrong is logged: whoever asks first then waits instead.
        """
        try:
            base = await self._placement.base()
            self._cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache, prefix=".warm-up-") as scratch:
                folder = Path(scratch)
                await anyio.to_thread.run_sync(write_idle, folder, base, self._placement.targets)
                await replica.load_adapter(NAME, folder)
                await replica.logprob(NAME, [_TOKEN], _TOKEN)
        except (FineproofError, OSError) as error:
            log.warning("replica_not_warmed", replica=replica.url, error=str(error))
        finally:
            with anyio.CancelScope(shield=True), suppress(FineproofError):
                await replica.unload_adapter(NAME)
        replica.warm = True


def write_idle(
    folder: Path, base: Mapping[str, Shape], targets: tuple[str, ...] | None = None
) -> None:
    """An adapter of rank 1 on the linear modules of every layer of ``base``, all zeros.

    ``targets`` are the last parts of the names of modules that vLLM lets adapters change; all of
    them where null.
    """
    modules = {
        name.removesuffix(".weight"): shape
        for name, shape in base.items()
        if name.endswith("_proj.weight") and len(shape) == 2
    }
    modules = {m: s for m, s in modules.items() if targets is None or _last(m) in targets}
    tensors = {}
    for module, (rows, columns) in modules.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = numpy.zeros((1, columns), "float32")
        tensors[f"base_model.model.{module}.lora_B.weight"] = numpy.zeros((rows, 1), "float32")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 1,
        "lora_alpha": 1,
        "bias": "none",
        "target_modules": sorted({_last(module) for module in modules}),
    }
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config))
    folder.chmod(0o755)  # vLLM may run as someone else


def _last(module: str) -> str:
    return module.rsplit(".", 1)[-1]
