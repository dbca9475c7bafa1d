"""Every kind changes what it says and nothing else, by the seed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.gate.typing_errors import KINDS, NEIGHBOURS, perturb


def some(text: str, kind: str) -> set[str]:
    return {perturb(text, kind, random.Random(seed)) for seed in range(60)}


def test_a_typo_swaps_loses_or_doubles_a_letter_but_not_a_words_first() -> None:
    assert some("hose", "typo") == {"hsoe", "hse", "hoose", "hoes", "hoe", "hosse"}
    assert some("a 12 bc", "typo") == {"a 12 bc"}


def test_a_key_beside_is_hit() -> None:
    assert NEIGHBOURS["g"] == "tyfhvb" and NEIGHBOURS["q"] == "wa" and NEIGHBOURS["m"] == "jkn"
    assert some("g1", "keyboard") == {f"{letter}1" for letter in "tyfhvb"}
    assert some("12", "keyboard") == {"12"}


def test_case_words_and_spaces() -> None:
    assert some("red hose", "case") == {"RED HOSE", "Red Hose"}
    assert some("red hose", "words left out") == {"red", "hose"} and some("hose", "words left out") == {"hose"}
    assert all(text.split() == ["red", "hose"] and text != "red hose" for text in some("red hose", "spaces"))


@given(st.text(), st.sampled_from(KINDS), st.integers())
def test_any_text_is_taken_and_the_seed_decides(text: str, kind: str, seed: int) -> None:
    assert perturb(text, kind, random.Random(seed)) == perturb(text, kind, random.Random(seed))


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(ValueError, match="typo, keyboard"):
        perturb("hose", "rot13", random.Random(0))
