"""Items under a filter: which match, that none is missed by words or meaning, and that changes count at once."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalog import filtered
from streams.catalog.attributes import MOST_OF_AN_ITEM, Attributes, Matching
from streams.catalog.catalog import Catalog, Change
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex
from streams.events.filters import BRAND, CATEGORY, IN_STOCK, PRICE, Filter, folded, number, path
from streams.events.schema import Item

Upsert = Callable[..., Change]
WORDS = ["red", "RED ", "blau", "家居", "Crème", "Creme\u0301"]
VALUES = st.one_of(st.sampled_from(WORDS), st.booleans(), st.sampled_from([0.0, 1.0, 2.5]))
PATHS = st.lists(st.sampled_from(WORDS), max_size=3).map(" > ".join)
ITEMS = st.builds(
    Item,
    item_id=st.sampled_from([f"i{n}" for n in range(8)]),
    title=st.just("t"),
    category=PATHS,
    brand=st.sampled_from(["", "Acme", "\uff21CME", "Bolt"]),
    price=st.sampled_from([None, 0.0, 9.99, 10.0]),
    in_stock=st.booleans(),
    attributes=st.dictionaries(
        st.sampled_from(["Size", "size", "colour"]), st.one_of(VALUES, st.lists(VALUES, max_size=2)), max_size=2
    ),
)
BOUNDS = st.fixed_dictionaries(
    {}, optional={"min": st.sampled_from([0, 9.99, 10]), "max": st.sampled_from([0, 9.99, 10])}
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "category": st.lists(PATHS, max_size=2),
        "brand": st.lists(st.sampled_from(["acme", "bolt", "other"]), max_size=2),
        "price": BOUNDS,
        "in_stock": st.booleans(),
        "size": st.one_of(st.lists(VALUES, max_size=2), BOUNDS),
    },
)


def texts(values: list[Any]) -> set[str]:
    """Values as they are compared."""
    return {
        folded(one) if isinstance(one, str) else str(one).lower() if isinstance(one, bool) else number(one)
        for one in values
    } - {""}


def passes(item: Item, asked: Mapping[str, Any]) -> bool:
    """Whether an item passes filters, by the words of the docs."""
    for name, wanted in asked.items():
        held: list[Any] = {PRICE: [item.price], BRAND: [item.brand]}.get(name, [])
        for attribute, value in item.attributes.items():
            held = held + (value if isinstance(value, list) else [value]) if folded(attribute) == name else held
        if isinstance(wanted, dict):
            numbers = [one for one in held if isinstance(one, float)]
            inside = [one for one in numbers if wanted.get("min", -np.inf) <= one <= wanted.get("max", np.inf)]
            passing = bool(inside) or not wanted
        elif name == IN_STOCK:
            passing = item.in_stock or not wanted
        elif name == CATEGORY:
            paths = [path(one) for one in wanted if path(one)]
            passing = not paths or any(f"{path(item.category)}>".startswith(f"{one}>") for one in paths)
        else:
            passing = not texts(wanted) or bool(texts(wanted) & texts(held))
        if not passing:
            return False
    return True


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(ITEMS, st.sampled_from(["i0", "i1", "i2"])), max_size=40),
    st.lists(ASKED, min_size=1, max_size=3),
)
def test_what_matches_is_what_passes_one_by_one_after_any_changes(changes: list[Item | str], asked: list[Any]) -> None:
    attributes, held = Attributes(), dict[int, Item]()
    live, in_stock = np.zeros(8, dtype=bool), np.zeros(8, dtype=bool)
    for change in changes:
        slot = int((change if isinstance(change, str) else change.item_id)[1:])
        held.pop(slot, None)
        if isinstance(change, str):
            attributes.drop(slot)
        else:
            held[slot] = change
            attributes.put(slot, change)
        live[slot] = slot in held
        in_stock[slot] = slot in held and held[slot].in_stock
        for one in asked:
            wanted = Filter.of(one)
            matching = attributes.matching(wanted, in_stock if IN_STOCK in wanted.values else live)
            assert set(matching.slots.tolist()) == {at for at, item in held.items() if passes(item, one)}
            assert matching.newest(3).tolist() == [at for at in reversed(held) if matching.mask[at]][:3]


def test_columns_keep_no_more_than_twice_what_is_held_and_see_a_part_of_an_endless_item() -> None:
    attributes, shown = Attributes(), np.ones(50, dtype=bool)
    item = Item(item_id="i", title="t", brand="b", attributes={"size": [f"s{n}" for n in range(500)], "n": [1.0] * 500})
    for _ in range(20):
        for slot in range(50):
            attributes.put(slot, item)
    assert attributes.nbytes < 4 * 50 * MOST_OF_AN_ITEM * 48
    assert attributes.matching(Filter.of({"size": f"s{MOST_OF_AN_ITEM - 2}"}), shown).count == 50
    assert attributes.matching(Filter.of({"size": "s499"}), shown).count == 0
    many = Item(item_id="i", title="t", attributes={f"name {n}": f"v{n}" for n in range(128)})
    for slot in range(50):
        attributes.put(slot, many if slot else item)
    assert attributes.matching(Filter.of({"name 100": "v100"}), shown).slots.tolist() == list(range(1, 50))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.6])
def test_the_nearest_under_a_filter_are_those_of_all_that_pass(share: float) -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(3_000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5] = 0
    queries = rng.normal(size=(3, 16)).astype(np.float32)
    index = VectorIndex(16)
    index.put_many(np.arange(3_000), vectors)
    mask = rng.random(3_000) < share
    mask[5] = True
    mask[np.argsort(-vectors @ queries[0])[:900]] = False  # the index alone would find none for this query
    matching = Matching(mask, int(mask.sum()), np.arange(3_000))
    for query, found in zip(queries, filtered.nearest(index, vectors.__getitem__, queries, 20, matching), strict=True):
        exact = matching.slots[np.argsort(-vectors[mask] @ query, kind="stable")[:20]].tolist()
        assert mask[found].all() and len(set(found.tolist())) == len(found) == len(exact)
        assert found.tolist() == exact if share < 0.1 else np.isin(exact, found).mean() >= 0.9
    nothing = Matching(np.zeros(3_000, dtype=bool), 0, np.arange(3_000))
    assert [len(found) for found in filtered.nearest(index, vectors.__getitem__, queries, 20, nothing)] == [0, 0, 0]


@pytest.mark.parametrize("passing", [5, 300])
def test_words_find_what_passes_however_many_others_have_them(passing: int) -> None:
    index = LexicalIndex()
    for slot in range(2_000):
        # The items that pass are the worst of those with the word.
        index.put(slot, ["hose", *(["x"] * 20 if slot < passing else [])])
    index.commit()
    mask = np.zeros(2_000, dtype=bool)
    mask[:passing] = True
    found = filtered.lexical(index, ["hose", "x1"], 60, Matching(mask, passing, np.arange(2_000)))
    assert len(found) == min(passing, 60) and mask[found].all()
    assert filtered.lexical(index, ["pot"], 60, Matching(mask, passing, np.arange(2_000))).tolist() == []


def test_a_catalogue_sees_new_prices_stock_and_categories_at_once(catalogue: Catalog, upsert: Upsert) -> None:
    def held(**asked: Any) -> set[str]:
        return {catalogue.item(slot).item_id for slot in catalogue.matching(Filter.of(asked)).slots.tolist()}

    assert held(brand="ACME") == {"hdmi", "usb"} and held(category=["mice", "cables"], brand="bolt") == {"mouse", "pad"}
    assert held(price={"max": 5}) == set()
    tea = Item(item_id="tea", title="Thé vert", category="Épicerie > Thés", price=4.0, attributes={"poids": 100.0})
    catalogue.apply([upsert(tea), upsert(Item(item_id="lamp", title="台灯", category="家居 > 灯具", in_stock=False))])
    assert held(price={"max": 5}) == held(category="e\u0301picerie") == held(poids=100) == {"tea"}
    assert held(category="家居\uff1e灯具") == {"lamp"} and held(category="家居", in_stock=True) == set()
    catalogue.apply(
        [upsert(Item(item_id="tea", title="Thé vert", category="Cadeaux", price=6.0)), Change("lamp", None, None)]
    )
    assert held(price={"max": 5}) == held(category="épicerie") == held(poids=100) == held(category="家居") == set()
    assert held(category="cadeaux", price={"min": 6}) == {"tea"}
