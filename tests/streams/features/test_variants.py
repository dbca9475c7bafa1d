"""What is counted of variants, added up, is what would be counted of their product; and items change their group."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.features.history import ShopHistory
from streams.features.item_model import ItemModel
from streams.features.items import (
    BUYERS,
    DAY_MS,
    FIRST,
    NEW,
    ORIGIN_MS,
    REPEATS,
    REUSED_AT,
    VISITS,
    WIDTH,
    ItemStatistics,
    forward,
)
from streams.features.own import ROW, OwnItems, own_variants

PRODUCTS = [*"abc"]
SIZES = [*"SML"]
HOUR_MS = DAY_MS // 24

visits = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.integers(0, 400 * 24).map(lambda hours: ORIGIN_MS + hours * HOUR_MS),
        st.dictionaries(st.sampled_from(PRODUCTS), st.sampled_from(SIZES), min_size=1),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one[:2],
)
"""In a visit a shopper buys one variant of a product."""

Visits = list[tuple[str, int, dict[str, str]]]


def variants() -> dict[str, str]:
    return {f"{product}-{size}": product for product in PRODUCTS for size in SIZES}


def taken_in(order: Visits, *, by: str) -> ShopHistory:
    """A history by ``product``, by ``item``, or by item with the product as the ``group``."""
    history = ShopHistory(groups=variants() if by == "group" else {})
    history.items.places(PRODUCTS if by == "product" else list(variants()))
    for shopper, ts, bought in order:
        ids = sorted(bought) if by == "product" else sorted(f"{one}-{size}" for one, size in bought.items())
        history.update(shopper, ids, np.array([float(ord(one[0])) for one in ids]), ts)
    history.behaviour.refresh()
    return history


def rows(history: ShopHistory) -> dict[str, np.ndarray]:
    return {item[0]: history.items.values[place] for item, place in zip(history.items.ids, range(99), strict=False)}


@settings(deadline=None)
@given(visits)
def test_variants_added_up_are_their_product(order: Visits) -> None:
    whole, grouped = taken_in(order, by="product"), taken_in(order, by="group")
    now = max(ts for _, ts, _ in order) + DAY_MS
    one, other = rows(whole), rows(grouped)
    for product in PRODUCTS:
        np.testing.assert_allclose(other[product][[VISITS, FIRST]], one[product][[VISITS, FIRST]], rtol=1e-9)
        bought = one[product][BUYERS] + one[product][REPEATS]
        assert other[product][BUYERS] + other[product][REPEATS] == bought
        assert other[product][BUYERS] >= one[product][BUYERS]  # who bought two variants counts twice
    np.testing.assert_allclose(
        grouped.items.demand(now)[grouped.items.places([f"{one}-S" for one in PRODUCTS])],
        whole.items.demand(now)[whole.items.places(PRODUCTS)],
        rtol=1e-9,
        atol=1e-12,
    )
    for name, number in zip(PRODUCTS, whole.items.places(PRODUCTS).tolist(), strict=True):
        found = [
            {items.ids[place][0]: count for place, count in zip(*map(np.ndarray.tolist, row), strict=True)}
            for items, row in (
                (whole.items, whole.behaviour.pairs.row(number)),
                (grouped.items, grouped.behaviour.pairs.row(int(grouped.items.places([f"{name}-L"])[0]))),
            )
        ]
        assert found[0] == found[1]
    for shopper in whole.shoppers:
        mine, theirs = whole.own(shopper), grouped.own(shopper)
        assert [whole.items.ids[place] for place in mine.places] == [grouped.items.ids[one][0] for one in theirs.places]
        for name in ("times", "first_ms", "last_ms", "touched_ms", "visits_ms"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        np.testing.assert_allclose(theirs.demand, mine.demand, rtol=1e-12)


@settings(deadline=None)
@given(visits)
def test_of_shoppers_who_keep_to_their_size_everything_is_equal(order: Visits) -> None:
    sizes = dict(zip("uvw", SIZES, strict=True))
    order = [(shopper, ts, dict.fromkeys(bought, sizes[shopper])) for shopper, ts, bought in order]
    rounding = 1e-14 * float(
        forward(max(ts for _, ts, _ in order), 7.0)
    )  # first purchases are taken back at their weight
    whole, grouped = rows(taken_in(order, by="product")), rows(taken_in(order, by="group"))
    for product in PRODUCTS:
        for part in (slice(2, 5), NEW, slice(VISITS, VISITS + 1), slice(BUYERS, WIDTH)):
            np.testing.assert_allclose(grouped[product][part], whole[product][part], rtol=1e-9, atol=rounding)


groupings = st.lists(st.tuples(st.sampled_from([*"vwxyz"]), st.sampled_from(["", "g", "h"])), max_size=20)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groupings, st.lists(st.integers(0, 20), max_size=4), st.sampled_from([1, REUSED_AT]))
def test_items_may_change_their_group_at_any_time(
    monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, str]], puts: list[int], reused_at: int
) -> None:
    monkeypatch.setattr("streams.features.items.REUSED_AT", reused_at)
    counted = ItemStatistics()
    counted.places([*"vwxyz"])
    for number, item in enumerate("vwxyz"):
        counted.touch(counted.places([item]), ORIGIN_MS + number * DAY_MS, 1.0 + number)
    items, groups = ItemStatistics(), defaultdict[str, str](str)
    for number, (item, group) in enumerate(steps):
        if number in puts:
            items.put(item, [counted.values[counted.places([item])[0]]])
        items.assign(item, group)
        groups[item] = group
        items.settle()
    for item in "vwxyz":
        items.put(item, [counted.values[counted.places([item])[0]]])
    items.settle()
    products = defaultdict[str, list[str]](list)
    for item in "vwxyz":
        products[groups[item] or f"alone {item}"].append(item)
    places = [set(items.places(mine).tolist()) for mine in products.values()]
    assert all(len(some) == 1 for some in places) and len(set.union(*places)) == len(products)
    for mine, [place] in zip(products.values(), places, strict=True):
        parts = counted.values[counted.places(mine)]
        np.testing.assert_allclose(items.values[place, 2:8], parts[:, 2:8].sum(0), rtol=1e-12)
        assert items.values[place, FIRST] == parts[:, FIRST].min()
        assert items.ids[place] == max(mine)  # the one in most demand
        assert sorted(items.variants(place)) == mine and sorted(items.touched(place)) == mine
    others = np.ones(len(items), bool)
    others[[place for [place] in places]] = False
    assert not items.values[others].any(), "nothing stays where an item was"
    assert len(items) <= 5 + 2, "an item that goes to and fro takes no further room"


def test_groups_that_are_named_anew_each_day_take_no_further_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.features.items.REUSED_AT", 3)
    items, ids = ItemStatistics(), [*"abcd"]
    for day in range(30):
        for number, item in enumerate(ids):
            items.assign(item, f"{day}-{number // 2}")
            if not day:
                items.put(item, [np.full(WIDTH, float(ORIGIN_MS + number))])
        items.settle()
        assert items.values[items.places(ids), BUYERS].tolist() == [2 * ORIGIN_MS + 1] * 2 + [2 * ORIGIN_MS + 5] * 2
        assert items.values[:, BUYERS].sum() == 4 * ORIGIN_MS + 6, "what a place held before is gone"
    assert len(items) <= 2 + 2 + 3 and items.reuses > 5


def test_a_shopper_s_rows_of_one_product_are_one_row() -> None:
    rows = np.array([(2, 1.5, 3, 7, 7), (1, 1.0, 2, 2, 2), (0, 0.2, 0, 0, 9), (0, 0.2, 0, 0, 5)], ROW)
    ids, places = ["M", "L", "S", "cup"], np.array([4, 4, 4, 6])
    mine = own_variants(ids, places, rows, places == 4)
    assert mine == {4: "M"}, "the one bought last, though another one was touched since"
    own = OwnItems.of(places, rows, [1], mine)
    assert own.places.tolist() == [4, 6] and own.times.tolist() == [3, 0] and own.demand.tolist() == [2.7, 0.2]
    assert own.first_ms.tolist()[0] == 2000 and own.last_ms.tolist()[0] == 7000 and np.isnan(own.first_ms[1])
    assert own.touched_ms.tolist() == [9000, 5000]


def test_an_item_model_of_items_serves_their_products() -> None:
    slots = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    model = ItemModel.of(np.array([4, 4, 7]), slots, np.array([[0.9, 0.25], [0.5, 0.5], [0.25, 0.125]]))
    given = model.sums(np.array([0, 1]), np.array([4]), np.ones((1, 1)))
    assert model.at(given, np.array([0, 2]), np.array([4, 7])).tolist() == [[0.0, 0.5]], (
        "the variant that gives most to others speaks"
    )
    assert model.given(np.array([7]), 4).tolist() == pytest.approx([0.375]), "what both variants get is added up"
