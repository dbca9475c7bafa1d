import numpy as np
import pytest

from models.constant import ConstantScorer
from models.encoder import Encoder
from models.factory import build
from models.intents import INTENTS
from models.item_store import ItemStore
from models.scorer import Architecture, ScoreRequest, utility


@pytest.mark.parametrize("architecture", ["late_interaction", "cross_encoder", "constant"])
def test_every_scorer_keeps_the_contract(encoder: Encoder, titles: list[str], architecture: Architecture) -> None:
    memory = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=64)
    memory.put_many(range(len(titles)), encoder.encode_items(titles))
    scorer = build(architecture, encoder, memory, titles.__getitem__)
    assert scorer.name == architecture
    assert scorer.version.startswith(architecture)
    [query] = encoder.encode_queries(["toner"])
    sizes = [len(titles), 0, 1]
    scores = scorer.score([ScoreRequest(np.arange(size), query, "toner") for size in sizes])
    for rows, size in zip(scores, sizes, strict=True):
        assert rows.shape == (size, len(INTENTS)) and rows.dtype == np.float32
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_utility_of_nothing_is_nothing() -> None:
    assert utility(np.empty((0, 4), np.float32), {"buy": 1.0}).shape == (0,)


def test_a_misspelt_intent_is_told() -> None:
    with pytest.raises(ValueError, match="byu"):
        utility(ConstantScorer().score([ScoreRequest(np.arange(2))])[0], {"byu": 1.0})
