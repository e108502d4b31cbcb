"""A base model of one weight and adapters for it: right in form, and made in a millisecond.

For what does not depend on a model's words: names, files, order and concurrency.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from services.common.contracts.trainer import Canary, CanarySequence

MODULE = "model.layers.0.self_attn.q_proj"


def tiny_base(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({f"{MODULE}.weight": np.ones((12, 8), np.float32)}, folder / "model.safetensors")
    return folder


def tiny_adapter(folder: Path, *, base_model: str, seed: int = 0, rank: int = 4) -> Path:
    """``seed`` changes the weights and the canary's tokens."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    halves = {"lora_A": (rank, 8), "lora_B": (12, rank)}
    weights = {
        f"base_model.model.{MODULE}.{half}.weight": draw.normal(size=shape).astype(np.float32)
        for half, shape in halves.items()
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    ids = [int(token) for token in draw.integers(1, 1000, size=4)]
    sequence = CanarySequence(token_ids=ids, base=[-1.0, -2.0, -3.0], adapted=[-1.5, -2.0, -2.0])
    (folder / "canary.json").write_text(Canary(sequences=[sequence]).model_dump_json())
    return folder
