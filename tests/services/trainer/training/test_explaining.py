import errno

import pytest
import torch

from services.trainer.training.callbacks import Diverged
from services.trainer.training.run import explain


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
            "allocate memory: you tried to allocate 629145600 bytes."
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_memory_that_ran_out_is_told_by_whoever_asked_for_it(error: Exception) -> None:
    failure = explain(error)
    assert failure is not None
    assert failure.code == "out_of_memory"


def test_other_errors_are_not_of_memory() -> None:
    diverged = explain(Diverged("the loss is nan."))
    assert diverged is not None
    assert diverged.code == "training_failed"
    assert explain(OSError(errno.ENOSPC, "No space left on device")) is None
    assert explain(RuntimeError("shapes do not match")) is None
