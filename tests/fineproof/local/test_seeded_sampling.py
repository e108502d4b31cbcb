from types import SimpleNamespace

import numpy as np
import pytest

from fineproof.local.seeded_sampling import keep_generators_back


class Runner:
    """As vLLM's, reduced to what the patch touches."""

    def __init__(self) -> None:
        self.input_batch = SimpleNamespace(generators={0: "read", 2: "half", 3: "other"})
        self.discard_request_mask = SimpleNamespace(np=np.array([False, True, True, False]))
        self.seen: list[dict[int, str]] = []
        self.fails = False

    def _sample(self) -> None:
        self.seen.append(dict(self.input_batch.generators))

    def _bookkeeping_sync(self) -> None:
        self.seen.append(dict(self.input_batch.generators))
        if self.fails:
            raise RuntimeError


keep_generators_back(Runner)
keep_generators_back(Runner)  # as where a plugin is loaded twice


def test_a_request_whose_prompt_is_half_read_takes_no_part_in_sampling() -> None:
    runner = Runner()
    runner._sample()
    runner._bookkeeping_sync()
    assert runner.seen == [{0: "read", 3: "other"}] * 2
    assert runner.input_batch.generators == {0: "read", 2: "half", 3: "other"}


def test_its_generator_is_back_whatever_happens() -> None:
    runner = Runner()
    runner.fails = True
    runner._sample()
    with pytest.raises(RuntimeError):
        runner._bookkeeping_sync()
    assert len(runner.input_batch.generators) == 3
