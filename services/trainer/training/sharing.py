"""A micro-batch as one row without padding, its common beginning computed once.

Training prompts begin alike: the chat template's system turn, the words before the question. In a
causal model the hidden states of that beginning do not depend on what follows, so one copy serves
all examples of a micro-batch, and gradients of all of them flow back through it. The losses are
those of the padded batch; only work that would be done twice is left out.

Attention alone sees the examples apart: queries, keys and values of the row are spread over padded
rows, and what it gives is collected from them. It needs no mask there. Padding stands on the right,
and no token looks ahead; without a mask only the past is computed, half of all pairs.

::

    padded                     packed, with 3 tokens shared
    a b c d e .                a b c d e f g h i
    a b c f .  .               position 0 1 2 3 4 3 3 4 5
    a b c g h i
"""

from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from peft import PeftModel
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from services.trainer.training.data import IGNORED

Inputs = dict[str, Any]

SPREAD = "sdpa_spread"
"""Our attention by its name in ``transformers``' registry: torch's own, unless a layout comes."""

TOGETHER = 2
"""Examples that are padded to one length for attention. They come in the order of their lengths;
of one alone, torch's kernel would give nine heads to two cores."""


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a row stand among the padded rows of its examples.

    These come in parts, each n × longest, padded to the longest of its own. ``spread`` holds for
    each place of a part its token's place in the row, any for padding; ``own`` whether the token is
    there alone: no padding, and no copy of the beginning but the first. Counted through all parts,
    ``collect`` holds the place of each token of the row, and ``copies``, examples less one ×
    shared tokens, those of the beginning's copies.
    """

    spread: tuple[torch.Tensor, ...]
    own: torch.Tensor
    collect: torch.Tensor
    copies: torch.Tensor


class _Spread(torch.autograd.Function):  # type: ignore[misc]
    """1 × heads × tokens × width of a row, as places × heads × width."""

    @staticmethod
    def forward(
        ctx: Any,
        row: torch.Tensor,
        spread: torch.Tensor,
        collect: torch.Tensor,
        copies: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(collect, copies)
        return row.transpose(1, 2)[0].index_select(0, spread)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """That of padding is zero; nothing that counts has seen it."""
        collect, copies = ctx.saved_tensors
        tokens = gradient.index_select(0, collect)
        tokens[: copies.shape[1]] += gradient[copies].sum(0)
        return tokens[None].transpose(1, 2), None, None, None


class _Collect(torch.autograd.Function):  # type: ignore[misc]
    """Places × heads × width, as 1 × tokens × heads × width of a row."""

    @staticmethod
    def forward(
        ctx: Any,
        places: torch.Tensor,
        spread: torch.Tensor,
        own: torch.Tensor,
        collect: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(spread, own)
        return places.index_select(0, collect)[None]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        spread, own = ctx.saved_tensors
        places = gradient[0].index_select(0, spread)
        return torch.where(own[:, None, None], places, 0), None, None, None


def spread_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention, of each example apart where ``layout`` says which they are."""
    if layout is None:
        return cast(
            tuple[torch.Tensor, None],
            sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs),
        )
    kwargs["is_causal"] = True
    spread = torch.cat([part.flatten() for part in layout.spread])
    sizes = [part.numel() for part in layout.spread]
    states = [
        _Spread.apply(row, spread, layout.collect, layout.copies).split(sizes)
        for row in (query, key, value)
    ]
    places = []
    for part, of_part in zip(layout.spread, zip(*states, strict=True), strict=True):
        padded = (each.unflatten(0, part.shape).transpose(1, 2) for each in of_part)
        rows, _ = sdpa_attention_forward(module, *padded, None, **kwargs)
        places.append(rows.flatten(0, 1))
    return _Collect.apply(torch.cat(places), spread, layout.own, layout.collect), None


AttentionInterface.register(SPREAD, spread_attention)
AttentionMaskInterface.register(SPREAD, sdpa_mask)


