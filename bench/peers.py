"""What a training job is measured against: ``python -m bench.peers {bare,trl} RUN-FOLDER OUT``.

Both read the run's folder of our own job and train on the same examples in the same batches, with
the same seed, LoRA, optimizer and learning rate. They differ in how:

``bare``  the loop one writes by hand around PEFT: ``model(**padded, labels=labels).loss``
``trl``   TRL's ``SFTTrainer`` at its defaults

Writes ``{"losses": [...], "seconds": s, "tokens": n, "peak_memory_bytes": b}``: seconds of training
alone, tokens without padding, resident memory.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from services.trainer.training.config import RunConfig, RunFolder
from services.trainer.training.data import IGNORED, Tokenized, load, stop_tokens, tokenize
from services.trainer.training.models import load_for_training
from services.trainer.training.ordering import EpochOrder

CLIP = 1.0
"""The norm to which ``transformers.Trainer`` clips gradients."""


def bare(
    model: PeftModel, batches: list[list[Tokenized]], config: RunConfig
) -> tuple[list[float], float]:
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.hyperparameters.learning_rate, weight_decay=0)
    losses = []
    started = time.monotonic()
    for batch in batches:
        features = [example.features() for example in batch]
        ids = [torch.tensor(feature["input_ids"]) for feature in features]
        labels = [torch.tensor(feature["labels"]) for feature in features]
        loss = model(
            input_ids=pad_sequence(ids, batch_first=True),
            attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
            labels=pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, time.monotonic() - started


class Clock(TrainerCallback):  # type: ignore[misc]
    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.monotonic()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.monotonic() - self.started


def trl(
    model: PeftModel, batches: list[list[Tokenized]], config: RunConfig, scratch: Path
) -> tuple[list[float], float]:
    examples = [example for batch in batches for example in batch]

    class InOrder(SFTTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(examples)

    clock = Clock()
    trainer = InOrder(
        model=model,
        args=SFTConfig(
            output_dir=str(scratch),
            seed=config.seed,
            use_cpu=True,
            bf16=False,  # as ours: losses are to be equal
            per_device_train_batch_size=config.hyperparameters.batch_size,
            num_train_epochs=1,
            learning_rate=config.hyperparameters.learning_rate,
            lr_scheduler_type="constant",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([example.features() for example in examples]),
        processing_class=AutoTokenizer.from_pretrained(config.base_model_path),
        callbacks=[clock],
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], clock.seconds


def main() -> None:
    kind, place, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    folder = RunFolder(place)
    config = folder.read_config()
    set_seed(config.seed)
    tokenizer = AutoTokenizer.from_pretrained(config.base_model_path)
    model = load_for_training(config)
    stops = stop_tokens(tokenizer, model)
    examples = [
        tokenize(tokenizer, row["prompt"], row["completion"], stops) for row in load(folder.train)
    ]
    lengths = [len(example.token_ids) for example in examples]
    size = int(config.hyperparameters.batch_size)
    order = list(EpochOrder(lengths, size, seed=config.seed, epoch=lambda: 0))
    batches = [[examples[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    if kind == "bare":
        losses, seconds = bare(model, batches, config)
    else:
        losses, seconds = trl(model, batches, config, out.parent)
    result = {
        "losses": losses,
        "seconds": seconds,
        "tokens": sum(lengths),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
