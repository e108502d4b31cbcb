"""One row for a micro-batch: the same losses and gradients as padded rows, for less."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from services.trainer.training.data import IGNORED
from services.trainer.training.loss import project_answers_only
from services.trainer.training.sharing import Sharing, one_row, rows_are_equal, shared_length
from tests.services.trainer.training.tuned import assert_alike, batch, gradients, tuned

Rows = list[dict[str, list[int]]]


def rows(beginning: list[int], *own: tuple[list[int], int]) -> Rows:
    """Examples that begin alike; each with its own tokens, the last so many of them labelled."""
    made = []
    for tokens, labelled in own:
        ids = beginning + tokens
        made.append(
            {"input_ids": ids, "labels": [IGNORED] * (len(ids) - labelled) + ids[-labelled:]}
        )
    return made


ALIKE = rows(
    [11, 12, 13, 14, 15], ([21, 22, 23], 2), ([31, 32, 33, 34, 35, 36], 1), ([41, 42, 43, 44], 3)
)


def loss_of(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    outputs = model(**inputs, answers_only=True)
    return outputs["loss_sum"] / outputs["labelled"]


@pytest.mark.parametrize("shares", [True, False])
def test_one_row_has_the_padded_batch_s_loss_and_gradients(tiny_model: Path, shares: bool) -> None:
    model = tuned(tiny_model)
    project_answers_only(model.get_base_model())
    padded = batch(ALIKE)
    loss = loss_of(model, padded)
    loss.backward()
    expected = gradients(model)
    row = one_row(padded, shares=shares)
    assert row["input_ids"].shape == (1, 18 if shares else 28)
    packed = loss_of(model, row)
    packed.backward()
    found = gradients(model)
    assert packed.item() == pytest.approx(loss.item(), abs=1e-5)
    assert_alike(found, expected, rtol=1e-3)


def test_no_example_sees_another(tiny_model: Path) -> None:
    model = tuned(tiny_model).eval()
    one = one_row(batch(ALIKE), shares=True)
    changed = [dict(example) for example in ALIKE]
    changed[0] = {**changed[0], "input_ids": [11, 12, 13, 14, 15, 91, 92, 93]}
    other = one_row(batch(changed), shares=True)
    names = ("input_ids", "position_ids", "attention_mask")
    with torch.no_grad():
        first, second = (model(**{n: row[n] for n in names}).logits[0] for row in (one, other))
    torch.testing.assert_close(first[8:], second[8:])  # the second example's own, and the third's
    assert not torch.allclose(first[5:8], second[5:8])


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (ALIKE, 5),
        (rows([1, 2, 3], ([4, 5], 2), ([6, 7, 8], 1)), 2),  # a label right after: one less
        (rows([], ([1, 2], 1), ([3, 4], 1)), 0),
        (rows([1, 2, 3], ([4], 1), ([4], 1)), 2),  # the same example twice
        (rows([5], ([6, 7], 3), ([8, 9], 1)), 0),  # labelled from its first token
    ],
)
def test_what_is_shared_ends_before_any_label(examples: Rows, expected: int) -> None:
    padded = batch(examples)
    shortest = min(len(example["input_ids"]) for example in examples)
    assert shared_length(padded["input_ids"], padded["labels"], shortest) == expected


def test_the_cheaper_form_is_taken(tiny_model: Path) -> None:
    sharing = Sharing.of(tuned(tiny_model))
    assert sharing is not None
    assert sharing.lay_out(batch(ALIKE))["input_ids"].shape == (1, 18)
    unlike = rows([], *([([n] * 40, 1) for n in range(3, 11)]))
    padded = sharing.lay_out(batch(unlike))
    assert padded["input_ids"].shape == (8, 40)
    assert "attention_mask" not in padded


def test_flops_are_those_of_the_formula(tiny_model: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    layers = sum(w.numel() for name, w in base.named_parameters() if "layers" in name)
    sharing = Sharing.of(tuned(tiny_model))
    assert sharing is not None
    assert sharing.weights >= layers
    attention = 4 * 2 * 64 * 10
    assert sharing.flops(2, 10, pairs=1) == 2 * 10 * (2 * sharing.weights + attention)
    assert sharing.flops(2, 10, pairs=0.5) == 2 * 10 * (2 * sharing.weights + attention / 2)


def test_with_dropout_nothing_is_shared(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    model.peft_config["default"].lora_dropout = 0.1
    sharing = Sharing.of(model)
    assert sharing is not None
    assert not sharing.shares


def test_a_model_whose_positions_are_not_told_keeps_padded_rows() -> None:
    """ALiBi takes distances from the mask, and no position ids."""
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4)
    assert not rows_are_equal(BloomForCausalLM(config))


def test_sliding_attention_is_kept_within_its_window() -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )
    sharing = Sharing.of(tuned(MistralForCausalLM(config)))
    assert sharing is not None
    assert sharing.window == 16
    short, long = (rows(list(range(3, 3 + n)), ([41, 42], 1), ([51, 52], 1)) for n in (12, 15))
    assert sharing.lay_out(batch(short))["input_ids"].shape[0] == 1
    assert sharing.lay_out(batch(long))["input_ids"].shape[0] == 2
