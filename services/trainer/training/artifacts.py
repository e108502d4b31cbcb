"""What a run leaves behind: the adapter as PEFT saves it, and its canary."""

import json
import shutil
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open

from services.trainer.training.canary import make_canary


class NothingLearnt(Exception):
    """Training ended with an adapter that changes nothing, or is not finite."""


def save_adapter(
    model: PeftModel, folder: Path, *, base_model: str, canaries: list[list[int]]
) -> None:
    """Write the adapter in float32 safetensors, and the canary computed with those weights.

    ``base_model`` is the name callers know; the path of this machine stays out of the file.
    Raises ``NothingLearnt``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    model.float()
    # "auto" would ask the Hugging Face hub whether the base model's vocabulary was changed.
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    told = json.loads(path.read_text()) | {"base_model_name_or_path": base_model}
    path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    check(folder / "adapter_model.safetensors")
    (folder / "canary.json").write_text(make_canary(model, canaries).model_dump_json() + "\n")


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
