"""Supervised fine-tuning: ``accelerate launch --module services.trainer.training.sft FOLDER``.

Reads a run's folder (see ``config``), trains a LoRA with TRL and PEFT, leaves the adapter in it.
"""

import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TrainerCallback,
    set_seed,
)
from trl import SFTConfig

from services.trainer.tether import die_with_launcher
from services.trainer.training import canary
from services.trainer.training.artifacts import NothingLearnt, save_adapter
from services.trainer.training.config import Failure, Result, RunConfig, RunFolder, write_whole
from services.trainer.training.data import (
    NoExamples,
    Tokenized,
    fitting,
    load,
    micro_batch,
    stop_tokens,
    tokenize,
)
from services.trainer.training.loss import AnswerTrainer
from services.trainer.training.progress import Message, Pace, Reporter, StepMetrics

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
CHECKPOINTS_A_RUN = 10
MOST_LINES = 1_000
COMPLETE = "complete"
"""A file in a checkpoint's folder, written last: without it the folder was being written."""


class Diverged(Exception):
    """The loss is no number any more."""


def main() -> int:
    die_with_launcher()
    folder = RunFolder(Path(sys.argv[1]))
    try:
        run(folder)
    except Exception as error:
        if RANK == 0 and (failure := explain(error)) is not None:
            write_whole(folder.failure, failure.model_dump_json())
        raise
    return 0


def run(folder: RunFolder) -> None:
    config = folder.read_config()
    started = time.monotonic()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // WORLD))
    set_seed(config.seed)
    reporter = Reporter(folder.metrics, active=RANK == 0)

    tokenizer = AutoTokenizer.from_pretrained(config.base_model_path)
    model = load_model(config)
    train = tokenized(folder.train, tokenizer, model, config, reporter)
    valid = (
        tokenized(folder.valid, tokenizer, model, config, reporter)
        if folder.valid.exists()
        else None
    )
    trainer = AnswerTrainer(
        model=model,
        args=arguments(folder, config, train, evaluates=valid is not None),
        train_dataset=Dataset.from_list([example.features() for example in train]),
        eval_dataset=valid and Dataset.from_list([example.features() for example in valid]),
        processing_class=tokenizer,
        callbacks=[Reporting(reporter)],
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(folder.checkpoints))

    if trainer.is_world_process_zero():
        stops = stop_tokens(tokenizer, model)
        general = [
            tokenize(tokenizer, messages, answer, stops)
            for messages, answer in canary.general_examples()
        ]
        save_adapter(
            trainer.accelerator.unwrap_model(trainer.model),
            folder.adapter,
            base_model=config.base_model,
            canaries=canary.sequences(train, general),
        )
        result = Result(
            step=trainer.state.global_step,
            trained_tokens=int(trainer.state.num_input_tokens_seen),
            metrics=summary(trainer.state.log_history),
            seconds=round(time.monotonic() - started, 1),
        )
        write_whole(folder.result, result.model_dump_json())


