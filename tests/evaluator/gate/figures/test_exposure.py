"""The first ten of each list, and who gains exposure by which model."""

import numpy as np
import pytest

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, pools
from evaluator.gate.figures.exposure import exposure_figures, top
from tests.evaluator.gate.world import ITEMS, World, asked


def test_ten_are_on_a_shelf_best_first() -> None:
    request = GateRequest("hose", (), tuple("abcdefghijkl"))
    assert top([request], [np.arange(12, dtype=np.float32)]) == [list("lkjihgfedc")]
    assert top([request], [np.zeros(12, np.float32)]) == [list("abcdefghij")]


def test_who_shows_one_brand_alone_is_refused_by_name() -> None:
    brands = {"a": "acme", "b": "acme", "c": "bolt"}
    champion, challenger = [["a", "c"], ["c", "b"]], [["a", "b"], ["b", "a"]]
    figures = list(exposure_figures(champion, challenger, brands))
    assert [one.difference for one in figures] == pytest.approx([0.5, 0.5])
    item, brand = asked(GateConfig(exposure_brand=0.2), *figures).values()
    assert (brand.measure, brand.outcome) == ("exposure by brand", "failed")
    assert brand.said == "exposure by brand: difference +0.5000, most to 'acme', from 'bolt'; it is not ≤ 0.2"
    assert (item.measure, item.outcome) == ("exposure by item", "passed")


def test_without_brands_there_is_nothing_to_hold() -> None:
    figures = list(exposure_figures([["a"]], [["a"]], {}))
    assert asked(GateConfig(), *figures)["exposure by brand"].outcome == "passed" and figures[1].difference is None


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
