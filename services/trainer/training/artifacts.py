"""What a run leaves behind: adapters as PEFT saves them, with canary and model card."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from services.trainer.training.canary import make_canary

WEIGHTS = "adapter_model.safetensors"


class NothingLearnt(Exception):
    """Training ended with an adapter that changes nothing, or is not finite."""


def finish_adapter(
    source: Path,
    folder: Path,
    base: PreTrainedModel,
    *,
    base_model: str,
    canaries: list[list[int]],
    card: Callable[[str], str],
) -> str:
    """Make ``folder`` of the adapter that lies in ``source``, and give its weights' SHA-256.

    The weights become float32. The canary is computed from the finished files on ``base``, the
    model as it is served: quantization while training is no part of what is proven. ``base_model``
    is the name callers know; the path of this machine stays out of the files. ``card`` makes the
    README from the hash. Raises ``NothingLearnt``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = {name: tensor.float() for name, tensor in load_file(source / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    check(folder / WEIGHTS)
    told = json.loads((source / "adapter_config.json").read_text())
    told["base_model_name_or_path"] = base_model
    if isinstance(told["target_modules"], list):  # PEFT writes a set as it comes
        told["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    model = PeftModel.from_pretrained(base, folder)
    canary = make_canary(model, canaries)
    model.unload()
    (folder / "canary.json").write_text(canary.model_dump_json() + "\n")
    with (folder / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / "README.md").write_text(card(sha256))
    return sha256


def check(path: Path) -> None:
    """Raises ``NothingLearnt`` when a weight is not finite, or every ``lora_B`` is zero."""
    moved = False
    with safe_open(path, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - safe_open is not a dict
            tensor = weights.get_tensor(name)
            if not torch.isfinite(tensor).all():
                raise NothingLearnt("Training diverged: the adapter's weights are not finite.")
            moved = moved or ("lora_B" in name and bool(tensor.any()))
    if not moved:
        raise NothingLearnt("Training changed nothing: every lora_B is zero.")
