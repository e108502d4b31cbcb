import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from services.common.contracts.trainer import Canary
from services.trainer.training.artifacts import NothingLearnt, save_adapter
from services.trainer.training.canary import MAX_TOKENS, sequences
from services.trainer.training.data import Tokenized

CANARIES = [[5, 6, 7, 8, 9, 10], [40, 30, 20, 10]]


def adapted(folder: Path, fill: float | None) -> Any:
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, lora)
    for name, weight in model.named_parameters():
        if "lora_B" in name and fill is not None:
            torch.nn.init.normal_(weight, std=fill)
    return model


def test_the_canary_is_what_the_saved_files_say_when_loaded_again(
    tiny_model: Path, tmp_path: Path
) -> None:
    save_adapter(adapted(tiny_model, 0.1), tmp_path, base_model="base", canaries=CANARIES)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4
    canary = Canary.model_validate_json((tmp_path / "canary.json").read_bytes())
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path).eval()
    for sequence, token_ids in zip(canary.sequences, CANARIES, strict=True):
        assert sequence.token_ids == token_ids
        ids = torch.tensor([token_ids])
        for expected, context in ((sequence.adapted, None), (sequence.base, "disabled")):
            with torch.no_grad():
                if context:
                    with loaded.disable_adapter():
                        logits = loaded(input_ids=ids).logits
                else:
                    logits = loaded(input_ids=ids).logits
            found = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            assert expected == pytest.approx(found.tolist(), abs=1e-5)
        assert sequence.base != pytest.approx(sequence.adapted, abs=1e-3)


def test_an_adapter_that_changes_nothing_is_not_saved_as_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(NothingLearnt, match="lora_B"):
        save_adapter(adapted(tiny_model, None), tmp_path, base_model="b", canaries=CANARIES)


def test_an_adapter_that_is_not_finite_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingLearnt, match="not finite"):
        save_adapter(adapted(tiny_model, float("inf")), tmp_path, base_model="b", canaries=[])


def test_a_long_canary_keeps_its_answer() -> None:
    [kept, short] = sequences([Tokenized(list(range(1000)), 990)], [Tokenized([1, 2], 1)])
    assert kept == list(range(1000 - MAX_TOKENS, 1000))
    assert short == [1, 2]
