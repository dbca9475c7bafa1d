"""Trigrams as bits: what they say of two texts, whatever is in them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.trigrams import BITS, share, trigrams

TEXTS = st.text(max_size=60)


@given(TEXTS)
def test_a_text_shares_everything_with_itself(text: str) -> None:
    found = share(trigrams(text), trigrams(text)[None])[0].tolist()
    assert found == ([1.0, 1.0] if text.split() else [0.0, 0.0])


@given(TEXTS, TEXTS, TEXTS)
def test_more_words_only_add_bits(first: str, second: str, query: str) -> None:
    one, both = trigrams(first), trigrams(f"{first} {second}")
    assert (one & both == one).all()
    assert share(trigrams(query), both[None])[0, 0] >= share(trigrams(query), one[None])[0, 0]
    assert (trigrams(f"{second} {first}") == both).all(), "in any order"


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS)
def test_shares_are_those_of_the_sets(items: list[str], query: str) -> None:
    def bits(text: str) -> set[int]:
        return set(np.flatnonzero(np.unpackbits(trigrams(text).view(np.uint8), bitorder="little")).tolist())

    wanted = [
        [
            len(bits(query) & bits(item)) / max(1, len(bits(query))),
            len(bits(query) & bits(item)) / max(1, len(bits(item))),
        ]
        for item in items
    ]
    stacked = np.stack([trigrams(item) for item in items])
    np.testing.assert_allclose(share(trigrams(query), stacked), wanted, rtol=1e-6)
    pairs = np.repeat(trigrams(query)[None], len(items), axis=0)
    np.testing.assert_array_equal(share(pairs, stacked), share(trigrams(query), stacked))


def test_misspelt_words_share_most_of_their_letters() -> None:
    query, items = trigrams("chritstmas outdoor lights"), ["Christmas outdoor light", "Kitchen faucet", "Light bulb"]
    own = [share(query, trigrams(item)[None])[0, 0] for item in items]
    assert own[0] > 0.6 and own[1] < own[2] < 0.35
    assert 8 * trigrams("x").nbytes == BITS
