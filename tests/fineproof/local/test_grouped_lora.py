import pytest
import torch

from fineproof.local.grouped_lora import add_grouped, groups_of, register

SLOTS, RANK, IN, WIDTHS = 3, 4, 10, (6, 2)


@pytest.fixture
def weights() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(0)
    a = [torch.randn(SLOTS, 1, RANK, IN) for _ in WIDTHS]
    b = [torch.randn(SLOTS, 1, width, RANK) for width in WIDTHS]
    return a, b


def by_definition(y, x, indices, a, b, scale):  # type: ignore[no-untyped-def]
    """Row by row, as the formula says."""
    expected = y.clone()
    for row, slot in enumerate(indices.tolist()):
        if slot < 0:
            continue
        delta = [scale * (b[n][slot, 0] @ (a[n][slot, 0] @ x[row])) for n in range(len(WIDTHS))]
        expected[row] += torch.cat(delta)
    return expected


@pytest.mark.parametrize(
    "indices",
    [[0, 0, 0], [2, -1, 0, 2, 1, -1], [-1, -1], [1], [-1, 2]],
    ids=["one adapter", "all mixed", "base alone", "one token", "base and last slot"],
)
def test_each_token_gets_its_own_adapter_and_the_base_none(weights, indices) -> None:  # type: ignore[no-untyped-def]
    a, b = weights
    slots = torch.tensor(indices)
    x, y = torch.randn(len(indices), IN), torch.randn(len(indices), sum(WIDTHS))
    expected = by_definition(y, x, slots, a, b, scale=2.0)
    add_grouped(y, x, groups_of(slots), a, b, WIDTHS, scale=2.0)
    torch.testing.assert_close(y, expected)


def test_agrees_with_vllms_own_operations_where_those_are_right(weights) -> None:  # type: ignore[no-untyped-def]
    from vllm.lora.ops.torch_ops import bgmv_expand_slice, bgmv_shrink

    a, b = weights
    slots = torch.tensor([0, 2, 1, 1, 0])
    x, y = torch.randn(5, IN), torch.randn(5, sum(WIDTHS))
    expected, start = y.clone(), 0
    for n, width in enumerate(WIDTHS):
        shrunk = torch.zeros(5, RANK)
        bgmv_shrink(x, a[n], shrunk, slots, 0.5)
        bgmv_expand_slice(shrunk, b[n], expected, slots, start, width)
        start += width
    add_grouped(y, x, groups_of(slots), a, b, WIDTHS, scale=0.5)
    torch.testing.assert_close(y, expected)


def test_vllm_takes_it_on_a_cpu() -> None:
    from vllm.platforms import current_platform
    from vllm.utils.import_utils import resolve_obj_by_qualname

    register()
    chosen = resolve_obj_by_qualname(current_platform.get_punica_wrapper())
    assert chosen.__name__ == "GroupedPunicaWrapper"
