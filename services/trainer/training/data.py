"""Rendered prompts as token ids, with labels on the answer only."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token without loss, as torch's cross entropy has it."""


class NoExamples(Exception):
    """Nothing is left to train on."""


@dataclass(frozen=True)
class Tokenized:
    """One example: ``token_ids`` from ``answer_start`` on are learnt."""

    token_ids: list[int]
    answer_start: int

    @property
    def length(self) -> int:
        return len(self.token_ids)

    def features(self) -> dict[str, list[int]]:
        labels = [IGNORED] * self.answer_start + self.token_ids[self.answer_start :]
        return {"input_ids": self.token_ids, "labels": labels}


@dataclass(frozen=True)
class TokenizedPreference:
    """A prompt with the answer that is preferred to another, by TRL's names."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        """Of the longer of its two sequences."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def preferred(self) -> Tokenized:
        return Tokenized(self.prompt_ids + self.chosen_ids, len(self.prompt_ids))

    def features(self) -> dict[str, list[int]]:
        return asdict(self)


Trained = TypeVar("Trained", Tokenized, TokenizedPreference)


def load(path: Path) -> list[dict[str, Any]]:
    with path.open() as file:
        return [json.loads(line) for line in file]


def stop_tokens(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> set[int]:
    """Ids that end an answer when the model serves."""
    told = getattr(model.generation_config, "eos_token_id", None)
    ids = told if isinstance(told, list) else [told]
    return {token for token in (*ids, tokenizer.eos_token_id) if token is not None}


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    """What a server makes of ``messages``: the chat template up to where the answer begins."""
    ids: list[int] = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_dict=False
    )
    return ids


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict[str, str]],
    answer: str,
    stops: set[int],
) -> Tokenized:
    """The serving prompt, the answer as the chat template puts it, and one stop token.

    What a template adds after the stop token (a newline, say) is never generated, so not learnt.
    """
    prompt = prompt_ids(tokenizer, messages)
    whole: list[int] = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": answer}], return_dict=False
    )
    if whole[: len(prompt)] == prompt:
        completion = whole[len(prompt) :]
    else:  # a template that writes a past turn unlike the one it asks for; serving decides
        completion = tokenizer(answer, add_special_tokens=False)["input_ids"]
    last = max((at for at, token in enumerate(completion) if token in stops), default=None)
    completion = [*completion, tokenizer.eos_token_id] if last is None else completion[: last + 1]
    return Tokenized([*prompt, *completion], len(prompt))


def fitting(examples: Sequence[Trained], max_length: int) -> list[Trained]:
    """Examples of at most ``max_length`` tokens. A cut one would teach to stop in mid-sentence.

    Raises ``NoExamples`` when none fits.
    """
    kept = [example for example in examples if example.length <= max_length]
    if not kept:
        shortest = min(example.length for example in examples)
        raise NoExamples(
            f"Every example is longer than max_length, {max_length} tokens; the shortest has "
            f"{shortest}. Raise max_length or shorten the examples."
        )
    return kept
