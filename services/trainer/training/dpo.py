"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290), by TRL's ``DPOTrainer``.

The reference model is the base model: the same weights with the LoRA switched off.
"""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from services.common.contracts.hyperparameters import DpoHyperparameters
from services.trainer.training.data import Tokenized, TokenizedPreference, tokenize
from services.trainer.training.ordering import Ordered


class PreferenceTrainer(Ordered, DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Tokenized already, as prompts are when they are served: TRL's own way would drop what a
        chat template writes differently in a past turn."""
        return dataset


def read(
    row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, stops: set[int]
) -> TokenizedPreference:
    chosen = tokenize(tokenizer, row["prompt"], row["completion"], stops)
    rejected = tokenize(tokenizer, row["prompt"], row["rejected"], stops)
    return TokenizedPreference(
        prompt_ids=chosen.token_ids[: chosen.answer_start],
        chosen_ids=chosen.token_ids[chosen.answer_start :],
        rejected_ids=rejected.token_ids[rejected.answer_start :],
    )


def canary_of(example: TokenizedPreference) -> Tokenized:
    return example.preferred


def dataset(
    examples: Sequence[TokenizedPreference], _asked: DpoHyperparameters
) -> tuple[Dataset, list[int]]:
    """Rows for the trainer, and the tokens of the two sequences that each is padded to."""
    rows = Dataset.from_list([example.features() for example in examples])
    return rows, [2 * example.length for example in examples]


def make_trainer(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: DpoHyperparameters,
    train: Dataset,
    valid: Dataset | None,
    arguments: dict[str, Any],
    callbacks: list[Any],
) -> PreferenceTrainer:
    return PreferenceTrainer(
        model=model,
        args=DPOConfig(
            **arguments,
            beta=asked.beta,
            max_length=None,  # what is too long was left out
            disable_dropout=False,  # lora_dropout is asked for, and 0 by default
            include_num_input_tokens_seen="non_padding",
        ),
        train_dataset=train,
        eval_dataset=valid,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