@dataclass(frozen=True)
class Sharing:
    """Lays out the micro-batches of one model as rows.

    ``window`` is that of sliding attention, in tokens; a longer micro-batch stays as it is.
    """

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
        if not kinds <= {"full_attention", "sliding_attention"} or not takes_rows(base):
            return None
        return cls(
            window=getattr(config, "sliding_window", None),
            shares=all(lora.lora_dropout == 0 for lora in model.peft_config.values()),
        )

    def lay_out(self, batch: Inputs) -> Inputs:
        """``batch``, padded on the right, as the model is to see it."""
        if self.window is not None and batch["input_ids"].shape[1] > self.window:
            return batch
        return one_row(batch, shares=self.shares)


def one_row(batch: Inputs, *, shares: bool) -> Inputs:
    """``batch``, padded on the right, as one row and its ``layout``.

    Every example keeps a token of its own before its first label, so that what predicts a label
    stands right before it.
    """
    ids, labels = batch["input_ids"], batch["labels"]
    lengths = batch["attention_mask"].sum(1)
    shared = shared_length(ids, labels, int(lengths.min())) if shares and len(ids) > 1 else 0
    at = torch.arange(ids.shape[1], device=ids.device)
    own = (at < lengths[:, None]) & (at >= shared)
    own[0, :shared] = True
    number = torch.where(own, own.flatten().cumsum(0).view_as(own) - 1, 0)
    number[:, :shared] = at[:shared]
    longest = [int(part.max()) for part in lengths.split(TOGETHER)]
    parts = list(zip(own.split(TOGETHER), number.split(TOGETHER), longest, strict=True))
    alone = torch.cat([mask[:, :end].flatten() for mask, _, end in parts])
    starts = torch.tensor([0, *(end for end in longest for _ in range(TOGETHER))]).cumsum(0)
    return {
        "input_ids": ids[own][None],
        "labels": labels[own][None],
        "position_ids": at.expand_as(own)[own][None],
        # Four dimensions are handed on as they are: of two, or none, a mask would be made.
        "attention_mask": own[None, None],
        "layout": Layout(
            # Always copies: a view, as of whole rows, is to torch.compile another kind of tensor.
            spread=tuple(tokens[:, :end].clone() for _, tokens, end in parts),
            own=alone,
            collect=alone.nonzero()[:, 0],
            copies=starts[1 : len(ids), None].to(ids.device) + at[:shared],
        ),
    }


def shared_length(ids: torch.Tensor, labels: torch.Tensor, shortest: int) -> int:
    """How many tokens all rows begin with, one short of any row's first label."""
    unlabelled = (labels[:, :shortest] == IGNORED).all(0)
    alike = (ids[:, :shortest] == ids[0, :shortest]).all(0)
    return min(_run(alike & unlabelled), max(0, _run(unlabelled) - 1), shortest - 1)


def _run(flags: torch.Tensor) -> int:
    """How many of ``flags`` hold before the first that does not."""
    return int(flags.long().cumprod(0).sum())


def takes_rows(model: PreTrainedModel) -> bool:
    """Give ``model`` the attention that rows need, if the decoder's hidden states of one are those
    of padded rows with its own."""
    decoder = model.get_decoder()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.get_input_embeddings().weight.shape[0], (3, 9), generator=generator)
    ids[:, :4] = ids[0, :4]
    batch = {
        "input_ids": ids.to(model.device),
        "labels": torch.full_like(ids, IGNORED),
        "attention_mask": torch.tensor([[1] * n + [0] * (9 - n) for n in (9, 6, 7)]),
    }
    row = one_row(batch, shares=True)
    del row["labels"]
    own = row["attention_mask"][0, 0]
    usual, was_training = model.config._attn_implementation, model.training
    if usual != "sdpa":
        return False
    model.eval()
    try:
        with torch.no_grad():
            asked = {name: batch[name] for name in ("input_ids", "attention_mask")}
            expected = decoder(**asked, use_cache=False).last_hidden_state[own]
            model.set_attn_implementation(SPREAD)
            found = decoder(**row, use_cache=False).last_hidden_state[0]
        alike = torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    except (TypeError, ValueError, RuntimeError):  # a decoder that takes no rows of this kind
        alike = False
    finally:
        model.train(was_training)
    if not alike:
        model.set_attn_implementation(usual)
    return bool(alike)
