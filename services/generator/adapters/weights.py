"""What an adapter's safetensors file would change, read from headers alone.

vLLM skips modules it does not know and serves the base model in their place, so every LoRA pair
must find its weight in the base model before the engine sees the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_safetensors_metadata, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from services.common.errors import Unavailable
from services.generator.adapters.refusal import AdapterCorrupt, AdapterIncompatible

Shape = tuple[int, ...]

WEIGHTS = "adapter_model.safetensors"
_LORA = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_SHOWN = 3


@dataclass(frozen=True)
class LoraPair:
    """Shapes of one module's matrices: A is [rank, in], B is [out, rank]."""

    a: Shape
    b: Shape

    @property
    def rank(self) -> int:
        return self.a[0]

    @property
    def changes(self) -> Shape:
        """Shape of the base weight it adds to: [out, in]."""
        return self.b[0], self.a[1]


def tensor_shapes(file: Path) -> dict[str, Shape]:
    """Names and shapes in a safetensors file; ``SafetensorError`` when it is cut or mangled."""
    with safe_open(file, framework="numpy") as tensors:
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118 - safe_open is no mapping


def lora_pairs(file: Path) -> dict[str, LoraPair]:
    """The LoRA pairs of an adapter by the base model's module names."""
    try:
        shapes = tensor_shapes(file)
    except SafetensorError as error:
        raise AdapterCorrupt(
            f"{file.name} is not a whole safetensors file ({error}). Export the adapter again."
        ) from error
    sides: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        found = _LORA.fullmatch(name)
        if found is None or len(shape) != 2:
            raise AdapterIncompatible(
                f"'{name}' is not half of a LoRA pair; only plain LoRA on linear layers is served. "
                "Train without modules_to_save, DoRA, biases or embeddings."
            )
        sides.setdefault(found["module"], {})[found["side"]] = shape
    pairs = {}
    for module, halves in sides.items():
        if halves.keys() != {"A", "B"} or halves["A"][0] != halves["B"][1]:
            raise AdapterCorrupt(f"The LoRA matrices of '{module}' do not belong together.")
        pairs[module] = LoraPair(halves["A"], halves["B"])
    if not pairs:
        raise AdapterCorrupt(f"{file.name} holds no LoRA matrices.")
    return pairs


def count_matched(pairs: Mapping[str, LoraPair], base: Mapping[str, Shape]) -> int:
    """Pairs that fit a weight of the base model; any that does not is a refusal."""
    unmatched = [m for m, pair in pairs.items() if base.get(f"{m}.weight") != pair.changes]
    if unmatched:
        shown = ", ".join(sorted(unmatched)[:_SHOWN])
        raise AdapterIncompatible(
            f"{len(unmatched)} of {len(pairs)} LoRA modules do not exist in the base model with "
            f"their shape: {shown}{', …' if len(unmatched) > _SHOWN else ''}. vLLM would serve the "
            "base model in their place. Train on the base model that is served here."
        )
    return len(pairs)


def check_rank(pairs: Mapping[str, LoraPair], limit: int, said: int | None = None) -> None:
    """``said``: the one rank that the configuration names; by it vLLM scales every module."""
    rank = max(pair.rank for pair in pairs.values())
    if said is not None and {pair.rank for pair in pairs.values()} != {said}:
        raise AdapterCorrupt(
            f"The adapter's configuration says r={said}, and its matrices are of rank {rank}: it "
            "would be served at another strength than it was trained with. Export it again."
        )
    if rank > limit:
        raise AdapterIncompatible(
            f"The adapter's rank is {rank}, the engine's limit {limit}. Train with r of at most "
            f"{limit}, or start vLLM with --max-lora-rank {rank} or more and set "
            "FINEPROOF_GENERATOR_MAX_LORA_RANK to the same."
        )


def check_targets(pairs: Mapping[str, LoraPair], allowed: tuple[str, ...] | None) -> None:
    """Every module must be one that vLLM was started for; it would leave others as they are."""
    if allowed is None:
        return
    foreign = sorted({module.rsplit(".", 1)[-1] for module in pairs} - set(allowed))
    if foreign:
        raise AdapterIncompatible(
            f"The adapter changes {', '.join(foreign[:_SHOWN])}, and vLLM was started for "
            f"{', '.join(allowed)} only. Train with these as target_modules, or start vLLM with "
            "more --lora-target-modules and set FINEPROOF_GENERATOR_LORA_TARGET_MODULES to the "
            "same."
        )


def base_shapes(model: str) -> dict[str, Shape]:
    """Names and shapes of the base model's weights; ``model`` is a folder or Hugging Face id."""
    try:
        if (folder := local_folder(model)) is not None:
            files = sorted(folder.glob("*.safetensors"))
            shapes = {name: s for file in files for name, s in tensor_shapes(file).items()}
        else:
            shapes = _hosted_shapes(model)
    except (OSError, ValueError, SafetensorError) as error:
        raise _unreadable(model, type(error).__name__) from error
    if not shapes:
        raise _unreadable(model, "no safetensors file")
    return shapes


def _hosted_shapes(model: str) -> dict[str, Shape]:
    try:
        hosted = get_safetensors_metadata(model)
    except Exception as error:  # an HTTP client of the hub's own choice has errors of its own
        raise _unreadable(model, type(error).__name__) from error
    return {
        name: tuple(tensor.shape)
        for file in hosted.files_metadata.values()
        for name, tensor in file.tensors.items()
    }


def local_folder(model: str) -> Path | None:
    """Where a model's weights are on this machine; ``model`` is a folder or Hugging Face id."""
    if (folder := Path(model)).is_dir():
        return folder
    try:
        return Path(
            snapshot_download(model, allow_patterns=["*.safetensors"], local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None


def _unreadable(model: str, reason: str) -> Unavailable:
    return Unavailable(
        f"The weights of the base model '{model}' cannot be read ({reason}), so no adapter can be "
        "checked against them; set FINEPROOF_GENERATOR_BASE_MODEL_PATH.",
        code="base_model_unreadable",
    )
