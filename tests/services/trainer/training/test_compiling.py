"""Layers that are compiled: when, and to the same end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.fx.experimental._config
from datasets import Dataset
from transformers import AutoTokenizer

from services.common.contracts.hyperparameters import DpoHyperparameters, SupervisedHyperparameters
from services.trainer.hyperparameters import resolve
from services.trainer.running.launch import tail
from services.trainer.training import compiling
from services.trainer.training.compiling import compile_layers, is_worth_it
from services.trainer.training.config import Result, RunFolder
from services.trainer.training.data import IGNORED
from services.trainer.training.progress import Lines, Message
from services.trainer.training.sft import make_trainer
from tests.services.trainer.training.conftest import (
    NewRun,
    finish,
    start,
    steps,
    train,
    wait_for_step,
)
from tests.services.trainer.training.tuned import tuned

RUN: dict[str, Any] = {
    "examples": 45,  # a last example alone
    "valid": 4,
    "n_epochs": 2,
    "batch_size": 4,
    "lora": {"r": 4, "lora_dropout": 0.2},
}


class Base:
    """A model of ``weights`` besides its vocabulary's."""

    def __init__(self, weights: float) -> None:
        self._weights = weights

    def num_parameters(self) -> int:
        return int(self._weights) + 1_000

    def get_input_embeddings(self) -> Any:
        class Embeddings:
            class weight:  # noqa: N801, as torch spells it
                numel = staticmethod(lambda: 1_000)

        return Embeddings


@pytest.mark.parametrize(
    ("asked", "on_gpu", "worth"),
    [
        ({}, False, True),
        ({"n_epochs": 1}, False, False),
        ({"n_epochs": 1, "torch_compile": True}, False, True),
        ({"torch_compile": False}, False, False),
        ({"quantization": "4bit"}, False, False),
        ({}, True, False),
        ({"torch_compile": True}, True, True),
    ],
)
def test_long_runs_on_a_cpu_are_compiled_and_what_is_asked_for(
    asked: dict[str, Any], on_gpu: bool, worth: bool
) -> None:
    """3,000 tokens of 8 GFLOP each are 24 TFLOP: an epoch of them is short, two are long."""
    hyperparameters = resolve(SupervisedHyperparameters.model_validate({"n_epochs": 2} | asked), 9)
    lengths = [600] * 5
    found = is_worth_it(hyperparameters, Base(2e9), lengths, on_gpu=on_gpu)  # type: ignore[arg-type]
    assert found is worth


def test_preferences_are_not_compiled() -> None:
    asked = resolve(DpoHyperparameters(), 9)
    assert not is_worth_it(asked, Base(1e12), [10_000], on_gpu=False)  # type: ignore[arg-type]


def test_without_a_compiler_a_run_goes_on_and_says_so(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compiling.has_compiler()
    long = resolve(SupervisedHyperparameters(), 9)
    assert not is_worth_it(long, Base(1e12), [10_000], on_gpu=False)  # type: ignore[arg-type]
    folder = new_run(torch_compile=True, examples=8, n_epochs=1)
    assert train(folder) == 0, tail(folder.output)
    plan = folder.read_plan()
    assert plan is not None
    assert not plan.torch_compile
    (told,) = [line for line in Lines(folder.metrics).read() if isinstance(line, Message)]
    assert told.level == "warn"
    assert "no C++ compiler" in told.message


def test_what_cannot_be_compiled_is_computed_as_before(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    folder = new_run(torch_compile=True, examples=8, n_epochs=1)
    assert train(folder) == 0, tail(folder.output)
    assert Result.model_validate_json(folder.result.read_bytes()).compile_seconds > 0


@pytest.fixture
def compiles_here() -> Iterator[None]:
    """What compiling changes of torch, in this process, is as it was afterwards."""
    with (
        torch._dynamo.config.patch(suppress_errors=False),
        torch.fx.experimental._config.patch(use_duck_shape=True),
    ):
        yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiles_here")
def test_one_graph_serves_whatever_lengths_come(tiny_model: Path, tmp_path: Path) -> None:
    """The first micro-batch begins with its longest, and its halves are as long as each other."""
    batches = [[12, 9, 12, 9], [7, 8, 14, 13], [11, 11, 10, 8], [8, 9, 9, 10]]
    beginning = [11, 12, 13]
    rows = [
        {
            "input_ids": beginning + [100 + at] * (length - 3),
            "labels": [IGNORED] * (length - 2) + [100 + at] * 2,
        }
        for lengths in batches
        for at, length in enumerate(lengths)
    ]
    trainer = make_trainer(
        tuned(tiny_model),
        tokenizer=AutoTokenizer.from_pretrained(tiny_model),
        asked=SupervisedHyperparameters(),
        train=Dataset.from_list(rows),
        valid=None,
        arguments={"output_dir": str(tmp_path), "use_cpu": True, "bf16": False},
        callbacks=[],
    )
    compile_layers(trainer, 4)
    torch.compiler.set_stance("fail_on_recompile")
    for first in range(0, len(rows), 4):
        inputs = trainer.data_collator([trainer.train_dataset[first + at] for at in range(4)])
        trainer.compute_loss(trainer.model, inputs).backward()


def test_a_compiled_run_begins_like_another_and_goes_on_as_if_undisturbed(
    new_run: NewRun,
) -> None:
    plain = new_run("plain", torch_compile=False, **RUN)
    whole, broken = (new_run(name, torch_compile=True, **RUN) for name in ("whole", "broken"))
    for folder in (plain, whole):
        assert train(folder) == 0, tail(folder.output)
    told = Result.model_validate_json(whole.result.read_bytes())
    assert told.compile_seconds > 0
    plan = json.loads(whole.plan.read_text())
    assert plan["torch_compile"]
    assert "layers were compiled in" in whole.metrics.read_text()
    assert "layers were compiled in" not in plain.metrics.read_text()

    process = start(broken)
    wait_for_step(broken, process, 5)
    process.pause()
    assert finish(process) == 0, tail(broken.output)
    assert broken.paused.exists()
    assert train(broken) == 0, tail(broken.output)

    def losses(folder: RunFolder) -> list[tuple[Any, ...]]:
        named = ("train_loss", "train_mean_token_accuracy", "valid_loss", "grad_norm")
        return [tuple(getattr(line, name) for name in named) for line in steps(folder)]

    assert losses(broken) == losses(whole)
    adapters = [each.adapter / "adapter_model.safetensors" for each in (broken, whole)]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
    assert len(losses(whole)) == len(losses(plain)) == 24
    # Later ones differ: what dropout drops is drawn in another order. At first B is zero.
    assert losses(whole)[0][0] == pytest.approx(losses(plain)[0][0], abs=1e-5)
