"""Packed layers answer as the layers they stand in for."""

import pytest
import torch
from torch import nn

from models import cpu
from models.layers import PackedLinear, PackedRows, pack_linears
from models.reader import pack

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


def test_layers_of_numbers_that_the_processor_does_not_multiply_stay() -> None:
    model = nn.Sequential(nn.Linear(8, 8, dtype=torch.float64), nn.Sequential(nn.Linear(8, 8)))
    assert pack_linears(model) == 1
    assert isinstance(model[0], nn.Linear) and isinstance(model[1][0], PackedLinear)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_same_as_transformers(kind: str, activation: str) -> None:
    """Owners, positions, activations and residuals, packed and not, for texts that share rows and for one alone."""
    from transformers import AutoConfig, AutoModel

    sizes = {"vocab_size": 90, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"intermediate_size": 96, "max_position_embeddings": 40, "hidden_act": activation, "pad_token_id": 1}
    torch.manual_seed(0)
    bert = AutoModel.from_config(AutoConfig.for_model(kind, **sizes, **more)).eval()
    texts = [[5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [15, 16]]
    with torch.inference_mode():
        expected = [bert(input_ids=torch.tensor([text])).last_hidden_state[0] for text in texts]
        rows = PackedRows(bert)
        for packed in (False, True):
            if packed:
                assert pack_linears(rows) == 8
            ids, owner, position = map(torch.from_numpy, pack(texts, 7))
            states = rows(ids, owner, position)
            for number, text in enumerate(texts):
                torch.testing.assert_close(states[owner == number], expected[number], atol=1e-5, rtol=1e-5)
                alone = rows(torch.tensor([text]), None, torch.arange(len(text))[None])
                torch.testing.assert_close(alone[0], expected[number], atol=1e-5, rtol=1e-5)
