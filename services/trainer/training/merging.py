"""LoRA layers as single matrix products, of weights into which the adapter is merged at each step.

W' = W + s · B A is made once an optimizer step and serves all its tokens. PEFT adds s · B (A x) to
W x instead, at every token: cheap in operations, dear in memory, which every thin product reads and
every sum writes. Gradients are those of the same function, to what rounding leaves:

    ∂/∂x = W'ᵀ g        ∂/∂B = s · g (A x)ᵀ        ∂/∂A = s · (Bᵀ g) xᵀ
"""

import types
from collections.abc import Sequence
from typing import Any, Self

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from torch.nn.functional import linear
from transformers import TrainerCallback

ADAPTER = "default"
"""PEFT's name for an adapter that was given none."""


class _Product(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        merged: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, merged, a, b)
        ctx.scaling = scaling
        return linear(x, merged, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, merged, a, b = ctx.saved_tensors
        for_x = gradient @ merged if ctx.needs_input_grad[0] else None
        g, x = gradient.flatten(0, -2), x.flatten(0, -2)
        for_a = (g @ (b * ctx.scaling)).t() @ x
        # Transposed: MKL takes half as long for a product of few rows as for one of few columns.
        for_b = ((x @ (a.t() * ctx.scaling)).t() @ g).t()
        return for_x, None, None, for_a, for_b, None


class Merged(TrainerCallback):  # type: ignore[misc]
    """The LoRA layers of a model, computed with merged weights from now on.

    As a callback of its ``Trainer`` it merges anew what a checkpoint or an optimizer has changed;
    torch's own count of a tensor's changes leaves a fused optimizer's out. The base model's weights
    are kept beside, in bfloat16 where that loses nothing.
    """

    def __init__(self, layers: Sequence[Linear]) -> None:
        self._layers = [(layer, _kept(layer.base_layer.weight.data)) for layer in layers]
        for layer in layers:
            layer.forward = types.MethodType(_forward, layer)
        self.merge()

    @classmethod
    def of(cls, model: PeftModel) -> Self | None:
        """None unless every LoRA layer is a plain one of float32 (see ``batching.merges``), whose
        weights are not the vocabulary's as well: a head's often are."""
        layers = [module for module in model.modules() if isinstance(module, Linear)]
        vocabulary = model.get_base_model().get_input_embeddings().weight
        if any(layer.base_layer.weight is vocabulary for layer in layers):
            return None
        return cls(layers) if layers and all(map(_is_plain, layers)) else None

    def merge(self) -> None:
        for layer, own in self._layers:
            a, b = layer.lora_A[ADAPTER].weight.data, layer.lora_B[ADAPTER].weight.data
            weight = layer.base_layer.weight.data
            weight.copy_(own).addmm_(b, a, alpha=layer.scaling[ADAPTER])

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.merge()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.merge()


def _is_plain(layer: Linear) -> bool:
    return (
        type(layer) is Linear
        and type(layer.base_layer) is torch.nn.Linear
        and layer.base_layer.weight.dtype == torch.float32
        and list(layer.lora_A) == [ADAPTER]
        and not layer.lora_variant  # DoRA and its like
        and not layer.lora_bias[ADAPTER]
        and not layer.fan_in_fan_out
        and isinstance(layer.lora_dropout[ADAPTER], torch.nn.Identity)
    )


def _kept(weight: torch.Tensor) -> torch.Tensor:
    halved = weight.bfloat16()
    return halved if torch.equal(halved.float(), weight) else weight.clone()


def _forward(layer: Linear, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base, a, b = layer.base_layer, layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
    product: torch.Tensor = _Product.apply(
        x, base.weight, base.bias, a.weight, b.weight, layer.scaling[ADAPTER]
    )
    return product
