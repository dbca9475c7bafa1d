"""Groups: brands given and mined, price bands, new and old items."""

from dataclasses import replace

import numpy as np

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.fairness.groups import by_age, by_brand, groupings, ranked
from tests.evaluator.offline.dimensions.benches import BRANDS, shop


def test_brands_are_mined_where_none_are_given() -> None:
    data = shop()
    found = by_brand(data, ranked(data))
    assert set(found.of.values()) == {brand.casefold() for brand in BRANDS}
    assert "first word" in found.note


def test_given_brands_come_first_and_escapes_are_read() -> None:
    data = shop()
    items = {item: replace(one, brand="Tom &amp; Co") for item, one in data.items.items()}
    assert set(by_brand(replace(data, items=items), ranked(data)).of.values()) == {"tom & co"}


def test_ages_come_from_the_training_part_where_no_times_are_known() -> None:
    items = {item: Document(item) for item in "abcd"}
    train = [Case("t", ("a", "b"), np.array([1.0, 0.0]))]
    data = EvaluationData("d", "graded", [Case("c", tuple("abcd"), np.arange(4.0))], train, items)
    assert by_age(data, ranked(data)).of == {"a": "old", "b": "new", "c": "new", "d": "new"}


def test_price_bands_have_as_many_items_each_and_unknown_ones_make_none() -> None:
    data = shop()
    [price] = [one for one in groupings(data) if one.name == "price"]
    counts = [list(price.of.values()).count(band) for band in ("low", "middle", "high")]
    assert max(counts) - min(counts) <= 15
    items = {item: replace(one, price=float("nan")) for item, one in data.items.items()}
    assert "price" not in {one.name for one in groupings(replace(data, items=items))}
