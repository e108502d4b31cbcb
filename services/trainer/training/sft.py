"""Supervised fine-tuning, by TRL's ``SFTTrainer``."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, pack_dataset

from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.trainer.training.data import IGNORED, Tokenized, tokenize
from services.trainer.training.loss import AnswerTrainer
from services.trainer.training.ordering import Ordered


class SupervisedTrainer(Ordered, AnswerTrainer):
    """Loss on the answers only, in an order that a resumed run repeats.

    The validation loss is a mean over answer tokens, like the loss in training. The Trainer's own,
    a mean of micro-batches' means, would change with the size of a micro-batch.
    """

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **more: Any) -> Any:
        answered = (inputs["labels"][:, 1:] != IGNORED).sum().to(self.accelerator.device)
        step = super().prediction_step(model, inputs, *args, **more)
        self._validated += torch.stack([step[0].double() * answered, answered.double()])
        return step

    def evaluation_loop(self, *args: Any, **more: Any) -> Any:
        self._validated = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        output = super().evaluation_loop(*args, **more)
        total, answered = self.accelerator.reduce(self._validated, "sum").tolist()
        for name in output.metrics:
            if name.endswith("_loss"):
                output.metrics[name] = total / max(answered, 1)
        return output


def read(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, stops: set[int]) -> Tokenized:
    return tokenize(tokenizer, row["prompt"], row["completion"], stops)


def canary_of(example: Tokenized) -> Tokenized:
    return example


def dataset(
    examples: Sequence[Tokenized], asked: SupervisedHyperparameters
) -> tuple[Dataset, list[int]]:
    """Rows for the trainer, and how many tokens each has.

    Packed, a row holds whole examples up to ``max_length`` tokens, by best fit (Ding et al. 2024,
    arXiv 2404.10830): each sees itself only, see ``make_trainer``.
    """
    rows = Dataset.from_list([example.features() for example in examples])
    if asked.packing:
        rows = pack_dataset(rows, asked.max_length, "bfd")
    return rows, [len(row) for row in rows["input_ids"]]


def make_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: SupervisedHyperparameters,
    train: Dataset,
    valid: Dataset | None,
    arguments: dict[str, Any],
    callbacks: list[Any],
) -> SupervisedTrainer:
    """Packed rows come without a mask and with positions that begin anew at each example, of which
    ``transformers`` makes attention that does not cross from one to the next, on any device."""
    return SupervisedTrainer(
        model=model,
        args=SFTConfig(
            **arguments,
            max_length=asked.max_length if asked.packing else None,  # what is too long was left out
            packing=asked.packing,
            packing_strategy="bfd",
            dataset_kwargs={"skip_prepare_dataset": True},
            include_num_input_tokens_seen="all" if asked.packing else "non_padding",
        ),
        train_dataset=train,
        eval_dataset=valid,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
