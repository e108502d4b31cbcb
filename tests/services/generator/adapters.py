"""Real LoRA adapters for the small model, made by PEFT in seconds, and ways to spoil them.

An adapter here is not trained: its ``lora_B`` matrices are drawn from a seeded normal distribution,
small enough that the model still speaks and large enough that its log-probabilities move.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.common.contracts.trainer import Canary, CanarySequence
from services.common.prompts import render_messages

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CANARIES = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet around 1600."),
)


def make_adapter(base: Path, folder: Path, *, rank: int = 8, std: float = 0.01) -> None:
    """Write PEFT's two files and our ``canary.json`` into ``folder``."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    model = get_peft_model(plain, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, std)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    sequences = []
    for question, answer in CANARIES:
        messages = [*render_messages(question), {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with model.disable_adapter():
            before = _logprobs(model, ids)
        sequences.append(CanarySequence(token_ids=ids, base=before, adapted=_logprobs(model, ids)))
    (folder / "canary.json").write_text(Canary(sequences=sequences).model_dump_json())


def _logprobs(model: PeftModel, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logits.gather(1, torch.tensor(ids[1:]).unsqueeze(1)).squeeze(1).tolist()


def zero_effect(folder: Path) -> None:
    """Every ``lora_B`` is zero, as at the start of training."""
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
