from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from services.common.prompts import render_messages
from services.trainer.preparing.examples import Conversation, Pair
from services.trainer.preparing.rendering import ContextPassage, render_alone
from services.trainer.training.data import (
    IGNORED,
    NoExamples,
    Tokenized,
    fitting,
    prompt_ids,
    tokenize,
)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model)


def test_a_training_prompt_is_the_serving_prompt_token_by_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    rendered = render_alone(Pair(1, "Who {wrote} it?", "Ada."))
    served = tokenizer.apply_chat_template(
        render_messages("Who {wrote} it?"), add_generation_prompt=True, return_dict=False
    )
    example = tokenize(tokenizer, rendered.prompt, rendered.completion, {tokenizer.eos_token_id})
    assert example.token_ids[: example.answer_start] == served
    assert tokenizer.decode(example.token_ids[example.answer_start :]) == "Ada.<|im_end|>"


def test_a_prompt_with_passages_is_the_serving_prompt_too(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    passages = [ContextPassage("It was Ada.", "Notes"), ContextPassage("It rained.")]
    messages = render_messages("Who wrote it?", passages)
    example = tokenize(tokenizer, messages, "Ada.", {tokenizer.eos_token_id})
    assert example.token_ids[: example.answer_start] == prompt_ids(tokenizer, messages)
    assert "[1] Notes\nIt was Ada.\n\n[2]\nIt rained." in tokenizer.decode(example.token_ids)


def test_only_the_answer_and_one_stop_token_are_learnt(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    turns = ({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"})
    rendered = render_alone(Conversation(1, (*turns, *turns)))
    stop = tokenizer.eos_token_id
    features = tokenize(tokenizer, rendered.prompt, rendered.completion, {stop}).features()
    learnt = [label for label in features["labels"] if label != IGNORED]
    assert tokenizer.decode(learnt) == "A<|im_end|>"
    assert features["labels"][-len(learnt) :] == features["input_ids"][-len(learnt) :] == learnt


def test_a_template_that_rewrites_past_turns_does_not_change_the_prompt(
    tokenizer: PreTrainedTokenizerBase, tiny_model: Path
) -> None:
    odd = AutoTokenizer.from_pretrained(tiny_model)
    odd.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<think>{% endif %}"
    )
    messages = render_messages("Q")
    example = tokenize(odd, messages, "A", {odd.eos_token_id})
    assert example.token_ids[: example.answer_start] == prompt_ids(odd, messages)
    assert odd.decode(example.token_ids).endswith("<think>A<|im_end|>")


def test_examples_that_do_not_fit_are_left_out_whole() -> None:
    short, long = Tokenized([1] * 10, 5), Tokenized([1] * 11, 5)
    assert fitting([short, long], 10) == [short]
    with pytest.raises(NoExamples, match="the shortest has 11"):
        fitting([long], 10)
