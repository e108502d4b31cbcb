"""Products by oneDNN: torch's own results, where the CPU is one that wants them."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import linear

from services.trainer.training import products
from services.trainer.training.products import by_onednn, is_faster_here
from tests.services.trainer.training.tuned import (
    assert_alike,
    batch,
    examples,
    gradients,
    tuned,
)


def on_cpu_of(vendor: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = folder / "cpuinfo"
    told.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(products, "CPUINFO", told)


def test_a_model_has_the_same_loss_and_gradients(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    inputs = batch(examples(model.config.vocab_size))
    loss = model(**inputs).loss
    loss.backward()
    expected = gradients(model)
    by_onednn(model)
    found = model(**inputs).loss
    assert found.grad_fn is not None
    found.backward()
    assert found.item() == pytest.approx(loss.item(), abs=1e-5)
    assert_alike(gradients(model), expected, rtol=1e-3)


def test_only_frozen_layers_use_it(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    by_onednn(model)
    changed = {
        name: module.weight.requires_grad
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "forward" in vars(module)
    }
    assert any(name.endswith("lm_head") for name in changed)
    assert any(name.endswith("q_proj.base_layer") for name in changed)
    assert not any(changed.values())


@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (0, 24)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_layer_gives_what_torch_gives(shape: tuple[int, ...], biased: bool) -> None:
    layer = torch.nn.Linear(24, 40, bias=biased).requires_grad_(False)
    x = torch.randn(shape, requires_grad=True)
    up = torch.randn((*shape[:-1], 40))
    expected = linear(x, layer.weight, layer.bias)
    (for_x,) = torch.autograd.grad(expected, x, up)
    by_onednn(layer)
    found = layer(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, x, up)[0], for_x)


@pytest.mark.parametrize("transposed", [True, False])
def test_torch_compile_is_told_the_truth_about_it(transposed: bool) -> None:
    weight = torch.randn((24, 40) if transposed else (40, 24))
    arguments = (torch.randn(2, 3, 24), weight, None, transposed)
    torch.library.opcheck(torch.ops.fineproof.product.default, arguments)


@pytest.mark.parametrize(("vendor", "faster"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_the_cpu_decides(
    vendor: str, faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu_of(vendor, tmp_path, monkeypatch)
    assert is_faster_here() is faster
    monkeypatch.setattr(products, "CPUINFO", tmp_path / "none")
    assert not is_faster_here()
