"""Shares of exposure and how far apart they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.gate.checks.exposure import exposure_checks, shares, top, total_variation
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, pools
from tests.evaluator.gate.world import ITEMS, World

SHELVES = st.lists(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), min_size=1, max_size=5)


@given(SHELVES, SHELVES)
def test_a_distance_of_shares(one: list[list[str]], other: list[list[str]]) -> None:
    apart = total_variation(shares(one), shares(other))
    assert 0 <= apart <= 1 + 1e-9 and apart == pytest.approx(total_variation(shares(other), shares(one)))
    assert total_variation(shares(one), shares(one)) == 0 and sum(shares(one).values()) == pytest.approx(1)


def test_ten_are_on_a_shelf_best_first() -> None:
    request = GateRequest("hose", (), tuple("abcdefghijkl"))
    assert top([request], [np.arange(12, dtype=np.float32)]) == [list("lkjihgfedc")]
    assert top([request], [np.zeros(12, np.float32)]) == [list("abcdefghij")]


def test_who_shows_one_brand_alone_is_refused_by_name() -> None:
    brands = {"a": "acme", "b": "acme", "c": "bolt"}
    champion, challenger = [["a", "c"], ["c", "b"]], [["a", "b"], ["b", "a"]]
    item, brand = exposure_checks(champion, challenger, brands, GateConfig(exposure_brand=0.2))
    assert brand.value == pytest.approx(0.5) and not brand.passed and "'acme', from 'bolt'" in brand.sentence
    assert item.name == "exposure_item" and item.value == pytest.approx(0.5) and item.passed


def test_without_brands_there_is_nothing_to_hold() -> None:
    _, brand = exposure_checks([["a"]], [["a"]], {}, GateConfig())
    assert brand.passed and brand.value is None


def test_pools_have_a_lists_own_items_and_others_as_a_seed_says() -> None:
    lists = World(30, 0).lists()
    found = pools(lists, 20, 10, 1)
    own = {one.request.query: one.request.items for one in lists}
    assert len({request.query for request in found}) == 10
    assert all(
        request.items[:ITEMS] == own[request.query] and len(set(request.items)) == len(request.items) == 20
        for request in found
    )
    assert found == pools(lists, 20, 10, 1) != pools(lists, 20, 10, 2)
