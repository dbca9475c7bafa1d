"""What every perturbation keeps to, found by itself: any text is taken, the seed decides, nothing is emptied."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.gate.typing_errors import seeded
from evaluator.offline.perturbations.lexicon import Lexicon
from evaluator.offline.perturbations.perturbation import (
    STRENGTHS,
    Change,
    HistoryPerturbation,
    ListingPerturbation,
    QueryPerturbation,
    every,
)

LEXICON = Lexicon({"hose": "tube", "tap": "faucet"}, ("garden", "white"))
EVERY = every()
QUERIES = [one for one in EVERY if isinstance(one, QueryPerturbation)]
LISTINGS = [one for one in EVERY if isinstance(one, ListingPerturbation)]
HISTORIES = [one for one in EVERY if isinstance(one, HistoryPerturbation)]
strengths = st.sampled_from(STRENGTHS)


def test_all_sides_have_perturbations_and_names_are_unique() -> None:
    assert len(QUERIES) >= 12 and len(LISTINGS) >= 4 and len(HISTORIES) >= 2
    assert len({one.name for one in EVERY}) == len(EVERY)
    assert all(one.says.endswith(".") for one in EVERY)


@pytest.mark.parametrize("one", QUERIES, ids=lambda one: one.name)
@given(text=st.text(), strength=strengths, seed=st.integers())
@settings(max_examples=40, deadline=None)
def test_any_query_is_taken_and_the_seed_decides(one: QueryPerturbation, text: str, strength: int, seed: int) -> None:
    found = one.of(Change(text, strength, random.Random(seed), LEXICON))
    assert found == one.of(Change(text, strength, random.Random(seed), LEXICON))
    assert found.strip() or not text.strip()


@pytest.mark.parametrize("one", LISTINGS, ids=lambda one: one.name)
@given(text=st.text(min_size=1), query=st.text(), strength=strengths)
@settings(max_examples=40, deadline=None)
def test_any_listing_is_taken(one: ListingPerturbation, text: str, query: str, strength: int) -> None:
    found = one.of(Change(text, strength, random.Random(0), LEXICON, query))
    assert found == one.of(Change(text, strength, random.Random(0), LEXICON, query))


@pytest.mark.parametrize("one", HISTORIES, ids=lambda one: one.name)
@given(history=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12), strength=strengths, seed=st.integers())
@settings(max_examples=40, deadline=None)
def test_a_past_invents_nothing(one: HistoryPerturbation, history: list[str], strength: int, seed: int) -> None:
    found = one.of(history, strength, random.Random(seed))
    assert found and not Counter(found) - Counter(history)


@pytest.mark.parametrize("name", ["keyboard", "swaps", "drops", "words left out"])
def test_a_stronger_slip_goes_on_from_the_slighter_one(name: str) -> None:
    [one] = [one for one in QUERIES if one.name == name]
    texts = [one.of(Change("sturdy garden hose reel", n, seeded("s"), LEXICON)) for n in STRENGTHS]
    assert len(set(texts)) == 3
    if name == "drops":
        assert [len(text) for text in texts] == [22, 21, 20]


def test_units_are_the_same_amount() -> None:
    [units] = [one for one in QUERIES if one.name == "units"]

    def other(text: str) -> str:
        return units.of(Change(text, 3, random.Random(0)))

    assert other("tank 500 ml") == "tank 0.5 l" and other("2 ft shelf") == "24 in shelf"
    assert other("5gal bucket") == "20 qt bucket" and other("20v drill") == "20 volt drill"
    assert other("4x8 plywood") == "4x8 plywood" and other("2 minutes") == "2 minutes"
