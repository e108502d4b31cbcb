"""Real LoRA adapters for a small model, made by PEFT in seconds.

An adapter here is not trained: its ``lora_B`` matrices are drawn from a seeded normal distribution,
small enough that the model still speaks and large enough that its log-probabilities move.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.common.contracts.trainer import Canary, CanarySequence
from services.common.prompts import render_messages

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CANARIES = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet around 1600."),
)


def make_adapters(
    base: Path, folders: Iterable[Path], *, rank: int = 8, std: float = 0.01, seed: int = 0
) -> None:
    """Write PEFT's two files and our ``canary.json`` into each folder; no two are the same."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    model = get_peft_model(plain, config)
    canaries = []
    for question, answer in CANARIES:
        messages = [*render_messages(question), {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with model.disable_adapter():
            canaries.append((ids, _logprobs(model, ids)))
    for folder in folders:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, std)
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        sequences = [
            CanarySequence(token_ids=ids, base=base_said, adapted=_logprobs(model, ids))
            for ids, base_said in canaries
        ]
        (folder / "canary.json").write_text(Canary(sequences=sequences).model_dump_json())


def _logprobs(model: PeftModel, ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    said: list[float] = logits.gather(1, torch.tensor(ids[1:]).unsqueeze(1)).squeeze(1).tolist()
    return said
