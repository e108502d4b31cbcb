"""How a run's batches are made here: of how many examples at once, and on what."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from services.common import weights
from services.trainer.batching import MICRO_BATCH_TOKENS, merges, micro_batch
from services.trainer.training import compiling
from services.trainer.training.config import Plan, RunConfig

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))


def on_gpu() -> bool:
    return bool(torch.cuda.is_available())


def dtype() -> torch.dtype:
    """Float32 on a CPU, whatever it has: docs/performance.md says what bfloat16 loses there."""
    return torch.bfloat16 if on_gpu() else torch.float32


def make_plan(config: RunConfig, base: PreTrainedModel, lengths: Sequence[int]) -> Plan:
    """``lengths`` are tokens of each example, of both its answers where it has two."""
    asked = config.hyperparameters
    share = max(1, int(asked.batch_size) // WORLD)
    kind = "cuda" if on_gpu() else "cpu"
    tokens = config.micro_batch_tokens or MICRO_BATCH_TOKENS[kind]
    micro = micro_batch(share, longest=max(lengths), tokens=tokens)
    steps_per_epoch = math.ceil(len(lengths) / (share * WORLD))
    plan = Plan(
        examples=len(lengths),
        steps_per_epoch=steps_per_epoch,
        steps=steps_per_epoch * int(asked.n_epochs),
        micro_batch=micro,
        gradient_accumulation_steps=share // micro,
        processes=WORLD,
        device=torch.cuda.get_device_name() if on_gpu() else "cpu",
        dtype=str(dtype()).removeprefix("torch."),
        base_model_revision=_revision(config.base_model_path, base),
        torch_compile=compiling.is_worth_it(asked, base, lengths, on_gpu=on_gpu()),
        # FSDP, which is of several processes, lays weights out in its own way.
        merged=WORLD == 1 and merges(asked, share, sum(lengths) / len(lengths), kind),
    )
    for _ in range(config.micro_batch_halvings):
        plan = plan.halved()
    return plan


def _revision(path: str, base: PreTrainedModel) -> str:
    commit = getattr(base.config, "_commit_hash", None)
    return str(commit) if commit is not None else weights.revision(Path(path))
