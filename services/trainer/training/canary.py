"""Sequences whose log-probabilities prove, later and elsewhere, that an adapter is applied."""

from collections.abc import Sequence

import torch
from peft import PeftModel

from services.common.contracts.trainer import Canary, CanarySequence
from services.common.prompts import render_messages
from services.trainer.training.data import Tokenized

MAX_TOKENS = 192
FROM_TRAINING = 2
GENERAL = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many days are there in a week?", "There are seven days in a week."),
)


def general_examples() -> list[tuple[list[dict[str, str]], str]]:
    return [(render_messages(question), answer) for question, answer in GENERAL]


def sequences(training: Sequence[Tokenized], general: Sequence[Tokenized]) -> list[list[int]]:
    """Token ids of the canaries; a long one keeps its end, where the answer is."""
    chosen = [*training[:FROM_TRAINING], *general]
    return [example.token_ids[-MAX_TOKENS:] for example in chosen]


def log_probs(model: PeftModel, token_ids: list[int]) -> list[float]:
    """Natural-log probabilities of ``token_ids[1:]``, each given the tokens before it."""
    ids = torch.tensor([token_ids], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    picked = logits.log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
    return [float(value) for value in picked]


def make_canary(model: PeftModel, chosen: Sequence[list[int]]) -> Canary:
    """What the float32 ``model`` says of each sequence, without and with its adapter."""
    model.eval()
    made = []
    for token_ids in chosen:
        with model.disable_adapter():
            base = log_probs(model, token_ids)
        adapted = log_probs(model, token_ids)
        made.append(CanarySequence(token_ids=token_ids, base=base, adapted=adapted))
    return Canary(sequences=made)
