"""Packed layers answer as the layers they stand in for."""

import pytest
import torch
from torch import nn

from models import cpu
from models.reader import PackedLinear, pack_linears

needs_bfloat16 = pytest.mark.skipif("bfloat16" not in cpu.features(), reason="this processor has no bfloat16")


@needs_bfloat16
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 384), (1, 7, 384), (3, 64, 384)])
def test_same_as_linear(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(384, 96, bias=bias, dtype=torch.bfloat16)
    values = torch.randn(shape, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected = nn.functional.linear(
            values.float(), linear.weight.float(), None if linear.bias is None else linear.bias.float()
        )
        torch.testing.assert_close(PackedLinear(linear)(values).float(), expected, atol=0.02, rtol=0.01)


@needs_bfloat16
def test_only_bfloat16_layers_are_replaced() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8, dtype=torch.bfloat16)))
    assert pack_linears(model) == 1
    assert isinstance(model[0], nn.Linear) and isinstance(model[1][0], PackedLinear)
