"""One row for a micro-batch: the same losses and gradients as padded rows, for less."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from services.trainer.training.data import IGNORED
from services.trainer.training.loss import project_answers_only
from services.trainer.training.sharing import Sharing, one_row, shared_length, takes_rows
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
    assert takes_rows(model.get_base_model())
    row = one_row(padded, shares=shares)
    assert row["input_ids"].shape == (1, 18 if shares else 28)
    packed = loss_of(model, row)
    packed.backward()
    found = gradients(model)
    assert packed.item() == pytest.approx(loss.item(), abs=1e-5)
    assert_alike(found, expected, rtol=1e-3)


def test_a_row_says_where_its_tokens_stand() -> None:
    row = one_row(batch(rows([1, 2, 3], ([4, 5], 1), ([6], 1), ([7, 8, 9], 1))), shares=True)
    layout = row["layout"]
    assert row["input_ids"].tolist() == [[1, 2, 3, 4, 5, 3, 6, 3, 7, 8, 9]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 5]]
    (tokens,) = row["input_ids"]
    first, second = (tokens[part].tolist() for part in layout.spread)
    assert first == [[1, 2, 3, 4, 5], [1, 2, 3, 6, 1]]  # padded with any
    assert second == [[1, 2, 3, 7, 8, 9]]
    places = torch.cat([part.flatten() for part in layout.spread])
    assert torch.equal(tokens[places[layout.collect]], tokens)
    # Each keeps a token of its own before its first label.
    assert tokens[places[layout.copies]].tolist() == [[1, 2], [1, 2]]
    assert layout.own.sum() == len(tokens)


def test_no_example_sees_another(tiny_model: Path) -> None:
    model = tuned(tiny_model).eval()
    assert takes_rows(model.get_base_model())
    one = one_row(batch(ALIKE), shares=True)
    changed = [dict(example) for example in ALIKE]
    changed[0] = {**changed[0], "input_ids": [11, 12, 13, 14, 15, 91, 92, 93]}
    other = one_row(batch(changed), shares=True)
    for row in (one, other):
        del row["labels"]
    with torch.no_grad():
        first, second = (model(**row).logits[0] for row in (one, other))
    torch.testing.assert_close(first[8:], second[8:])  # the second example's own, and the third's
    assert not torch.allclose(first[5:8], second[5:8])


def test_what_comes_without_a_layout_is_attended_to_as_ever(tiny_model: Path) -> None:
    """Padded on the left, and rows whose positions begin anew: ``transformers`` makes the masks."""
    model = tuned(tiny_model).eval()
    ids = torch.arange(3, 15)[None]
    left = torch.tensor([[0, 0, 0, *[1] * 9]])
    packed = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]])
    asked = ({"attention_mask": left}, {"position_ids": packed})
    with torch.no_grad():
        expected = [model(input_ids=ids, **each).logits[:, 3:] for each in asked]
        assert takes_rows(model.get_base_model())
        found = [model(input_ids=ids, **each).logits[:, 3:] for each in asked]
    assert not torch.allclose(*expected)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted)


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
    model = BloomForCausalLM(config)
    usual = model.config._attn_implementation
    assert not takes_rows(model)
    assert model.config._attn_implementation == usual


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
