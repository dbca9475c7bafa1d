import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.encoded import EncodedItem, fold, quantise
from models.item_store import Gathered, ItemStore
from models.kernels import NO_TOKEN, Kernels, KernelTable, QueryBatch, QueryTokens, exact, match, term_matches
from models.trigrams import share, trigrams

EVEN = torch.full((3,), 1 / 3)


def unit(chance: np.random.Generator, *shape: int) -> np.ndarray:
    rows = chance.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def store() -> ItemStore:
    """Items of 0 to 9 tokens, some of them alike, in blocks of 16."""
    chance = np.random.default_rng(0)
    memory = ItemStore(64, 64, 9, capacity=16)
    for slot in range(50):
        ids = chance.integers(0, 20, slot % 10)
        memory.put(slot, EncodedItem.quantise(near(chance, slot % 10), unit(chance, 64), ids, trigrams(str(slot))))
    return memory


STATES = unit(np.random.default_rng(1), 6, 64)


def near(chance: np.random.Generator, count: int) -> np.ndarray:
    """Token states that are near some of :data:`STATES`."""
    rows = STATES[chance.integers(0, 6, count)] + 0.15 * chance.normal(size=(count, 64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def asked(seed: int, lengths: list[int]) -> QueryTokens:
    """Queries of so many tokens, padded; some tokens count more than others."""
    chance = np.random.default_rng(seed)
    there = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    states = torch.from_numpy(np.stack([near(chance, max(lengths)) for _ in lengths])) * there[..., None]
    weights = (torch.rand(there.shape, generator=torch.Generator().manual_seed(seed)) + 0.1) * there
    weights = weights / weights.sum(-1, keepdim=True)
    ids = torch.from_numpy(fold(chance.integers(0, 20, there.shape)).view(np.int16)).masked_fill(~there, NO_TOKEN)
    return QueryTokens(states, weights, ids, weights.flip(0) * there / (weights.flip(0) * there).sum(-1, keepdim=True))


def rounded(query: QueryTokens) -> QueryTokens:
    """The query in the int8 steps that it is matched in."""
    values, scales = quantise(query.states.numpy())
    return dataclasses.replace(query, states=torch.from_numpy(values * scales[:, None]))


@pytest.fixture
def problem(store: ItemStore) -> tuple[QueryTokens, Gathered]:
    return asked(0, [6]).one(0, 6), store.gather(np.arange(50))


@given(
    seed=st.integers(0, 9),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 63)), max_size=40),
)
def test_pairs_matched_at_once_are_each_as_the_formula_says(
    store: ItemStore, seed: int, lengths: list[int], pairs: list[tuple[int, int]]
) -> None:
    queries, bits = asked(seed, lengths), np.stack([trigrams(f"{number} 3{seed}") for number in range(len(lengths))])
    owner = np.array([query % len(lengths) for query, _ in pairs], np.int64)
    slots = np.array([slot for _, slot in pairs], np.int64)
    with store.read(slots) as items:
        found = KernelTable(Kernels()).match(QueryBatch.of(queries, np.array(lengths), bits), items, owner)
    count = Kernels().count
    assert found.features.shape == (len(pairs), count + 7) and found.pieces.shape == (len(pairs), max(lengths))
    for row, (query, slot) in enumerate(zip(owner.tolist(), slots.tolist(), strict=True)):
        one, item = rounded(queries.one(query, lengths[query])), store.gather(np.array([slot]))
        features, best = exact(one, item, Kernels())
        # Half a step of the table is 0.0005, a kernel's slope up to 6, and logarithms of counts grow more slowly.
        np.testing.assert_allclose(found.features[row, :count], features[0, :count], atol=0.007)
        np.testing.assert_allclose(found.features[row, count : count + 2], features[0, count : count + 2], atol=1e-5)
        np.testing.assert_allclose(found.features[row, count + 2 : count + 5], features[0, count + 2 :], atol=1e-6)
        wanted = share(bits[query], item.trigrams.numpy().view(np.uint64)[0])
        np.testing.assert_allclose(found.features[row, count + 5 :], wanted, atol=1e-6)
        added = (best[:, 0] * one.weights).numpy()
        np.testing.assert_allclose(found.pieces[row], np.pad(added, (0, max(lengths) - len(added))), atol=1e-5)


def test_a_query_that_is_not_finite_gives_no_number(store: ItemStore) -> None:
    queries = QueryBatch.of(asked(0, [3]), np.array([3]), trigrams("a")[None])
    queries.scales[0, 1] = np.nan
    with store.read(np.arange(1, 50)) as items:
        found = KernelTable(Kernels()).match(queries, items, np.zeros(49, np.int64))
    tokens = [slot % 10 > 0 for slot in range(1, 50)]
    assert np.isnan(found.features[:, Kernels().count]).tolist() == tokens


def test_an_item_without_tokens_matches_nothing(problem: tuple[QueryTokens, Gathered], store: ItemStore) -> None:
    query, items = problem
    assert not exact(query, items, Kernels()).features[0].any()
    with store.read(np.array([0])) as parts:
        queries = QueryBatch.of(asked(0, [6]), np.array([6]), trigrams("0")[None])
        found = KernelTable(Kernels()).match(queries, parts, np.zeros(1, np.int64))
    assert not found.features[0, :-2].any() and found.features[0, -2:].tolist() == [1.0, 1.0]


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
