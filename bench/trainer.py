"""The training step against a bare PEFT loop: same model, seed, batches and optimizer.

The peer is what one writes by hand, ``model(..., labels=labels).loss``. Ours projects the
vocabulary only where there is a label. Both see the same batches in the same order, so their losses
must agree; the benchmark fails when they do not.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from bench.harness import Figure, conclude, parser
from fineproof.demo import Question, generate
from fineproof.models.catalog import resolve
from fineproof.models.pull import pull
from services.common.prompts import render_messages
from services.trainer.training.data import IGNORED, Tokenized, stop_tokens, tokenize
from services.trainer.training.loss import project_answers_only

GOAL = ">=1.4"
TOLERANCE = 1e-3

Batch = dict[str, torch.Tensor]
Loss = Callable[[Any, Batch], torch.Tensor]


def bare(model: Any, batch: Batch) -> torch.Tensor:
    loss: torch.Tensor = model(**batch).loss
    return loss


def ours(model: Any, batch: Batch) -> torch.Tensor:
    outputs = model(**batch, answers_only=True)
    loss: torch.Tensor = outputs["loss_sum"] / outputs["labelled"]
    return loss


def batches(examples: list[Tokenized], size: int) -> list[Batch]:
    made = []
    for start in range(0, len(examples), size):
        features = [example.features() for example in examples[start : start + size]]
        ids = [torch.tensor(feature["input_ids"]) for feature in features]
        labels = [torch.tensor(feature["labels"]) for feature in features]
        made.append(
            {
                "input_ids": pad_sequence(ids, batch_first=True),
                "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
                "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], batch_first=True),
            }
        )
    return made


def train(
    folder: Path, data: list[Batch], loss_of: Loss, *, seed: int
) -> tuple[list[float], float]:
    """Losses of one pass over ``data``, and its seconds, the first batch left out as warm-up."""
    set_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
    model = get_peft_model(base, lora).train()
    if loss_of is ours:
        project_answers_only(base)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-4)
    losses, started = [], 0.0
    for batch in data:
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        started = started or time.perf_counter()
    return losses, time.perf_counter() - started


def prompts(recipe: str, pairs: int, seed: int) -> list[tuple[list[dict[str, str]], str]]:
    """The demo's training pairs, closed book or with their own passage and two neighbours."""
    corpus = generate(seed)
    at = {passage.id: index for index, passage in enumerate(corpus.passages)}

    def around(question: Question) -> list[Any]:
        first = at[question.evidence_ids[0]]
        return list(corpus.passages[max(0, first - 1) : first + 2])

    return [
        (render_messages(q.question, around(q) if recipe == "rag" else ()), q.answer)
        for q in corpus.train[:pairs]
    ]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=40, help="training pairs")
    arguments.add_argument("--batch-size", type=int, default=8, help="examples a step")
    arguments.add_argument("--seed", type=int, default=2406, help="of the data and the LoRA")
    arguments.add_argument("--home", type=Path, default=Path(".fineproof"), help="with models/")
    asked = arguments.parse_args()

    base = resolve("smollm2-135m-instruct", asked.home.absolute())
    pull(base, lambda _done, _doing: None)
    folder = base.folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stops = stop_tokens(tokenizer, AutoModelForCausalLM.from_pretrained(folder))
    figures, details = [], {}
    for recipe in ("qa", "rag"):
        examples = [
            tokenize(tokenizer, messages, answer, stops)
            for messages, answer in prompts(recipe, asked.pairs, asked.seed)
        ]
        data = batches(examples, asked.batch_size)
        counted = sum(len(e.token_ids) for e in examples[asked.batch_size :])
        reference, reference_seconds = train(folder, data, bare, seed=asked.seed)
        losses, seconds = train(folder, data, ours, seed=asked.seed)
        apart = max(abs(a - b) for a, b in zip(losses, reference, strict=True))
        if apart > TOLERANCE:
            raise SystemExit(f"{recipe}: losses differ by {apart:.2g}; the speed means nothing")
        figures.append(
            Figure(
                name=f"training step, recipe {recipe}",
                unit="tokens/s",
                value=counted / seconds,
                reference=counted / reference_seconds,
                goal=GOAL,
            )
        )
        details[recipe] = {
            "pairs": asked.pairs,
            "tokens": counted,
            "largest_loss_difference": apart,
        }
    conclude(
        "trainer",
        figures,
        packages=["torch", "transformers", "peft"],
        details=details
        | {"reference": "PEFT loop with labels=", "threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
