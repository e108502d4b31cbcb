"""One fine-tuning: ``accelerate launch --module services.trainer.training.run FOLDER``.

Reads a run's folder (see ``config``), trains a LoRA with TRL and PEFT, leaves the adapter in it.
"""

import errno
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from services.common.contracts.hyperparameters import DpoHyperparameters
from services.trainer.running.tether import die_with_launcher
from services.trainer.training import canary, compiling, dpo, sft
from services.trainer.training.arguments import (
    candidate_steps,
    checkpoint_every,
    training_arguments,
)
from services.trainer.training.artifacts import NothingLearnt
from services.trainer.training.callbacks import Diverged, Keeping, Pausing, Reporting
from services.trainer.training.checkpoints import last_checkpoint, step_of, trained_seconds
from services.trainer.training.config import Failure, RunConfig, RunFolder, write_whole
from services.trainer.training.data import NoExamples, fitting, load, stop_tokens, tokenize
from services.trainer.training.merging import Merged
from services.trainer.training.models import load_for_training
from services.trainer.training.outcome import Outcome, publish, stopped_early
from services.trainer.training.plan import RANK, WORLD, make_plan
from services.trainer.training.progress import Message, Reporter
from services.trainer.training.trackers import trackers

OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "out of memory",
    "could not create a memory object",
    "_status_alloc_failed",
)
DORA = (
    "vLLM cannot serve DoRA adapters: this one can be exported, merged into its base model, but "
    "not loaded by the generator."
)


def main() -> int:
    die_with_launcher()
    folder = RunFolder(Path(sys.argv[1]))
    try:
        run(folder)
    except Exception as error:
        # Whichever process is first: memory may run out in one of them only.
        if not folder.failure.exists() and (failure := explain(error)) is not None:
            write_whole(folder.failure, failure.model_dump_json())
        raise
    return 0


def run(folder: RunFolder) -> None:
    config = folder.read_config()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // WORLD))
    set_seed(config.seed)
    if (outcome := train(folder, config)) is None:
        folder.paused.touch()
    elif RANK == 0:
        publish(folder, config, outcome)


def train(folder: RunFolder, config: RunConfig) -> Outcome | None:
    """None when the run was paused."""
    asked = config.hyperparameters
    method: ModuleType = dpo if isinstance(asked, DpoHyperparameters) else sft
    reporter = Reporter(folder.metrics, active=RANK == 0)
    tokenizer = AutoTokenizer.from_pretrained(config.base_model_path)
    if asked.lora.use_dora:
        reporter.write(Message(level="warn", message=DORA))
    model = load_for_training(config)
    examples = read(folder.train, method, tokenizer, model, asked.max_length, reporter)
    rows, lengths = method.dataset(examples, asked)
    valid = None
    if folder.valid.exists():
        held_out = read(folder.valid, method, tokenizer, model, asked.max_length, reporter)
        valid, _ = method.dataset(held_out, asked)

    plan = make_plan(config, model, lengths)
    if RANK == 0:
        write_whole(folder.plan, plan.model_dump_json(indent=2) + "\n")
    if getattr(asked, "torch_compile", None) is True and not plan.torch_compile:
        reporter.write(Message(level="warn", message=compiling.NO_COMPILER))
    came_from = last_checkpoint(folder.checkpoints, sweep=RANK == 0)
    pausing = Pausing(folder.pause)
    keeping = Keeping(
        folder,
        every=checkpoint_every(plan),
        candidates=candidate_steps(asked, plan),
        limit=asked.save_total_limit,
        seconds=trained_seconds(came_from),
    )
    resumed_at = step_of(came_from) if came_from else 0
    callbacks = [Reporting(reporter), pausing, keeping]
    callbacks += trackers(folder, reporter, resumed_at=resumed_at)
    if asked.early_stopping:
        callbacks.append(EarlyStoppingCallback(**asked.early_stopping.model_dump()))
    trainer = method.make_trainer(
        model,
        tokenizer,
        asked,
        rows,
        valid,
        training_arguments(folder, config, plan, evaluates=valid is not None),
        callbacks,
    )
    for weight in model.parameters():
        if weight.requires_grad:
            # TRL makes a quantized model's adapter bfloat16, whose steps round to nothing.
            weight.data = weight.data.float()
    trainer.lengths, trainer.steps_per_epoch = lengths, plan.steps_per_epoch
    if plan.merged and (merged := Merged.of(model)):
        trainer.add_callback(merged)
    compile_seconds = 0.0
    stopped = came_from and asked.early_stopping and stopped_early(came_from, asked.early_stopping)
    if stopped:
        # Killed before its result. The Trainer would train on: it looks after a step, never before.
        trainer.state = stopped
        for event in ("on_train_begin", "on_train_end"):  # trackers end their runs with them
            getattr(trainer.callback_handler, event)(trainer.args, stopped, trainer.control)
    else:
        if plan.torch_compile:
            compile_seconds = compiling.compile_layers(trainer, plan.micro_batch)
            told = f"The model's layers were compiled in {compile_seconds:.0f} s."
            reporter.write(Message(message=told))
        trainer.train(resume_from_checkpoint=came_from and str(came_from))
    if pausing.paused:
        return None
    stops = stop_tokens(tokenizer, model)
    general = [tokenize(tokenizer, *each, stops) for each in canary.general_examples()]
    return Outcome(
        plan=plan,
        state=trainer.state,
        seconds=keeping.seconds,
        compile_seconds=compile_seconds,
        canaries=canary.sequences([method.canary_of(each) for each in examples], general),
    )


def read(
    path: Path,
    method: ModuleType,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    max_length: int,
    reporter: Reporter,
) -> list[Any]:
    """Rendered prompts as tokens, without those that are too long."""
    stops = stop_tokens(tokenizer, model)
    examples = [method.read(row, tokenizer, stops) for row in load(path)]
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


def explain(error: Exception) -> Failure | None:
    """What to tell the caller; None for what only the log can explain."""
    if isinstance(error, NoExamples):
        return Failure(code="invalid_training_file", message=str(error), param="training_file")
    if isinstance(error, Diverged | NothingLearnt):
        return Failure(
            code="training_failed", message=f"{error} Try a smaller learning rate or other data."
        )
    if is_out_of_memory(error):
        return Failure(
            code="out_of_memory",
            message="The training ran out of memory; try a smaller batch_size or max_length.",
        )
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Of the host or of a device, by whoever asked for it: CUDA's and oneDNN's libraries have only
    words for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
