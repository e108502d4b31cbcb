"""Seeded requests whose prompt is read in several steps, on a CPU: part of the plugin.

In each of these steps vLLM samples a token and throws it away, and then turns the request's random
generator back by its offset, which a CPU's generators do not have: the engine dies of it
(``RuntimeError: CPU Generator does not use offset``). Here the generator of such a request is kept
back until its prompt is read, so that there is nothing to turn back, and its seed means the same
however its prompt was split.
"""

import multiprocessing
from typing import Any

from vllm.platforms import current_platform


def register() -> None:
    """Patch vLLM's CPU runner, in processes that may run a model."""
    if not current_platform.is_cpu() or multiprocessing.parent_process() is None:
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    keep_generators_back(CPUModelRunner)


def keep_generators_back(runner: Any) -> None:
    """From a step's sampling to the end of its bookkeeping, of requests whose token is discarded.

    ``runner`` is a class with ``_sample``, ``_bookkeeping_sync``, ``input_batch.generators`` (by
    place in the batch) and ``discard_request_mask``.
    """
    if hasattr(runner, "_generators_kept_back"):
        return  # plugins may be loaded more than once
    sample, keep_books = runner._sample, runner._bookkeeping_sync
    runner._generators_kept_back = None

    def _sample(self: Any, *args: Any, **kwargs: Any) -> Any:
        generators = self.input_batch.generators
        discarded = self.discard_request_mask.np
        self._generators_kept_back = {
            place: generators.pop(place) for place in list(generators) if discarded[place]
        }
        return sample(self, *args, **kwargs)

    def _bookkeeping_sync(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return keep_books(self, *args, **kwargs)
        finally:
            self.input_batch.generators.update(self._generators_kept_back or {})
            self._generators_kept_back = None

    runner._sample, runner._bookkeeping_sync = _sample, _bookkeeping_sync
