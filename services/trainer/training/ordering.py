"""In what order examples come, the same whenever and however often a run is taken up again.

``transformers``' samplers draw an epoch's order from torch's global random numbers as the epoch
begins; a resumed process has not drawn what the first one had by then, and sees other batches.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochOrder(LengthGroupedSampler):  # type: ignore[misc]
    """Batches of like length, shuffled by the seed and the epoch alone."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, *, seed: int, epoch: Callable[[], int]
    ) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self._seed = seed
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self._seed + self._epoch())
        return iter(super().__iter__())


class Ordered:
    """For a ``Trainer``, before it in the bases: ``lengths`` are of the training examples."""

    lengths: Sequence[int]
    steps_per_epoch: int
    args: Any
    state: Any

    def _get_train_sampler(self, _dataset: Any = None) -> EpochOrder:
        return EpochOrder(
            self.lengths,
            self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size,
            seed=self.args.seed,
            epoch=lambda: self.state.global_step // self.steps_per_epoch,
        )
