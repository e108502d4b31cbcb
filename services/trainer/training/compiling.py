"""Decoder layers through ``torch.compile``: one graph serves them all, and long runs are worth it.

Compiled, a layer's forward and backward pass are fewer and larger loops over the same numbers: on a
CPU a step takes four fifths of its time. Getting there takes half a minute the first time, seconds
where this machine has done it before (``TORCHINDUCTOR_CACHE_DIR``).
"""

import os
import shutil
import sysconfig
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.fx.experimental._config
from torch._dynamo.exc import TorchDynamoException
from transformers import PreTrainedModel

from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.trainer.training.loss import AnswerTrainer

LONG = 4e13
"""Floating-point operations of a run from which on it is compiled unasked: five minutes of two
cores, of which it saves the minute that compiling takes where it was never done before."""

LOOKED_AT = 8
"""Micro-batches that are looked at for what forms they come in."""

NO_COMPILER = (
    "torch_compile: this machine has no C++ compiler, or not Python's headers (on Debian g++ and "
    "python3-dev); steps are not compiled, which changes nothing but their speed."
)


def is_worth_it(asked: Any, base: PreTrainedModel, lengths: Sequence[int], *, on_gpu: bool) -> bool:
    """Whether a run's layers are compiled: as ``asked``, or where that is left open, if it is long;
    never on a CPU without a compiler.

    A frozen weight takes 4 operations a token: 2 forward, 2 for the gradient of its input.
    """
    if not isinstance(asked, SupervisedHyperparameters) or not (on_gpu or has_compiler()):
        return False
    if asked.torch_compile != "auto":
        return asked.torch_compile
    # Nobody has measured what it gains on a GPU or of a quantized model.
    if on_gpu or asked.quantization != "none":
        return False
    embedding = base.get_input_embeddings().weight.numel()
    weights = base.num_parameters() - embedding
    return bool(4.0 * weights * sum(lengths) * int(asked.n_epochs) >= LONG)


def has_compiler() -> bool:
    """What torch makes a CPU's kernels with; a GPU's come from Triton."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def compile_layers(trainer: AnswerTrainer, micro_batch: int) -> float:
    """Compile the decoder's layers of ``trainer.model`` for training; gives the seconds it took.

    Each form in which micro-batches come is tried once, forward and backward. Whatever else comes
    later, evaluation and a last single example, is computed as it always was, so that a run which
    is gone on with computes every step as it would have without the break.
    """
    started = time.monotonic()
    torch._dynamo.config.suppress_errors = True  # what cannot be compiled is computed as it was
    # Else two sizes that are equal in the first micro-batch would have to be in all.
    torch.fx.experimental._config.use_duck_shape = False
    kinds = set(trainer.model.get_base_model()._no_split_modules or ())
    for module in trainer.model.modules():
        if type(module).__name__ in kinds:
            module.compile(dynamic=True)
    try:
        for inputs in _forms(trainer, micro_batch):
            trainer.rehearse(inputs)
    except TorchDynamoException:  # in a backward pass, whose errors are not suppressed
        torch.compiler.set_stance("force_eager")
    else:
        torch.compiler.set_stance("eager_on_recompile")
    return time.monotonic() - started


def _forms(trainer: AnswerTrainer, micro_batch: int) -> list[dict[str, Any]]:
    """A micro-batch of each form among the first: as a row or as it came, and what it shares. To
    torch a size of 0 or 1 is a constant."""
    found: dict[tuple[bool, int], dict[str, Any]] = {}
    rows = trainer.train_dataset
    for start in islice(range(0, len(rows) - micro_batch + 1, micro_batch), LOOKED_AT):
        batch = trainer.data_collator([rows[start + index] for index in range(micro_batch)])
        layout = trainer.laid_out(batch).get("layout")
        shared = layout.copies.shape[1] if layout else 0
        found.setdefault((layout is None, min(shared, 2)), batch)
    return list(found.values())
