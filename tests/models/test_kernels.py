import numpy as np
import pytest
import torch

from models.encoded import EncodedItem, fold
from models.item_store import Gathered, ItemStore
from models.kernels import Kernels, KernelTable, QueryTokens, exact, match, term_matches
from models.trigrams import trigrams

EVEN = torch.full((3,), 1 / 3)


def unit(chance: np.random.Generator, *shape: int) -> np.ndarray:
    rows = chance.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def problem() -> tuple[QueryTokens, Gathered]:
    """Items near and far from a query, of 0 to 9 tokens; some of its tokens count more than others."""
    chance = np.random.default_rng(0)
    states = unit(chance, 6, 64)
    memory = ItemStore(64, 64, 9, capacity=64)
    for slot in range(50):
        near = states[chance.integers(0, 6, slot % 10)] + 0.15 * chance.normal(size=(slot % 10, 64))
        near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
        ids = chance.integers(0, 20, slot % 10)
        memory.put(slot, EncodedItem.quantise(near, unit(chance, 64), ids, trigrams(str(slot))))
    weights = torch.arange(1.0, 7.0) / 21
    ids = torch.from_numpy(fold(chance.integers(0, 20, 6)).view(np.int16))
    return QueryTokens(torch.from_numpy(states), weights, ids, weights.flip(0)), memory.gather(np.arange(50))


@pytest.mark.parametrize("int8", [True, False])
def test_the_table_agrees_with_the_formula(problem: tuple[QueryTokens, Gathered], int8: bool) -> None:
    query, items = problem
    slow, slow_best = exact(query, items, Kernels())
    fast, fast_best = KernelTable(Kernels(), int8=int8)(query, items)
    assert (slow_best - fast_best).abs().max() < 0.008
    assert torch.isfinite(fast).all()
    kernels = Kernels().count
    assert (slow - fast)[:, :kernels].abs().max() < 0.01
    assert (slow - fast)[:, kernels:].abs().max() < 0.008
    assert torch.equal(slow[:, -3:], fast[:, -3:])


def test_an_item_without_tokens_matches_nothing(problem: tuple[QueryTokens, Gathered]) -> None:
    query, items = problem
    assert not exact(query, items, Kernels()).features[0].any()
    assert not KernelTable(Kernels(), int8=True)(query, items).features[0].any()


def test_absent_tokens_change_nothing() -> None:
    similarity = torch.rand(3, 4, 5)
    mask = torch.ones(4, 5, dtype=torch.bool)
    wide = torch.cat([similarity, torch.rand(3, 4, 2)], dim=-1)
    wide_mask = torch.cat([mask, torch.zeros(4, 2, dtype=torch.bool)], dim=-1)
    torch.testing.assert_close(match(similarity, mask, EVEN, Kernels()), match(wide, wide_mask, EVEN, Kernels()))


def test_the_reference_is_differentiable() -> None:
    similarity = torch.rand(2, 3, 4, requires_grad=True)
    match(similarity, torch.ones(3, 4, dtype=torch.bool), torch.full((2,), 0.5), Kernels()).sum().backward()
    assert similarity.grad is not None and torch.isfinite(similarity.grad).all()


def test_a_batch_of_queries_at_once_is_each_by_itself() -> None:
    similarity, mask = torch.rand(7, 2, 3, 4), torch.rand(7, 3, 4) > 0.3
    weights = torch.rand(7, 2).softmax(-1)
    together = match(similarity, mask, weights, Kernels())
    for place in range(7):
        torch.testing.assert_close(together[place], match(similarity[place], mask[place], weights[place], Kernels()))


def test_query_tokens_that_are_not_there_change_nothing() -> None:
    similarity, mask = torch.rand(3, 4, 5), torch.ones(4, 5, dtype=torch.bool)
    longer = torch.cat([similarity, torch.rand(2, 4, 5)])
    weights = torch.cat([EVEN, torch.zeros(2)])
    torch.testing.assert_close(match(similarity, mask, EVEN, Kernels()), match(longer, mask, weights, Kernels()))


def test_term_matches_add_up_to_maxsim(problem: tuple[QueryTokens, Gathered]) -> None:
    query, items = problem
    found = term_matches(query, items)
    kernels = Kernels()
    features, best = exact(query, items, kernels)
    torch.testing.assert_close(found.sum((1, 2)), features[:, kernels.count])
    torch.testing.assert_close(found.sum(-1), best.T * query.weights)
    assert ((found != 0).sum(-1) <= 1).all()  # each token of the query has one best match
    assert not found.transpose(1, 2)[items.scales == 0].any()
