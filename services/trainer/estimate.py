"""What a fine-tuning will take, computed: pure functions of the model, the data and the device.

Bytes and seconds are of one process. Both are for deciding whether to begin, not for billing.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from services.common.contracts.hyperparameters import DpoHyperparameters, SupervisedHyperparameters
from services.trainer.architecture import Architecture, UnknownArchitecture, architecture
from services.trainer.batching import MICRO_BATCH_TOKENS, merges, micro_batch

Kind = Literal["cpu", "cuda"]

RUNTIME_BYTES = {"cpu": 700 * 2**20, "cuda": 2**30}
"""Python with torch, transformers, PEFT and TRL loaded; the context and kernels of a GPU."""
WEIGHT_BYTES = {"cpu": 4.0, "cuda": 2.0}
"""Of a weight that is not quantized: float32, and bfloat16."""
QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.516}
"""Of a quantized one; NF4 with double quantization holds 0.127 bits a weight besides (Dettmers et
al. 2023, arXiv 2305.14314)."""
OWN_BYTES = 2.0
"""Of a weight that is kept beside the merged one: most models are published in bfloat16."""
SERVED_BYTES = 4.0
"""Of a weight of the model that the finished adapter is measured on, in float32."""
UTILISATION = 0.5
"""Share of a large matrix product's rate that a training step reaches."""


@dataclass(frozen=True)
class Data:
    """Rendered examples: how many, tokens of all of them, how many of those are learnt, and tokens
    of the longest. An example of two answers counts the tokens of both, but for the longest."""

    examples: int
    tokens: int
    answer_tokens: int
    longest: int


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they are for. Activations and logits are of one micro-batch."""

    weights: int
    adapter: int
    activations: int
    logits: int
    runtime: int
    served: int
    micro_batch: int

    @property
    def total(self) -> int:
        """The larger of training and, after it, measuring the adapter on the model as served."""
        training = self.weights + self.adapter + self.activations + self.logits
        return self.runtime + max(training, self.served)


class Where(Protocol):
    """A device, as the worker that owns it found it."""

    kind: Any
    memory_bytes: Any


Asked = SupervisedHyperparameters | DpoHyperparameters


def optimizer_steps(asked: Asked, data: Data) -> int:
    """``asked`` has its ``auto`` resolved. Packed rows hold ``max_length`` tokens."""
    rows = data.examples
    if getattr(asked, "packing", False):
        rows = math.ceil(data.tokens / asked.max_length)
    return math.ceil(rows / int(asked.batch_size)) * int(asked.n_epochs)


def memory(
    model: Architecture, asked: Asked, data: Data, kind: Kind, budget: int | None, halvings: int = 0
) -> Memory:
    """Peak memory of training a LoRA on ``model``.

    * weights: N parameters of 4 bytes on a CPU, 2 on a GPU; with quantization its linear layers
      take ``QUANTIZED_BYTES`` instead, and merged (``batching.merges``) ``OWN_BYTES`` more;
    * adapter: 16 bytes for each of its parameters, in float32 the weight, its gradient, and two
      moments of AdamW;
    * activations, nothing recomputed: T tokens of a micro-batch through L layers keep, in the
      weights' type, 8h + 4k + 4i numbers each: the inputs and outputs of the norms, of queries,
      keys and values (width k), of attention and of a gated MLP (width i). It is Korthikanti et
      al.'s count (2022, arXiv 2205.05198, section 4.1) for such a block, without the scores, which
      fused attention does not keep. Two preferences are two rows;
    * logits: of the labelled tokens only, V numbers three times in float32 (logits, their softmax,
      its gradient).

    ``budget`` is in tokens, by default that of the device.
    """
    paired = isinstance(asked, DpoHyperparameters)
    packed = getattr(asked, "packing", False)
    longest = asked.max_length if packed else data.longest
    micro = micro_batch(int(asked.batch_size), longest, budget or MICRO_BATCH_TOKENS[kind])
    micro = max(1, micro >> halvings)
    tokens = micro * longest * (2 if paired else 1)
    wide = WEIGHT_BYTES[kind]
    packed_bytes = QUANTIZED_BYTES.get(asked.quantization, wide)
    mean = data.tokens / max(data.examples, 1)
    if merges(asked, int(asked.batch_size), mean, kind):
        packed_bytes += OWN_BYTES
    numbers = 8 * model.hidden + 4 * model.key_values + 4 * model.intermediate
    labelled = tokens * data.answer_tokens / max(data.tokens, 1)
    return Memory(
        weights=int(
            model.linear_parameters * packed_bytes
            + (model.parameters - model.linear_parameters) * wide
        ),
        adapter=16 * model.lora_parameters(asked.lora),
        activations=int(tokens * model.layers * numbers * wide),
        logits=int(labelled * model.vocabulary * 12),
        runtime=RUNTIME_BYTES[kind],
        served=int(model.parameters * SERVED_BYTES),
        micro_batch=micro,
    )


def seconds_at(tokens_per_second: float, asked: Asked, data: Data) -> float:
    return data.tokens * int(asked.n_epochs) / tokens_per_second


def seconds_by_flops(model: Architecture, asked: Asked, data: Data, flops: float) -> float:
    """Training time on a device that multiplies large matrices at ``flops`` a second.

    A token takes 6N operations of a model with N weights: 2N forward, 4N backward (Kaplan et al.
    2020, arXiv 2001.08361, section 2.1). Of a LoRA's base the weights are frozen and the 2N of
    their gradients fall away; the head, h times V, works only where there is a label. DPO goes
    forward once more, through the reference. Attention's own share, small for prompts much shorter
    than 12h tokens, is left out.
    """
    each = 6 if isinstance(asked, DpoHyperparameters) else 4
    layers = each * model.linear_parameters * data.tokens
    head = each * model.hidden * model.vocabulary * data.answer_tokens
    return int(asked.n_epochs) * (layers + head) / (UTILISATION * flops)


def why_not(needed: Memory, available: int) -> str | None:
    """What to change where ``needed`` is more than ``available`` bytes; None where it fits.

    0 bytes are available on a device of which nobody could say how much it has.
    """
    if not available or needed.total <= available:
        return None
    share = f"It would take {_gib(needed.total)} of memory; the device has {_gib(available)}."
    if needed.runtime + needed.served > available:
        return f"{share} The base model alone is too large: choose a smaller one."
    if needed.runtime + needed.weights + needed.adapter > available:
        return f"{share} Lower 'lora.r', set 'quantization', or choose a smaller base model."
    return f"{share} Lower 'max_length' or 'batch_size'."


def refusal(model: str, asked: Asked, data: Data, device: Where, budget: int | None) -> str | None:
    """Why a job cannot end well on ``device``; None where it can, or where that is not known.

    Asked of half the micro-batch: a job that runs out of memory goes on with that by itself.
    """
    try:
        found = architecture(model)
    except UnknownArchitecture:
        return None
    needed = memory(found, asked, data, kind_of(device), budget, halvings=1)
    return why_not(needed, device.memory_bytes)


def kind_of(device: Where) -> Kind:
    return "cpu" if device.kind == "cpu" else "cuda"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
