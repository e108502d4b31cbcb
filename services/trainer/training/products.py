"""Products with frozen weights by oneDNN, on CPUs that MKL was not made for.

torch has both libraries and multiplies float32 matrices by Intel's MKL. On an AMD CPU oneDNN takes
a fifth less for the few tokens of a small step, and not more for many (docs/performance.md).
"""

import types
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")

_library = torch.library.Library("fineproof", "DEF")
_library.define("product(Tensor x, Tensor weight, Tensor? bias, bool transposed) -> Tensor")
"""One operator to torch.compile, which would copy a transposed weight for oneDNN's."""


def _product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    weight = weight.t() if transposed else weight
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, "none", [], ""
    )
    return product


def _shape(
    x: torch.Tensor, weight: torch.Tensor, _bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1 if transposed else 0]))


_library.impl("product", _product, "CPU")
torch.library.register_fake("fineproof::product", _shape, lib=_library)


class _Frozen(torch.autograd.Function):  # type: ignore[misc]
    """x Wᵀ + b, with a gradient for x alone: g W."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        product: torch.Tensor = torch.ops.fineproof.product(x, weight, bias, False)
        return product

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return torch.ops.fineproof.product(gradient, weight, None, True), None, None


def is_faster_here() -> bool:
    """Measured on AMD's CPUs; on Intel's, MKL is left to do what it is made for."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    return CPUINFO.exists() and "AuthenticAMD" in CPUINFO.read_text()


def by_onednn(model: torch.nn.Module) -> None:
    """Let the plain linear layers of ``model`` whose weights are frozen, in float32, use it."""
    for module in model.modules():
        if (
            type(module) is torch.nn.Linear
            and module.weight.dtype == torch.float32
            and not any(weight.requires_grad for weight in module.parameters())
        ):
            module.forward = types.MethodType(_forward, module)


def _forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    product: torch.Tensor = _Frozen.apply(x, layer.weight, layer.bias)
    return product
