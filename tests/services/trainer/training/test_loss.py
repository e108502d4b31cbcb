"""The shorter way to the loss, held against the model's own."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)
from trl import SFTConfig, SFTTrainer

from services.trainer.training.data import IGNORED
from services.trainer.training.loss import (
    AnswerTrainer,
    head_is_plain,
    last_mlp,
    project_answers_only,
)
from services.trainer.training.merging import Merged
from tests.services.trainer.training.test_products import on_cpu_of
from tests.services.trainer.training.tuned import (
    LENGTHS,
    assert_alike,
    batch,
    examples,
    gradients,
    tuned,
)


def test_projecting_answers_only_gives_the_model_s_own_loss_and_gradients(
    tiny_model: Path,
) -> None:
    model = tuned(tiny_model)
    inputs = batch(examples(model.config.vocab_size))
    loss = model(**inputs).loss
    loss.backward()
    expected = gradients(model)

    assert head_is_plain(model.get_base_model())
    project_answers_only(model.get_base_model())
    outputs = model(**inputs, answers_only=True)
    short = outputs["loss_sum"] / outputs["labelled"]
    short.backward()
    found = gradients(model)

    assert int(outputs["labelled"]) == sum(length - start for length, start in LENGTHS)
    assert short.item() == pytest.approx(loss.item(), abs=1e-5)
    assert_alike(found, expected, rtol=1e-5)


def test_a_micro_batch_without_labels_adds_nothing(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    project_answers_only(model.get_base_model())
    inputs = batch(examples(model.config.vocab_size))
    inputs["labels"] = torch.full_like(inputs["labels"], IGNORED)
    outputs = model(**inputs, answers_only=True)
    outputs["loss_sum"].backward()
    assert outputs["loss_sum"].item() == 0
    assert all(not gradient.any() for gradient in gradients(model).values())


def test_scaled_logits_are_noticed_by_trying() -> None:
    config = GraniteConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=4.0,
    )
    assert not head_is_plain(GraniteForCausalLM(config).float())


def test_a_last_mlp_at_some_places_gives_zeros_elsewhere(tiny_model: Path) -> None:
    base = tuned(tiny_model).get_base_model().eval()
    mlp = base.get_decoder().layers[-1].mlp
    hidden = torch.randn(2, 5, base.config.hidden_size)
    places = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 0, 1]], dtype=torch.bool)
    with torch.no_grad():
        expected = mlp(hidden)
        last = last_mlp(base)
        assert last is not None
        with last.at(places):
            found = mlp(hidden)
        torch.testing.assert_close(found[places], expected[places])
        assert not found[~places].any()
        torch.testing.assert_close(mlp(hidden), expected)


def test_an_mlp_that_gives_more_than_states_is_computed_whole() -> None:
    """A mixture of experts gives how it chose them, too."""
    config = GptOssConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    model = GptOssForCausalLM(config)
    assert last_mlp(model) is None
    model(input_ids=torch.arange(9)[None])


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
@pytest.mark.parametrize(("accumulation", "merged"), [(1, False), (2, False), (1, True), (2, True)])
def test_a_whole_run_takes_the_steps_that_trl_takes(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accumulation: int,
    merged: bool,
    vendor: str,
) -> None:
    """Same data, seed and batches: the same losses at every step, to five digits."""
    on_cpu_of(vendor, tmp_path, monkeypatch)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    losses = {}
    for kind in (SFTTrainer, AnswerTrainer):
        trainer = kind(
            model=tuned(tiny_model),
            args=SFTConfig(
                output_dir=str(tmp_path / kind.__name__),
                use_cpu=True,
                bf16=False,
                per_device_train_batch_size=4 // accumulation,
                gradient_accumulation_steps=accumulation,
                num_train_epochs=4,
                learning_rate=1e-2,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=11,
            ),
            train_dataset=Dataset.from_list(examples(len(tokenizer))),
            processing_class=tokenizer,
        )
        if merged and kind is AnswerTrainer:
            trainer.add_callback(Merged.of(trainer.model))
        trainer.train()
        losses[kind] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses[AnswerTrainer]) == 4
    assert losses[AnswerTrainer] == pytest.approx(losses[SFTTrainer], abs=1e-4)
    assert losses[AnswerTrainer][0] != pytest.approx(losses[AnswerTrainer][-1], abs=0.05)
