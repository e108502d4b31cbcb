import hashlib
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from services.common.contracts.trainer import Canary
from services.trainer.training.artifacts import NothingLearnt, finish_adapter
from services.trainer.training.canary import MAX_TOKENS, sequences
from services.trainer.training.config import ADAPTER_FILES
from services.trainer.training.data import Tokenized

CANARIES = [[5, 6, 7, 8, 9, 10], [40, 30, 20, 10]]


def saved(model: Path, folder: Path, fill: float | None) -> Path:
    """A LoRA on ``model`` as PEFT writes it; ``fill`` is the spread of its B."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(base, lora)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name and fill is not None:
            torch.nn.init.normal_(weight, std=fill)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def finish(model: Path, source: Path, folder: Path) -> str:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return finish_adapter(
        source, folder, base, base_model="base", canaries=CANARIES, card="# {}\n".format
    )


def test_the_canary_is_what_the_saved_files_say_when_loaded_again(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    finish(tiny_model, saved(tiny_model, tmp_path / "raw", 0.1), folder)
    canary = Canary.model_validate_json((folder / "canary.json").read_bytes())
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, folder).eval()
    for sequence, token_ids in zip(canary.sequences, CANARIES, strict=True):
        assert sequence.token_ids == token_ids
        ids = torch.tensor([token_ids])
        for expected, context in (
            (sequence.adapted, nullcontext()),
            (sequence.base, loaded.disable_adapter()),
        ):
            with torch.no_grad(), context:
                logits = loaded(input_ids=ids).logits
            found = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            # Of about 11 nats float32 keeps 1e-6; what serves an adapter is asked for far less.
            assert expected == pytest.approx(found.tolist(), abs=1e-4)
        assert sequence.base != pytest.approx(sequence.adapted, abs=1e-2)


def test_an_adapter_s_files_name_the_base_as_callers_do_and_carry_their_hash(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    sha256 = finish(tiny_model, saved(tiny_model, tmp_path / "raw", 0.1), folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(ADAPTER_FILES)
    told = json.loads((folder / "adapter_config.json").read_text())
    assert (told["r"], told["base_model_name_or_path"]) == (4, "base")
    weights = folder / "adapter_model.safetensors"
    assert sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (folder / "README.md").read_text() == f"# {sha256}\n"
    assert not any(str(tiny_model) in path.read_text() for path in folder.glob("*.[jm]*"))


def test_an_adapter_that_changes_nothing_is_not_kept_as_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(NothingLearnt, match="lora_B"):
        finish(tiny_model, saved(tiny_model, tmp_path / "raw", None), tmp_path / "adapter")


def test_an_adapter_that_is_not_finite_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingLearnt, match="not finite"):
        finish(tiny_model, saved(tiny_model, tmp_path / "raw", float("inf")), tmp_path / "adapter")


def test_a_long_canary_keeps_its_answer() -> None:
    [kept, short] = sequences([Tokenized(list(range(1000)), 990)], [Tokenized([1, 2], 1)])
    assert kept == list(range(1000 - MAX_TOKENS, 1000))
    assert short == [1, 2]
