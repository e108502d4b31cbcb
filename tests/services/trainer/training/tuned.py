"""Models with a LoRA, batches for them, and what a loss gave its weights."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel

from services.trainer.training.data import IGNORED

LENGTHS = ((12, 5), (30, 22), (7, 6), (19, 1))
"""Tokens of each example, and where its answer starts."""


def examples(vocabulary: int) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for length, start in LENGTHS:
        ids = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
    return made


def batch(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, pad: int) -> torch.Tensor:
        return torch.tensor([row[name] + [pad] * (longest - len(row[name])) for row in rows])

    ids = padded("input_ids", 2)
    mask = torch.tensor(
        [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows]
    )
    return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", IGNORED)}


def tuned(base: Path | PreTrainedModel) -> Any:
    """A model, or a folder's, with a LoRA whose B is not zero: every weight has a gradient."""
    if isinstance(base, Path):
        base = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(5)
    model = get_peft_model(
        base,
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}
    model.zero_grad()
    return found


def assert_alike(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, rtol: float
) -> None:
    """The same weights have a gradient that is not zero, and the same one."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, rtol=rtol, atol=1e-5)
