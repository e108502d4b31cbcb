"""A micro-batch as one row without padding, its common beginning computed once.

Training prompts begin alike: the chat template's system turn, the words before the question. In a
causal model the hidden states of that beginning do not depend on what follows, so one copy serves
all examples of a micro-batch, and gradients of all of them flow back through it. The losses are
those of the padded batch; only work that would be done twice is left out.

::

    padded                     packed, with 3 tokens shared
    a b c d e .                a b c d e f g h i j
    a b c f .  .               position 0 1 2 3 4 3 3 4 5 6
    a b c g h i                each of d e | f | g h i sees a b c and its own past
"""

from dataclasses import dataclass
from typing import Self

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from services.trainer.training.data import IGNORED

Inputs = dict[str, torch.Tensor]

MASKED = 0.9
"""Attention under a mask of our own is slower than a causal one: a row must save a tenth."""


@dataclass(frozen=True)
class Sharing:
    """How the micro-batches of one model are laid out: as they come, or as one row.

    ``weights`` are the parameters of the decoder's layers, ``width`` the dimensions of all query
    heads together. ``window`` is that of sliding attention, in tokens; a longer micro-batch stays
    as it is.
    """

    weights: int
    layers: int
    width: int
    window: int | None
    shares: bool

    @classmethod
    def of(cls, model: PeftModel) -> Self | None:
        """None where one row does not give what padded rows give: tried, not looked up.

        With dropout nothing is shared: one copy of the beginning would drop the same for all.
        """
        base = model.get_base_model()
        config = base.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if not kinds <= {"full_attention", "sliding_attention"} or not rows_are_equal(base):
            return None
        vocabulary = {base.get_input_embeddings().weight, base.get_output_embeddings().weight}
        heads = config.num_attention_heads
        return cls(
            weights=sum(w.numel() for w in base.parameters() if w not in vocabulary),
            layers=config.num_hidden_layers,
            width=heads * (getattr(config, "head_dim", None) or config.hidden_size // heads),
            window=getattr(config, "sliding_window", None),
            shares=all(lora.lora_dropout == 0 for lora in model.peft_config.values()),
        )

    def lay_out(self, batch: Inputs) -> Inputs:
        """``batch`` in the cheaper of its two forms."""
        rows, longest = batch["input_ids"].shape
        if self.window is not None and longest > self.window:
            return batch
        row = one_row(batch, shares=self.shares)
        whole = self.flops(1, row["input_ids"].shape[1], pairs=1)
        cheaper = whole < MASKED * self.flops(rows, longest, pairs=0.5)
        return row if cheaper else unmasked(batch)

    def flops(self, rows: int, length: int, *, pairs: float) -> float:
        """Of one forward pass: 2 for each weight and token, and 4 · width for each pair of tokens
        in a layer (Kaplan et al. 2020, arXiv 2001.08361, 2.1). ``pairs`` is the share of them that
        is computed: all of them under a mask, one half without, where only the past is seen."""
        attention = 4 * self.layers * self.width * length * pairs
        return rows * length * (2 * self.weights + attention)


def unmasked(batch: Inputs) -> Inputs:
    """``batch`` without its mask, which nothing needs: padding on the right comes after every token
    that counts, and none looks ahead."""
    return {name: tensor for name, tensor in batch.items() if name != "attention_mask"}


def one_row(batch: Inputs, *, shares: bool) -> Inputs:
    """``batch``, padded on the right, as one row with a mask of rows × 1 × length × length.

    Every example keeps a token of its own before its first label, so that what predicts a label
    stands right before it.
    """
    ids, labels = batch["input_ids"], batch["labels"]
    lengths = batch["attention_mask"].sum(1).tolist()
    common = shared_length(ids, labels, min(lengths)) if shares and len(lengths) > 1 else 0
    beginning = ids[:1, :common]
    device = ids.device
    positions = torch.cat(
        [torch.arange(common)] + [torch.arange(common, length) for length in lengths]
    )
    owner = torch.repeat_interleave(
        torch.arange(len(lengths) + 1),
        torch.tensor([common, *(length - common for length in lengths)]),
    )
    sees = (owner[:, None] == owner) | (owner == 0)
    return {
        "input_ids": torch.cat(
            [beginning, *(ids[row, None, common:end] for row, end in enumerate(lengths))], 1
        ),
        "labels": torch.cat(
            [
                torch.full_like(beginning, IGNORED),
                *(labels[row, None, common:end] for row, end in enumerate(lengths)),
            ],
            1,
        ),
        "position_ids": positions[None].to(device),
        "attention_mask": sees.tril()[None, None].to(device),
    }


def shared_length(ids: torch.Tensor, labels: torch.Tensor, shortest: int) -> int:
    """How many tokens all rows begin with, one short of any row's first label."""
    unlabelled = (labels[:, :shortest] == IGNORED).all(0)
    alike = (ids[:, :shortest] == ids[0, :shortest]).all(0)
    return min(_run(alike & unlabelled), max(0, _run(unlabelled) - 1), shortest - 1)


def _run(flags: torch.Tensor) -> int:
    """How many of ``flags`` hold before the first that does not."""
    return int(flags.long().cumprod(0).sum())


def rows_are_equal(model: PreTrainedModel) -> bool:
    """Whether the decoder's hidden states of one row, and of rows without a mask, are those of
    padded rows."""
    decoder = model.get_decoder()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.get_input_embeddings().weight.shape[0], (3, 9), generator=generator)
    ids[:, :4] = ids[0, :4]
    lengths = (9, 6, 7)
    batch = {
        "input_ids": ids.to(model.device),
        "labels": torch.full_like(ids, IGNORED),
        "attention_mask": torch.tensor([[1] * n + [0] * (9 - n) for n in lengths]),
    }
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            asked = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
            padded = decoder(**asked, use_cache=False).last_hidden_state
            bare = decoder(**unmasked(asked), use_cache=False).last_hidden_state
            row = one_row(batch, shares=True)
            del row["labels"]
            packed = decoder(**row, use_cache=False).last_hidden_state[0]
    except (TypeError, ValueError, RuntimeError):  # a decoder that takes no mask of this kind
        return False
    finally:
        model.train(was_training)
    common = shared_length(ids, batch["labels"], min(lengths))
    found = [packed, torch.cat([bare[index, :length] for index, length in enumerate(lengths)])]
    expected = [padded[0, :common]]
    expected += [padded[index, common:length] for index, length in enumerate(lengths)]
    every = [padded[index, :length] for index, length in enumerate(lengths)]
    return common > 0 and all(
        torch.allclose(torch.cat(wanted), got, rtol=1e-3, atol=1e-4)
        for wanted, got in zip((expected, every), found, strict=True)
    )
