"""A BERT model small enough to compile in seconds."""

import pytest
import torch

from models.layers import PackedRows
from models.reader import NOWHERE, pack


@pytest.fixture(scope="session")
def rows() -> PackedRows:
    """Two layers, 64 dimensions, seeded weights."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PackedRows(BertModel(config, add_pooling_layer=False)).eval()


def inputs(lengths: list[int], width: int = 64) -> tuple[torch.Tensor, ...]:
    """Rows of texts of these lengths, as :class:`PackedRows` takes them."""
    chance = torch.Generator().manual_seed(sum(lengths))
    texts = [torch.randint(1, 500, (length,), generator=chance).tolist() for length in lengths]
    return tuple(torch.from_numpy(part) for part in pack(texts, width))


def example() -> tuple[torch.Tensor, ...]:
    """Two rows and more, to compile for."""
    return inputs([40] * 3)


def content(states: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Unit-norm states of what belongs to a text, [n, D]."""
    return torch.nn.functional.normalize(states.float()[owner.cpu() != NOWHERE[1]], dim=-1)
