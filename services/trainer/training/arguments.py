"""The Trainer's settings, as hyperparameters, plan and machine make them."""

import math
from typing import Any

from services.common.contracts.hyperparameters import DpoHyperparameters, SupervisedHyperparameters
from services.trainer.training.config import Plan, RunConfig, RunFolder
from services.trainer.training.plan import on_gpu

CHECKPOINTS_A_RUN = 10
MOST_LINES = 1_000


def candidate_steps(asked: SupervisedHyperparameters | DpoHyperparameters, plan: Plan) -> range:
    """Steps before the last whose adapters were asked for."""
    every = plan.steps_per_epoch if asked.save_strategy == "epoch" else asked.save_steps
    return range(every, plan.steps, every)


def checkpoint_every(plan: Plan) -> int:
    return max(1, math.ceil(plan.steps / CHECKPOINTS_A_RUN))


def run_name(config: RunConfig) -> str:
    """What trackers call the run: the name its integration gives, else the job."""
    names = [each.get("wandb", {}).get("name") for each in config.integrations]
    return next(filter(None, names), config.job_id)


def training_arguments(
    folder: RunFolder, config: RunConfig, plan: Plan, *, evaluates: bool
) -> dict[str, Any]:
    """For a ``TrainingArguments`` of any method. Checkpoints are ``callbacks.Keeping``'s business;
    those of the last step, and their number, are the Trainer's."""
    asked = config.hyperparameters
    stopping = (
        {
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "restore_callback_states_from_checkpoint": True,  # how often the loss has not fallen
        }
        if asked.early_stopping
        else {}
    )
    return stopping | {
        "output_dir": str(folder.checkpoints),
        "run_name": run_name(config),
        "seed": config.seed,
        "use_cpu": not on_gpu(),
        "bf16": on_gpu(),
        "per_device_train_batch_size": plan.micro_batch,
        "per_device_eval_batch_size": plan.micro_batch,
        "gradient_accumulation_steps": plan.gradient_accumulation_steps,
        "gradient_checkpointing": False,
        "num_train_epochs": asked.n_epochs,
        "learning_rate": asked.learning_rate,
        "lr_scheduler_type": asked.lr_scheduler_type,
        # Not all of them: a run of one step would take it at a rate of 0.
        "warmup_steps": min(math.ceil(asked.warmup_ratio * plan.steps), plan.steps - 1),
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": on_gpu(),
        # By steps: the last step of an epoch is evaluated before it is saved.
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": candidate_steps(asked, plan).step,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": plan.steps,
        "save_total_limit": 3 if asked.early_stopping else 2,  # the best is one of them
        "logging_strategy": "steps",
        "logging_steps": max(1, plan.steps // MOST_LINES),
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
