"""What a base model consists of, read from its files without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from huggingface_hub import get_safetensors_metadata
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError, safe_open

from services.common.contracts.hyperparameters import LoraHyperparameters
from services.trainer.preparing.tokens import small_files

Shape = tuple[int, ...]

_EMBEDDINGS = ("embed", "wte", "wpe", "lm_head")


class UnknownArchitecture(ValueError):
    """Nothing can be computed for this base model, and why."""


@dataclass(frozen=True)
class Architecture:
    """Counts of parameters and widths in numbers; ``linear`` are the shapes (out, in) of the linear
    layers, without embeddings and head, by module name."""

    parameters: int
    hidden: int
    intermediate: int
    key_values: int
    layers: int
    vocabulary: int
    linear: Mapping[str, Shape]

    @property
    def linear_parameters(self) -> int:
        return sum(prod(shape) for shape in self.linear.values())

    def lora_parameters(self, lora: LoraHyperparameters) -> int:
        """r · (in + out) for each module it adapts (Hu et al. 2021, arXiv 2106.09685), and a
        magnitude for each of its outputs with DoRA (Liu et al. 2024, arXiv 2402.09353)."""
        wanted = None if lora.target_modules == "all-linear" else set(lora.target_modules)
        adapted = [
            shape
            for name, shape in self.linear.items()
            if wanted is None or name.rpartition(".")[2] in wanted
        ]
        return sum(
            lora.r * (shape[0] + shape[1]) + (shape[0] if lora.use_dora else 0) for shape in adapted
        )


@lru_cache(maxsize=8)
def architecture(model: str) -> Architecture:
    """That of a folder or Hugging Face id. Raises ``UnknownArchitecture``."""
    try:
        told = json.loads((small_files(model) / "config.json").read_bytes())
        told = told.get("text_config", told)
        shapes = _shapes(model)
        hidden, heads = int(told["hidden_size"]), int(told["num_attention_heads"])
        head = int(told.get("head_dim") or hidden // heads)
        return Architecture(
            parameters=sum(map(prod, shapes.values())),
            hidden=hidden,
            intermediate=int(told["intermediate_size"]),
            key_values=head * int(told.get("num_key_value_heads") or heads),
            layers=int(told["num_hidden_layers"]),
            vocabulary=int(told["vocab_size"]),
            linear=_linear(shapes),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, HfHubHTTPError) as error:
        raise UnknownArchitecture(
            f"The configuration and weights of the base model do not say how large it is "
            f"({type(error).__name__})."
        ) from error


def _shapes(model: str) -> dict[str, Shape]:
    folder = Path(model)
    if not folder.is_dir():
        hosted = get_safetensors_metadata(model)
        return {
            name: tuple(tensor.shape)
            for file in hosted.files_metadata.values()
            for name, tensor in file.tensors.items()
        }
    shapes: dict[str, Shape] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                shapes[name] = tuple(weights.get_slice(name).get_shape())
    if not shapes:
        raise ValueError("no safetensors")
    return shapes


def _linear(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight")
        and len(shape) == 2
        and not any(part in name for part in _EMBEDDINGS)
    }
