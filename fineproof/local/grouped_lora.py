"""LoRA on a CPU, an adapter at a time: a plugin that vLLM loads into its own processes.

vLLM's CPU implementation copies the adapter's matrices once for every token of a batch, and gives
tokens of the base model the index −1, which reads the last adapter slot: an adapter that happens to
be there would answer as the base. Here the tokens of one adapter are multiplied with its matrices
together, and tokens without one are left alone. Formula and results are those of the original:
``y += scale · (x Aᵀ) Bᵀ``. See docs/adr/0006; nothing of this runs on a GPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform

from fineproof.local import seeded_sampling

Group = tuple[int, torch.Tensor]


def register() -> None:
    """Entry point ``vllm.general_plugins``: what vLLM does otherwise on CPUs."""
    seeded_sampling.register()
    if current_platform.is_cpu():
        name = f"{__name__}.{GroupedPunicaWrapper.__name__}"
        type(current_platform).get_punica_wrapper = classmethod(lambda _: name)


def groups_of(indices: torch.Tensor) -> list[Group]:
    """Slots and the rows that belong to each, from a slot per row; rows of −1 belong to none."""
    return [
        (slot, (indices == slot).nonzero().squeeze(1))
        for slot in indices.unique().tolist()
        if slot >= 0
    ]


def add_grouped(
    y: torch.Tensor,
    x: torch.Tensor,
    groups: Sequence[Group],
    a_stacked: Sequence[torch.Tensor],
    b_stacked: Sequence[torch.Tensor],
    widths: Sequence[int],
    scale: float,
) -> None:
    """Add each slot's LoRA to its rows of ``y``, in place.

    ``x`` is (tokens, in), ``y`` (tokens, sum of widths); each of ``a_stacked`` (slots, 1, rank,
    in) and ``b_stacked`` (slots, 1, width, rank) belongs to one slice of ``y``'s columns.
    """
    for slot, rows in groups:
        alone = len(rows) == len(x)
        mine = x if alone else x.index_select(0, rows)
        start = 0
        for a, b, width in zip(a_stacked, b_stacked, widths, strict=True):
            shrunk = mine.to(a.dtype) @ a[slot, 0].T
            added = (shrunk.mul_(scale) @ b[slot, 0].T).to(y.dtype)
            columns = y[:, start : start + width]
            if alone:
                columns += added
            else:
                columns.index_add_(0, rows, added)
            start += width


class GroupedPunicaWrapper(PunicaWrapperCPU):  # type: ignore[misc]
    """vLLM's wrapper with the two operations that cost."""

    _groups: list[Group]
    _sampled: list[Group]

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self._groups = groups_of(self.token_lora_indices)
        self._sampled = groups_of(self.sampler_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        add_grouped(
            y.view(-1, y.shape[-1]),
            x.view(-1, x.shape[-1]),
            self._groups,
            lora_a_stacked,
            lora_b_stacked,
            output_slices,
            scale,
        )

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **_: Any,
    ) -> None:
        width = lora_b_stacked.shape[-2]
        add_grouped(
            y.view(-1, y.shape[-1]),
            x.view(-1, x.shape[-1]),
            self._sampled,
            (lora_a_stacked,),
            (lora_b_stacked,),
            (width,),
            scale,
        )