def load_model(config: RunConfig) -> PeftModel:
    """The base model with a fresh LoRA: float32 on a CPU, where bfloat16 is emulated."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    base = AutoModelForCausalLM.from_pretrained(config.base_model_path, dtype=dtype)
    lora = config.hyperparameters.lora
    return get_peft_model(
        base,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            lora_dropout=lora.lora_dropout,
            target_modules=lora.target_modules,
            use_rslora=lora.use_rslora,
        ),
    )


def tokenized(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    model: PeftModel,
    config: RunConfig,
    reporter: Reporter,
) -> list[Tokenized]:
    stops = stop_tokens(tokenizer, model)
    rows = load(path)
    examples = [tokenize(tokenizer, row["prompt"], row["completion"], stops) for row in rows]
    max_length = config.hyperparameters.max_length
    kept = fitting(examples, max_length)
    if len(kept) < len(examples):
        reporter.write(
            Message(
                level="warn",
                message=f"{len(examples) - len(kept)} of {len(examples)} examples are longer than "
                f"max_length, {max_length} tokens, and are left out.",
            )
        )
    return kept


def arguments(
    folder: RunFolder, config: RunConfig, train: list[Tokenized], *, evaluates: bool
) -> SFTConfig:
    asked = config.hyperparameters
    on_gpu = torch.cuda.is_available()
    share = max(1, int(asked.batch_size) // WORLD)
    micro = micro_batch(
        share,
        longest=max(len(example.token_ids) for example in train),
        tokens=config.micro_batch_tokens or (16_384 if on_gpu else 2_048),
    )
    steps = math.ceil(len(train) / (share * WORLD)) * int(asked.n_epochs)
    return SFTConfig(
        output_dir=str(folder.checkpoints),
        seed=config.seed,
        use_cpu=not on_gpu,
        bf16=on_gpu,
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=share // micro,
        gradient_checkpointing=False,
        num_train_epochs=asked.n_epochs,
        learning_rate=asked.learning_rate,
        lr_scheduler_type=asked.lr_scheduler_type,
        warmup_steps=asked.warmup_ratio,  # below 1 it is a share of all steps
        train_sampling_strategy="group_by_length",
        max_length=None,  # what is too long was left out
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_num_workers=0,
        dataloader_pin_memory=on_gpu,
        include_num_input_tokens_seen="non_padding",
        eval_strategy="epoch" if evaluates else "no",
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=max(1, math.ceil(steps / CHECKPOINTS_A_RUN)),
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, steps // MOST_LINES),
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )


class Reporting(TrainerCallback):  # type: ignore[misc]
    """Tells the worker every step, and marks checkpoints that are complete."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._pace = Pace()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._pace.start(state.global_step)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        logs = logs or {}
        if not any(name in logs for name in ("loss", "eval_loss")):
            return
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise Diverged(f"Training diverged at step {state.global_step}: the loss is {loss}.")
        norm = logs.get("grad_norm")
        self._reporter.write(
            StepMetrics(
                step=state.global_step,
                total_steps=state.max_steps,
                seconds_left=self._pace.seconds_left(state.global_step, state.max_steps),
                epoch=logs.get("epoch"),
                train_loss=loss,
                train_mean_token_accuracy=logs.get("mean_token_accuracy"),
                valid_loss=logs.get("eval_loss"),
                learning_rate=logs.get("learning_rate"),
                grad_norm=norm if norm is None or math.isfinite(norm) else None,
                trained_tokens=int(state.num_input_tokens_seen),
            )
        )

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint. One cut off in the writing is removed."""
    steps = {}
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            steps[int(path.name.rpartition("-")[2])] = path
        elif RANK == 0:
            shutil.rmtree(path)
    return str(steps[max(steps)]) if steps else None


def summary(history: list[dict[str, float]]) -> dict[str, float]:
    """Last values of what was logged, and the mean loss over all steps."""
    losses = [entry["loss"] for entry in history if "loss" in entry]
    metrics = {"train_loss": losses[-1], "mean_train_loss": sum(losses) / len(losses)}
    for name, wire in (
        ("mean_token_accuracy", "train_mean_token_accuracy"),
        ("eval_loss", "valid_loss"),
    ):
        values = [entry[name] for entry in history if name in entry]
        if values:
            metrics[wire] = values[-1]
    return metrics


def explain(error: Exception) -> Failure | None:
    """What to tell the caller; None for what only the log can explain."""
    if isinstance(error, NoExamples):
        return Failure(code="invalid_training_file", message=str(error), param="training_file")
    if isinstance(error, Diverged | NothingLearnt):
        return Failure(
            code="training_failed", message=f"{error} Try a smaller learning rate or other data."
        )
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return Failure(
            code="out_of_memory",
            message="The training ran out of memory; try a smaller batch_size or max_length.",
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
