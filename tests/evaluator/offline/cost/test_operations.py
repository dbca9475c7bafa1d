"""Operations are counted as the architecture says."""

import torch

from evaluator.offline.cost.operations import ceiling, counted
from models.encoder import Encoder


def test_operations_of_a_bert_pass_are_those_of_its_weights() -> None:
    encoder = Encoder()
    [ids] = encoder.token_ids(["red garden hose"], 16)
    config = encoder.config
    layer = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    linear = 2 * layer * len(ids) * config.num_hidden_layers
    attention = 4 * config.hidden_size * len(ids) ** 2 * config.num_hidden_layers
    done = counted(lambda: encoder.encode_queries(["red garden hose"]))
    assert linear < done <= 1.01 * (linear + attention)


def test_products_of_whole_numbers_count() -> None:
    one, other = torch.ones(32, 16, dtype=torch.int8), torch.ones(16, 8, dtype=torch.int8)
    assert counted(lambda: torch._int_mm(one, other)) == 2 * 32 * 16 * 8


def test_nothing_of_torch_is_nothing() -> None:
    assert counted(lambda: sum(range(9))) == 0
    assert ceiling(0.02) > 1e8
