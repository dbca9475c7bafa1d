import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.encoded import EncodedItem
from models.item_store import ItemStore, restore
from models.trigrams import trigrams


def item(seed: int, count: int = 3, dim: int = 4) -> EncodedItem:
    chance = np.random.default_rng(seed)
    tokens = chance.normal(size=(count, dim)).astype(np.float32)
    return EncodedItem.quantise(
        tokens, chance.normal(size=dim).astype(np.float32), chance.integers(0, 99, count), trigrams(str(count))
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(0, 99))), max_size=30),
    st.sampled_from([4, 64]),
)
def test_it_holds_what_a_dictionary_would(steps: list[tuple[int, int | None]], capacity: int) -> None:
    memory, expected = ItemStore(4, 4, 3, capacity=capacity), dict[int, EncodedItem]()
    memory.put(20, item(0))
    memory.drop(20)
    for slot, seed in steps:
        if seed is None:
            memory.drop(slot)
            expected.pop(slot, None)
        else:
            expected[slot] = item(seed, seed % 4)
            memory.put(slot, expected[slot])
    assert len(memory) == len(expected)
    assert memory.nbytes == len(expected) * memory.bytes_per_item
    slots = np.arange(21)
    gathered = memory.gather(slots)
    for slot in slots.tolist():
        stored = expected.get(slot)
        count = 0 if stored is None else len(stored.tokens)
        assert int((gathered.scales[slot] > 0).sum()) == count
        if stored is None:
            assert not memory.pooled(np.array([slot])).any()
        else:
            np.testing.assert_array_equal(gathered.tokens[slot, :count].numpy(), stored.tokens)
            np.testing.assert_array_equal(gathered.ids[slot].numpy()[:count].view(np.uint16), stored.ids)
            assert not gathered.ids[slot].numpy()[count:].any()
            np.testing.assert_array_equal(memory.pooled(np.array([slot]))[0], stored.pooled.astype(np.float32))
            assert memory.get(slot).to_bytes() == stored.to_bytes()


def test_what_was_first_asked_for_in_inference_mode_can_be_changed() -> None:
    memory = ItemStore(4, 4, 3, capacity=4)
    with torch.inference_mode():
        memory.gather(np.array([0]))
    memory.put(1, item(1))
    memory.drop(1)
    assert not memory.pooled(np.array([1])).any()


@pytest.mark.parametrize("attached", [0, 3])
def test_arrays_go_from_one_store_to_another(attached: int) -> None:
    first, other = ItemStore(4, 4, 3, capacity=2), ItemStore(4, 4, 3, capacity=2)
    for slot in range(attached):
        first.put(slot, item(slot))
    pieces = first.arrays(3)
    other.gather(np.array([0]))
    other.attach({part: np.concatenate(some) for part, some in pieces.items()}, first.used(3))
    assert len(other) == attached
    for memory in (first, other):
        memory.put(5, item(9))
    slots = np.arange(6)
    assert (first.pooled(slots) == other.pooled(slots)).all()
    assert (first.gather(slots).tokens == other.gather(slots).tokens).all()
    with pytest.raises(ValueError, match="do not fit a store of"):
        other.attach({part: np.concatenate(some) for part, some in pieces.items()}, first.used(3))


def test_longer_items_are_cut() -> None:
    memory = ItemStore(4, 4, 2, capacity=2)
    memory.put(0, item(1, count=5))
    assert int((memory.gather(np.array([0])).scales > 0).sum()) == 2


def test_what_does_not_fit_is_refused() -> None:
    memory = ItemStore(4, 4, 2, capacity=2)
    with pytest.raises(ValueError, match="5 dimensions"):
        memory.put(0, item(1, dim=5))
    with pytest.raises(ValueError, match="negative"):
        memory.put(-1, item(1))


def test_nothing_asked_nothing_given() -> None:
    assert ItemStore(4, 4, 2).pooled(np.array([], np.int64)).shape == (0, 4)


@pytest.mark.parametrize("slots", [[-1], [0, 4]])
def test_slots_that_are_nowhere_are_refused(slots: list[int]) -> None:
    memory = ItemStore(4, 4, 2, capacity=2)
    memory.put(3, item(1))
    with pytest.raises(IndexError):
        memory.pooled(np.array(slots))
    with pytest.raises(IndexError), memory.read(np.array(slots)):
        pass


def test_every_finite_half_is_restored_as_numpy_does() -> None:
    halves = np.arange(2**16, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    found = np.empty(len(halves), np.float32)
    restore(halves, found)
    assert found.tobytes() == halves.view(np.float16).astype(np.float32).tobytes()
