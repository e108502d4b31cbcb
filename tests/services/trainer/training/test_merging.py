"""Merged weights: the function and gradients of PEFT's sum, from the first step to the last."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from services.trainer.running.launch import tail
from services.trainer.training.merging import Merged
from tests.services.trainer.training.conftest import (
    NewRun,
    finish,
    rendered,
    start,
    steps,
    train,
    wait_for_step,
)
from tests.services.trainer.training.tuned import (
    assert_alike,
    batch,
    examples,
    gradients,
    tuned,
)


def weights(model: Any) -> list[torch.Tensor]:
    return [
        module.base_layer.weight.data for module in model.modules() if hasattr(module, "base_layer")
    ]


def test_merged_layers_give_peft_s_losses_and_gradients(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    inputs = batch(examples(model.config.vocab_size))
    loss = model(**inputs).loss
    loss.backward()
    expected = gradients(model)
    assert Merged.of(model) is not None
    merged = model(**inputs).loss
    merged.backward()
    assert merged.item() == pytest.approx(loss.item(), abs=1e-5)
    assert_alike(gradients(model), expected, rtol=1e-3)


def test_what_an_optimizer_changed_is_merged_without_a_trace_of_what_was(tiny_model: Path) -> None:
    """Also by a fused one, which leaves torch's count of a tensor's changes as it was."""
    model = tuned(tiny_model)
    own = [weight.clone() for weight in weights(model)]
    merged = Merged.of(model)
    assert merged is not None
    assert not any(map(torch.equal, weights(model), own))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, fused=True)
    inputs = batch(examples(model.config.vocab_size))
    model(**inputs).loss.backward()
    optimizer.step()
    before = [weight.clone() for weight in weights(model)]
    merged.on_optimizer_step()
    assert not any(map(torch.equal, weights(model), before))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.zero_()
    merged.on_train_begin()
    assert all(map(torch.equal, weights(model), own))


@pytest.mark.parametrize("published", [torch.bfloat16, torch.float32])
def test_own_weights_are_kept_to_the_last_bit(tiny_model: Path, published: torch.dtype) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=published).float()
    model = tuned(base)
    own = [weight.clone() for weight in weights(model)]
    merged = Merged.of(model)
    assert merged is not None
    kept = [weight for _, weight in merged._layers]
    assert {weight.dtype for weight in kept} == {published}
    assert all(torch.equal(found.float(), wanted) for found, wanted in zip(kept, own, strict=True))


@pytest.mark.parametrize("other", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_other_adapters_are_left_as_they_are(tiny_model: Path, other: dict[str, Any]) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    plain: dict[str, Any] = {"r": 4, "target_modules": ["o_proj"], "task_type": "CAUSAL_LM"}
    if "lora_bias" in other:
        o_proj = base.get_decoder().layers[0].self_attn.o_proj
        for layer in base.get_decoder().layers:
            layer.self_attn.o_proj.bias = torch.nn.Parameter(torch.zeros(o_proj.out_features))
    assert Merged.of(get_peft_model(base, LoraConfig(**plain | other))) is None


def test_weights_of_fewer_bits_are_left_as_they_are(tiny_model: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    assert Merged.of(tuned(base)) is None


def test_a_head_that_shares_the_vocabulary_s_weights_is_not_merged_into_them() -> None:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    asked = LoraConfig(r=4, target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(config), asked)
    embedded = model.get_base_model().get_input_embeddings().weight.clone()
    assert Merged.of(model) is None
    assert torch.equal(model.get_base_model().get_input_embeddings().weight, embedded)


def test_a_merged_run_goes_on_as_if_undisturbed(new_run: NewRun) -> None:
    """Paused and resumed: the same losses, validation losses and adapter to the last bit."""
    rows = rendered(40, more=" Think again." * 80)
    asked: dict[str, Any] = {"rows": rows, "valid": 4, "n_epochs": 2, "batch_size": 8}
    whole, broken = (new_run(name, **asked) for name in ("whole", "broken"))
    assert train(whole) == 0, tail(whole.output)
    plan = whole.read_plan()
    assert plan is not None
    assert plan.merged

    process = start(broken)
    wait_for_step(broken, process, 3)
    process.pause()
    assert finish(process) == 0, tail(broken.output)
    assert broken.paused.exists()
    assert train(broken) == 0, tail(broken.output)

    named = ("train_loss", "valid_loss", "grad_norm")
    told = [[tuple(getattr(line, n) for n in named) for line in steps(f)] for f in (whole, broken)]
    assert told[0] == told[1]
    assert len(told[0]) == 10
    adapters = [each.adapter / "adapter_model.safetensors" for each in (whole, broken)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
