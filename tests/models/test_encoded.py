import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.encoded import EncodedError, EncodedItem, quantise
from models.trigrams import trigrams

FLOATS = st.floats(-1, 1, width=32)


@st.composite
def items(draw: st.DrawFn) -> EncodedItem:
    count, dim = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    tokens = draw(arrays.arrays(np.float32, (count, dim), elements=FLOATS))
    pooled = draw(arrays.arrays(np.float32, dim, elements=FLOATS))
    ids = draw(st.lists(st.integers(0, 2**18), min_size=count, max_size=count))
    return EncodedItem.quantise(tokens, pooled, ids, trigrams(draw(st.text())))


@settings(deadline=None)
@given(items())
def test_wire_round_trip(item: EncodedItem) -> None:
    again = EncodedItem.from_bytes(item.to_bytes())
    assert again.to_bytes() == item.to_bytes()
    for name in ("tokens", "scales", "pooled", "ids", "trigrams"):
        np.testing.assert_array_equal(getattr(again, name), getattr(item, name))


@settings(deadline=None)
@given(items(), st.data())
def test_cut_or_stretched_bytes_are_refused(item: EncodedItem, data: st.DataObject) -> None:
    whole = item.to_bytes()
    with pytest.raises(EncodedError):
        EncodedItem.from_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(EncodedError):
        EncodedItem.from_bytes(whole + b"\0")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_never_worse(data: bytes) -> None:
    with contextlib.suppress(EncodedError):
        EncodedItem.from_bytes(data)


def test_non_finite_numbers_are_refused() -> None:
    item = EncodedItem(
        np.ones((1, 2), np.int8),
        np.full(1, np.nan, np.float16),
        np.zeros(2, np.float16),
        np.ones(1, np.uint16),
        trigrams("tap"),
    )
    with pytest.raises(EncodedError, match="finite"):
        EncodedItem.from_bytes(item.to_bytes())


@settings(deadline=None)
@given(arrays.arrays(np.float32, (3, 5), elements=FLOATS))
def test_quantisation_is_off_by_half_a_step_at_most(rows: np.ndarray) -> None:
    values, scales = quantise(rows)
    # The float16 scale may fall short of peak / 127 by 2^-11 of it, which clips at most 0.07 of a step.
    assert (np.abs(values * scales[:, None] - rows) <= 0.57 * scales[:, None] + 1e-7).all()
