"""Context: whose past weighs how much."""

import numpy as np
import pytest

from models.intents import QUERY_WEIGHT, TOUCH_WEIGHTS
from streams.catalog.catalog import Catalog
from streams.config import WorkerConfig
from streams.features.shopper import Asked, Shopper, Touched
from streams.ranking.context import Past, Queries, centre, vectors

CONFIG = WorkerConfig(recent_items=3, recent_queries=2, recency_half_life_s=10)


@pytest.fixture
def queries(catalogue: Catalog) -> Queries:
    queries = Queries(catalogue.encoder, capacity=2)
    queries.update(["tv", "usb cable"])
    return queries


def test_items_then_queries_each_decayed_from_the_newest_event(catalogue: Catalog, queries: Queries) -> None:
    shopper = Shopper(
        touched=(Touched(50_000, "cart", "usb"), Touched(40_000, "click", "pad")), asked=(Asked(30_000, "tv"),)
    )
    [(rows, weights, _)] = vectors([Past.of(shopper, CONFIG)], catalogue, queries)
    assert rows.dtype == weights.dtype == np.float32
    assert weights.tolist() == pytest.approx([TOUCH_WEIGHTS["cart"], TOUCH_WEIGHTS["click"] / 2, QUERY_WEIGHT / 4])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(3), abs=1e-2)
    assert np.array_equal(rows[2], queries.get("tv").encoded.pooled)


def test_unknown_items_repetitions_and_the_query_itself_are_left_out(catalogue: Catalog, queries: Queries) -> None:
    touched = tuple(Touched(9 - n, "read", item) for n, item in enumerate(("gone", "usb", "usb", "pad")))
    shopper = Shopper(touched=touched, asked=(Asked(9, "tv"), Asked(8, "usb cable")))
    past = Past.of(shopper, CONFIG, without="tv")
    [(rows, weights, _)] = vectors([past], catalogue, queries)
    assert past.items == ("gone", "usb"), "not pad, as it is the fourth"
    assert len(rows) == 2, "usb and one query"
    assert weights.tolist() == pytest.approx(past.weights[1:])


def test_no_past_is_no_rows(catalogue: Catalog, queries: Queries) -> None:
    [(rows, weights, _)] = vectors([Past.of(Shopper(), CONFIG)], catalogue, queries)
    assert rows.shape == (0, catalogue.encoder.dim) and weights.shape == (0,)


def test_a_query_is_encoded_once_until_it_is_trimmed(queries: Queries) -> None:
    assert queries.update(["tv", "tv", "new one", "tv"]) == 1
    queries.get("tv")
    queries.trim()
    assert queries.update(["tv", "new one"]) == 0
    assert queries.update(["usb cable"]) == 1, "the least recently used had gone"


def test_centre_of_opposites_is_finite() -> None:
    assert np.isfinite(centre(np.array([[1, 0], [-1, 0]], dtype=np.float32), np.ones(2, dtype=np.float32))).all()
