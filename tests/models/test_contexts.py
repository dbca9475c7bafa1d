"""The features that do not depend on words, computed for many contexts at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contexts import CONTEXT_FEATURES, LONG_QUERY, TOPICS, Contexts, Topics, context_features
from models.encoded import EncodedItem
from models.item_store import ItemStore
from models.trigrams import trigrams

DIM, SLOTS = 24, 9_000


@pytest.fixture(scope="module")
def store() -> ItemStore:
    """Items in blocks; two of them would have their topics kept in the same place."""
    memory, chance = ItemStore(DIM, 4, 2, capacity=6_000), np.random.default_rng(0)
    for slot in (*range(20), 4_096, 5_999, 6_000, SLOTS - 1):
        tokens, pooled = chance.normal(size=(1, 4)), chance.normal(size=DIM)
        memory.put(slot, EncodedItem.quantise(tokens.astype(np.float32), pooled.astype(np.float32), [1], trigrams("a")))
    return memory


CONTEXTS = st.lists(
    st.tuples(
        st.integers(-1, 2),
        st.integers(0, 9),
        st.lists(st.sampled_from([0, 1, 2, 19, 4_096, 5_999, 6_000, 7_000, SLOTS - 1]), max_size=12),
    ),
    max_size=5,
)


@given(seed=st.integers(0, 99), cases=CONTEXTS)
def test_many_contexts_at_once_are_each_as_numpy_says(
    store: ItemStore, seed: int, cases: list[tuple[int, int, list[int]]]
) -> None:
    chance = np.random.default_rng(seed)
    rows = [past for _, past, _ in cases]
    slots = np.array([slot for _, _, own in cases for slot in own], np.int64)
    owner = np.repeat(np.arange(len(cases)), [len(own) for _, _, own in cases])

    def drawn(*shape: int) -> np.ndarray:
        return chance.normal(size=shape).astype(np.float32)

    contexts = Contexts(
        drawn(3, DIM),
        np.array([1, 4, 30]),
        np.array([query for query, _, _ in cases], np.int64),
        drawn(sum(rows), DIM),
        chance.random(sum(rows)).astype(np.float32),
        np.cumsum([0, *rows]),
        drawn(len(slots)),
    )
    topics = Topics(drawn(TOPICS, DIM), drawn(TOPICS), drawn(TOPICS, DIM), drawn(TOPICS))
    out = np.zeros((len(slots), 3 + 2 * TOPICS + len(CONTEXT_FEATURES)), np.float32)
    with store.read(slots) as items:
        for part in items:
            context_features(contexts, topics, part, owner, out, 3)
    assert not out[:, :3].any()
    vectors = store.pooled(slots)
    for row, (context, vector) in enumerate(zip(owner.tolist(), vectors, strict=True)):
        query, start, end = contexts.asked[context], contexts.ends[context], contexts.ends[context + 1]
        pooled = contexts.queries[query] if query >= 0 else np.zeros(DIM, np.float32)
        weights = contexts.weights[start:end]
        weighted = contexts.history[start:end] @ vector * weights
        past = (weighted.max(), weighted.sum() / weights.sum()) if end > start else (0.0, 0.0)
        length = contexts.lengths[query] / LONG_QUERY if query >= 0 else 0
        wanted = [
            *(topics.query @ pooled + topics.query_bias),
            *(topics.item @ vector + topics.item_bias),
            *(vector @ pooled, *past, contexts.popularity[row], query >= 0, end > start, length),
        ]
        np.testing.assert_allclose(out[row, 3:], wanted, atol=1e-4)
