"""A real LoRA adapter for the small model, and ways to spoil it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench.adapters import make_adapters
from services.common.contracts.trainer import Canary


def make_adapter(base: Path, folder: Path) -> None:
    """A real one, with PEFT's two files and our ``canary.json``."""
    make_adapters(base, [folder])


def empty(folder: Path) -> None:
    """Every ``lora_B`` is zero, as before the first step of training."""
    _rewrite(folder, lambda key, t: (key, torch.zeros_like(t) if "lora_B" in key else t))


def renamed_modules(folder: Path) -> None:
    _rewrite(folder, lambda key, t: (key.replace("model.layers", "model.blocks"), t))


def wrapped_modules(folder: Path) -> None:
    _rewrite(
        folder,
        lambda key, t: (key.replace("model.model.", "model.language_model.model."), t),
    )


def half_the_layers(folder: Path) -> None:
    """Only the first 15 of 30 layers are kept; names and shapes of what is left are right."""
    weights = folder / "adapter_model.safetensors"
    kept = {
        key: tensor
        for key, tensor in load_file(weights).items()
        if int(key.split(".layers.")[1].split(".")[0]) < 15
    }
    save_file(kept, weights, metadata={"format": "pt"})


def truncated_file(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])


def other_base(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "meta-llama/Llama-2-7b-hf"
    (folder / "adapter_config.json").write_text(json.dumps(config))


def wrong_scale(folder: Path) -> None:
    """The weights are whole, but would be served at half their strength."""
    config = json.loads((folder / "adapter_config.json").read_text())
    config["lora_alpha"] /= 2
    (folder / "adapter_config.json").write_text(json.dumps(config))


def wrong_rank(folder: Path) -> None:
    """The configuration names another rank than that of the weights."""
    config = json.loads((folder / "adapter_config.json").read_text())
    config["r"] *= 2
    (folder / "adapter_config.json").write_text(json.dumps(config))


def rank_64(folder: Path) -> None:
    """The same product B·A, padded with zeros to a rank over the engine's limit."""

    def padded(key: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor]:
        missing = 64 - min(tensor.shape)
        pad = (0, 0, 0, missing) if "lora_A" in key else (0, missing)
        return key, torch.nn.functional.pad(tensor, pad)

    _rewrite(folder, padded)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["lora_alpha"] *= 64 // config["r"]
    config["r"] = 64
    (folder / "adapter_config.json").write_text(json.dumps(config))


def canary_of_another_base(folder: Path) -> None:
    """What PEFT would have said, had the base model been another one."""
    canary = Canary.model_validate_json((folder / "canary.json").read_text())
    for sequence in canary.sequences:
        sequence.base = [value - 1.0 for value in sequence.base]
        sequence.adapted = [value - 1.0 for value in sequence.adapted]
    (folder / "canary.json").write_text(canary.model_dump_json())


def _rewrite(folder: Path, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]]) -> None:
    weights = folder / "adapter_model.safetensors"
    changed = dict(change(key, tensor) for key, tensor in load_file(weights).items())
    save_file(changed, weights, metadata={"format": "pt"})


def copy_of(adapter: Path, folder: Path) -> Path:
    return Path(shutil.copytree(adapter, folder))
