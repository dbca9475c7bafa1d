import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog.vector_index import VectorIndex

DIM = 16


def vectors(n: int, seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_finds_what_exact_search_finds() -> None:
    centres, rng = vectors(50), np.random.default_rng(1)
    items = centres[rng.integers(0, 50, 2_000)] + 0.3 * vectors(2_000, 2)
    index = VectorIndex(DIM)
    index.put_many(np.arange(2_000), items)
    queries = centres[:20]
    exact = np.argsort(-(queries @ (items / np.linalg.norm(items, axis=1, keepdims=True)).T), axis=1)[:, :10]
    found = index.search(queries, 60)
    recall = np.mean([len(set(near) & set(true)) / 10 for near, true in zip(found, exact, strict=True)])
    assert recall > 0.95


def test_best_first_int64_and_float16_in() -> None:
    index = VectorIndex(DIM)
    index.put_many([3, 4], np.eye(DIM, dtype=np.float16)[:2])
    query = np.zeros((1, DIM), dtype=np.float16)
    query[0, :2] = 0.1, 0.9
    (found,) = index.search(query, 2)
    assert found.dtype == np.int64
    assert found.tolist() == [4, 3]


def test_empty_index_no_queries_and_k_beyond_size() -> None:
    index = VectorIndex(DIM)
    assert [found.tolist() for found in index.search(vectors(2), 5)] == [[], []]
    index.put_many([], np.empty((0, DIM), dtype=np.float32))
    index.put(9, vectors(1)[0])
    assert index.search(vectors(0), 5) == []
    assert [found.tolist() for found in index.search(vectors(2), 5)] == [[9], [9]]
    assert [found.tolist() for found in index.search(vectors(1), 0)] == [[]]


def test_a_slot_named_twice_holds_the_last() -> None:
    index = VectorIndex(DIM)
    index.put_many([1, 2, 1], np.eye(DIM, dtype=np.float32)[:3])
    assert len(index) == 2
    assert index.search(np.eye(DIM, dtype=np.float32)[2:3], 1)[0].tolist() == [1]


@pytest.mark.parametrize("aimless", [np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf)])
def test_what_has_no_direction_empties_its_slot_and_spoils_no_other(aimless: np.ndarray) -> None:
    index = VectorIndex(DIM)
    index.put(1, vectors(1)[0])
    index.put_many([1, 2, 3], np.stack([aimless, vectors(2)[1], aimless]))
    assert [found.tolist() for found in index.search(vectors(1), 5)] == [[2]]


@pytest.mark.parametrize("matrix", [np.ones((1, DIM - 1)), np.ones((2, DIM)), np.ones(DIM)])
def test_refuses_shapes_that_do_not_fit(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matrix of"):
        VectorIndex(DIM).put_many([1], matrix)


def test_an_aimless_query_finds_nothing_and_spoils_no_other() -> None:
    index = VectorIndex(DIM)
    index.put_many(np.arange(5), vectors(5))
    queries = np.stack([np.zeros(DIM), vectors(5)[3], np.full(DIM, np.nan)])
    found = index.search(queries, 1)
    assert [near.tolist() for near in found] == [[], [3], []]


def test_recall_and_memory_survive_churn() -> None:
    n, rng = 1_000, np.random.default_rng(3)
    held = vectors(n)
    index = VectorIndex(DIM)
    index.put_many(np.arange(n), held)
    before = index.nbytes
    for turn in range(6):
        changed = rng.permutation(n)[: n // 2]
        held[changed] = vectors(len(changed), turn + 10)
        index.put_many(changed, held[changed])
    exact = (vectors(50, 99) @ held.T).argmax(axis=1)
    found = index.search(vectors(50, 99), 20)
    assert len(index) == n
    assert index.nbytes < 1.5 * before
    assert np.mean([best in near for best, near in zip(exact, found, strict=True)]) > 0.95


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 15)), max_size=60))
def test_holds_exactly_what_was_put_and_not_dropped(changes: list[tuple[bool, int]]) -> None:
    index, held, pool = VectorIndex(DIM), set[int](), vectors(16)
    for put, slot in changes:
        if put:
            index.put(slot, pool[slot])
            held.add(slot)
        else:
            index.drop(slot)
            held.discard(slot)
    (found,) = index.search(pool[:1], 50)
    assert len(index) == len(held)
    assert sorted(found.tolist()) == sorted(held)


def test_what_was_found_is_found_again_until_the_index_changes() -> None:
    index = VectorIndex(3)
    index.put_many([1, 2], np.eye(3, dtype=np.float32)[:2])
    asked = np.float32([[1, 0.5, 0]])
    assert [index.search(asked, 2)[0].tolist() for _ in range(2)] == [[1, 2], [1, 2]]
    index.put(3, np.float32([1, 0.5, 0]))
    assert index.search(asked, 2)[0].tolist() == [3, 1]
    index.drop(1)
    assert index.search(asked, 2)[0].tolist() == [3, 2]
    assert index.search(asked, 1)[0].tolist() == [3]
