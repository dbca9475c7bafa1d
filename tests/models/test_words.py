"""Words and the pieces that they were split into."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.encoder import Encoder
from models.words import MOST_NAMED, Words, kept, word_spans, words

TEXTS = st.text("ab9-水管 \t\u00e9", max_size=40)


@given(TEXTS)
def test_words_are_what_stands_between_spaces_and_each_chinese_character(text: str) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == list(words(text))
    assert "".join(words(text)) == "".join(text.split())
    assert all(len(word) == 1 or not set(word) & {"水", "管"} for word in words(text))


@given(TEXTS, st.sets(st.integers(0, 20)))
@example("9水9", {0, 2})
def test_a_text_of_some_words_has_just_these(text: str, places: set[int]) -> None:
    assert list(words(kept(text, places))) == [word for place, word in enumerate(words(text)) if place in places]
    assert kept(text, range(40)) == " ".join(text.split())


@given(st.text(max_size=60), st.integers(1, 12))
def test_sums_over_words_lose_nothing(encoder: Encoder, text: str, limit: int) -> None:
    [found] = encoder.words([text], limit)
    values = np.arange(1.0, len(found.owner) + 1)
    assert found.sums(values).sum() == pytest.approx(values[found.owner >= 0].sum())
    assert len(found.owner) <= limit and found.text == text.encode("utf-8", "replace").decode()[: len(found.text)]
    assert len(found.spans) == (found.owner.max(initial=-1) + 1)
    assert len(found.owner) == len(encoder.encode_queries([text])[0].ids[:limit]) or limit > encoder.max_query_tokens


def test_the_words_named_are_near_known_and_the_best_first() -> None:
    pieces = [(0, 1), (2, 4), (5, 6), (7, 9), (10, 11), (11, 12), (13, 15)]
    asked = Words.of("a bb - cc 水管 dd", pieces, [True, True, True, False, True, True, True])
    even = np.full(7, 1 / 7)
    near = np.array([[0.65, 0.9, 0.99, 0.99, 0.7, 0.75, 0.59]])
    [named] = asked.named(near * even, even)
    assert [one.text for one in named] == ["水管", "bb", "a"], "touching words are one; no dash, no unknown, none far"
    assert [one.places for one in named] == [(4, 5), (1,), (0,)]
    assert len(named) == MOST_NAMED


def test_a_piece_without_weight_names_nothing() -> None:
    asked = Words.of("a b", [(0, 1), (2, 3)])
    [named] = asked.named(np.array([[0.0, 0.9]]), np.array([0.0, 1.0]))
    assert [one.text for one in named] == ["b"]
