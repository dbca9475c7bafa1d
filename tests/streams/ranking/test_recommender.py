"""The recommender on a small real catalogue: each surface, cold and warm, and what it must never show."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher as Dispatcher

from models.encoder import Encoder, Precision
from models.factory import build
from streams.catalog.catalog import Catalog, Change
from streams.config import CandidatesConfig, PolicyConfig, ShelfConfig, StreamsConfig
from streams.events.filters import NO_FILTER, Filter
from streams.events.schema import Item
from streams.events.shelf import ShelfRecord, encoder, record_decoder
from streams.features.behaviour import PAIRED_OWN
from streams.features.click_effects import Counts, Effects
from streams.features.items import ItemStatistics
from streams.features.own import ROW
from streams.features.pairs import Pairs
from streams.features.shopper import Asked, Page, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking.feeds import own_items
from streams.ranking.policy import pipeline
from streams.ranking.recommender import RankRequest, Recommender, anchors, remembered_items
from tests.streams.conftest import TITLES

NOW = 1_700_000_000_000


@pytest.fixture
def recommender(catalogue: Catalog) -> Recommender:
    return made_for(catalogue, StreamsConfig())


def made_for(catalogue: Catalog, config: StreamsConfig) -> Recommender:
    scorer = build("late_interaction", catalogue.encoder, catalogue.item_store, catalogue.title, precision="float32")
    return Recommender(catalogue, scorer, Trending(3_600, 24), config, arm="a")


def shelf(recommender: Recommender, ask: RankRequest, together: dict[str, list[str]] | None = None) -> ShelfRecord:
    [record] = recommender.recommend([ask], together or {}, NOW).records
    return record


def shown(record: ShelfRecord) -> list[str]:
    return [item.item_id for item in record.shelf.items]


def test_a_search_ranks_what_is_meant_first(recommender: Recommender) -> None:
    record = shelf(recommender, RankRequest("search", "e", 5, query="hdmi cable"))
    assert shown(record)[0] == "hdmi"
    assert (record.key, record.shelf.event_ts, record.shelf.made_at, record.shelf.arm) == (
        "shelf:search:hdmi%20cable", 5, NOW, "shared",
    )  # fmt: skip
    assert len(record.propensities) == len(record.shelf.items) == len(set(shown(record)))
    assert all(0 < chance <= 1 for chance in record.propensities)
    assert all(0 <= p <= 1 for item in record.shelf.items for p in (item.buy, item.read, item.look))


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_before_the_first_item_shelves_are_empty(encoder: Encoder, precision: Precision) -> None:
    catalogue = Catalog(encoder)
    scorer = build("late_interaction", encoder, catalogue.item_store, catalogue.title, precision=precision)
    past = Shopper((Touched(4, "click", "hdmi"),), (Asked(3, "lamp"),))
    asks = [
        RankRequest("search", "e", 5, query="hdmi cable"),
        RankRequest("search", "e", 5, "u", past, query="lamp"),
        RankRequest("feed", "e", 5, "u", past),
        RankRequest("similar", "e", 5, item_id="hdmi"),
        RankRequest("popular", "e", 5),
    ]
    made = Recommender(catalogue, scorer, Trending(3_600, 24), StreamsConfig()).recommend(asks, {}, NOW)
    assert [shown(record) for record in made.records] == [[]] * 5 and not made.broken


def test_popular_items_of_a_shop_without_any_event_are_new_and_not_trending(recommender: Recommender) -> None:
    popular = shelf(recommender, RankRequest("popular", "e", 5)).shelf.items
    assert popular and {item.reason.removeprefix("explore") or "new" for item in popular} == {"new"}


def test_the_same_event_makes_the_same_shelf(recommender: Recommender) -> None:
    ask = RankRequest("feed", "e", 5, "u", Shopper(touched=(Touched(5, "click", "mouse"),)))
    assert shelf(recommender, ask) == shelf(recommender, ask)
    other = RankRequest("feed", "e2", 5, "u", ask.shopper)
    assert shelf(recommender, other).shelf.shelf_id != shelf(recommender, ask).shelf.shelf_id


def test_what_is_touched_more_than_the_scorer_expects_moves_up(catalogue: Catalog) -> None:
    ask = RankRequest("search", "e", 5, query="hdmi cable")
    recommender = made_for(catalogue, StreamsConfig(policy=PolicyConfig(exploration=0.0)))
    before = shelf(recommender, ask)
    last, first = shown(before)[-1], shown(before)[0]
    recommender.behaviour.effects = Effects({}, {last: Counts(1.0, 400.0, NOW)})
    recommender.refresh(NOW)
    after = shelf(recommender, ask)
    assert shown(after)[0] == last and shown(after)[1] == first
    of = {item.item_id: item for item in after.shelf.items}
    same = next(item for item in before.shelf.items if item.item_id == last)
    assert of[last].look == same.look, "the model's probabilities stay what they are"
    assert of[last].score == pytest.approx(same.score * 404 / 5, rel=1e-3)
    off = made_for(catalogue, StreamsConfig(policy=PolicyConfig(exploration=0.0, click_effects=0.0)))
    off.behaviour.effects = recommender.behaviour.effects
    off.refresh(NOW)
    assert shown(shelf(off, ask)) == shown(before)


def test_what_is_touched_more_than_expected_moves_up_where_showing_costs_something(catalogue: Catalog) -> None:
    ask = RankRequest("search", "e", 5, query="hdmi cable")
    policy = PolicyConfig(exploration=0.0, intent_weights={"buy": 1.0, "ignore": -1.0})
    recommender = made_for(catalogue, StreamsConfig(policy=policy))
    before = shelf(recommender, ask)
    last = before.shelf.items[-1]
    assert last.score < 0
    recommender.behaviour.effects = Effects({}, {last.item_id: Counts(1.0, 400.0, NOW)})
    recommender.refresh(NOW)
    assert shown(shelf(recommender, ask))[0] == last.item_id


def test_no_count_makes_a_utility_that_no_shelf_holds(catalogue: Catalog) -> None:
    ask = RankRequest("search", "e", 5, query="hdmi cable")
    recommender = made_for(catalogue, StreamsConfig(policy=PolicyConfig(exploration=0.0)))
    first, *_, last = shown(shelf(recommender, ask))
    brands = {catalogue.item(catalogue.slot(one) or 0).brand: 1e300 for one in (first, last)}
    recommender.behaviour.effects = Effects(brands, {first: Counts(0.0, 1e300, NOW), last: Counts(1e300, 0.0, NOW)})
    recommender.refresh(NOW)
    record = shelf(recommender, ask)
    assert [one for one in shown(record) if one in (first, last)] == [first, last]
    assert record_decoder.decode(encoder.encode(record)) == record


def test_a_brand_out_of_fashion_moves_down_in_every_catalogue_that_serves(catalogue: Catalog) -> None:
    ask = RankRequest("search", "e", 5, query="hdmi cable")
    recommender = made_for(catalogue, StreamsConfig(policy=PolicyConfig(exploration=0.0)))
    brand = catalogue.item(catalogue.slot("hdmi") or 0).brand
    recommender.behaviour.effects = Effects({brand: 0.01}, {})
    recommender.refresh(NOW)
    of_brand = [catalogue.item(catalogue.slot(one) or 0).brand == brand for one in shown(shelf(recommender, ask))]
    assert brand and of_brand == sorted(of_brand) and True in of_brand and False in of_brand
    recommender.serve(catalogue, recommender.scorer, recommender.queries, recommender.feeds, NOW)
    assert [
        catalogue.item(catalogue.slot(one) or 0).brand == brand for one in shown(shelf(recommender, ask))
    ] == of_brand


def test_a_feed_is_near_what_was_touched_and_without_what_was_bought(recommender: Recommender) -> None:
    shopper = Shopper(touched=(Touched(5, "purchase", "mouse"),), bought=frozenset({"mouse", "gone"}))
    record = shelf(recommender, RankRequest("feed", "e", 5, "u", shopper))
    assert shown(record)[0] == "pad" and "mouse" not in shown(record)


def test_a_stranger_sees_what_is_in_demand_then_what_is_new(recommender: Recommender) -> None:
    assert shown(shelf(recommender, RankRequest("feed", "e", 5, "u"))), "an empty counter must not be an empty page"
    recommender.trending.update("all", NOW // 3_600_000, {"laptop": 9, "usb": 1, "gone": 99})
    recommender.refresh(NOW)
    record = shelf(recommender, RankRequest("feed", "e", 5, "u"))
    assert set(shown(record)) == {"laptop", "usb"}
    assert {item.reason for item in record.shelf.items} == {"trending"}


def test_similar_leaves_out_the_item_itself_and_knows_what_goes_together(recommender: Recommender) -> None:
    record = shelf(recommender, RankRequest("similar", "e", 5, item_id="mouse"), {"mouse": ["toner", "gone"]})
    assert "mouse" not in shown(record) and "pad" in shown(record)
    reasons = {item.item_id: item.reason for item in record.shelf.items}
    assert "together" in reasons["toner"]
    assert shown(shelf(recommender, RankRequest("similar", "e", 5, item_id="gone"))), (
        "an item that has gone still has a page"
    )


def test_one_variant_of_a_product_is_shown_and_none_where_one_was_bought(
    catalogue: Catalog, recommender: Recommender, upsert: Callable[..., Change]
) -> None:
    sizes = [
        Item(item_id=f"hoodie-{size}", title=f"Hoodie {size}", group_id="hoodie", in_stock=size != "S")
        for size in "SML"
    ]
    catalogue.apply([upsert(item) for item in sizes])
    catalogue.commit()

    def hoodies(request: RankRequest) -> list[str]:
        return [item for item in shown(shelf(recommender, request)) if item.startswith("hoodie")]

    [best] = hoodies(RankRequest("search", "e", 5, query="hoodie s"))
    assert best != "hoodie-S"
    assert hoodies(RankRequest("similar", "e", 5, item_id="hoodie-M")) == []
    bought = Shopper((Touched(4, "purchase", "hoodie-M"),), bought=frozenset({"hoodie-M"}))
    assert hoodies(RankRequest("search", "e", 5, "u", bought, query="hoodie")) == []
    assert hoodies(RankRequest("feed", "e", 5, "u", bought)) == []


@pytest.mark.parametrize("within_category", [False, True])
def test_a_similar_shelf_looks_beyond_more_variants_than_it_has_candidates(
    catalogue: Catalog, upsert: Callable[..., Change], within_category: bool
) -> None:
    shirts = [Item(item_id=f"shirt-{n}", title=f"Shirt {n}", group_id="shirt", category="Wear") for n in range(12)]
    config = StreamsConfig(
        candidates=CandidatesConfig(vector=4, total=6),
        shelf=ShelfConfig(similar_within_category=within_category),
        policy=PolicyConfig(length=3),
    )
    catalogue.apply([upsert(item) for item in shirts])
    catalogue.commit()
    found = shown(shelf(made_for(catalogue, config), RankRequest("similar", "e", 5, item_id="shirt-3")))
    assert len(found) == 3 and set(found) <= set(TITLES), "nor are variants the newest items that fill a shelf"


def test_items_out_of_stock_or_deleted_are_never_shown(
    catalogue: Catalog, recommender: Recommender, upsert: Callable[..., Change]
) -> None:
    slot = catalogue.slot("hdmi")
    assert slot is not None
    catalogue.in_stock[slot] = False
    catalogue.apply([Change("usb", None, None)])  # not committed: the lexical index still finds it
    record = shelf(recommender, RankRequest("search", "e", 5, query="hdmi usb cable"))
    assert shown(record) and not {"hdmi", "usb"} & set(shown(record))


def test_a_batch_of_all_surfaces_gives_one_shelf_an_ask_in_order(recommender: Recommender) -> None:
    shopper = Shopper(touched=(Touched(9, "cart", "usb"),), asked=(Asked(8, "printer"),))
    asks = [
        RankRequest("feed", "1", 9, "u", shopper),
        RankRequest("search", "2", 9, "u", shopper, query="cable"),
        RankRequest("search", "2", 9, query="cable"),
        RankRequest("similar", "3", 9, item_id="usb"),
        RankRequest("popular", "4", 9, segment="Cables"),
    ]
    made = recommender.recommend(asks, {}, NOW)
    assert [record.key for record in made.records] == [ask.key for ask in asks]
    assert [record.shelf.arm for record in made.records] == ["a", "a", "shared", "shared", "shared"]
    assert all(record.shelf.items for record in made.records)
    assert set(made.stages) == {"encode", "candidates", "score", "policy", "reasons"}
    assert recommender.recommend([], {}, NOW).records == []


def test_a_personal_search_knows_the_past_without_the_feed_beside_it(recommender: Recommender) -> None:
    shopper = Shopper(asked=(Asked(8, "wireless mouse"),))
    assert shown(shelf(recommender, RankRequest("search", "e", 9, "u", shopper, query="cable")))


def test_an_empty_catalogue_makes_empty_shelves_and_no_errors(catalogue: Catalog) -> None:
    catalogue.apply([Change(item, None, None) for item in ("hdmi", "usb", "mouse", "pad", "laptop", "toner")])
    recommender = made_for(catalogue, StreamsConfig())
    asks = [
        RankRequest("search", "e", 5, query="tv"),
        RankRequest("feed", "e", 5, "u"),
        RankRequest("similar", "e", 5, item_id="x"),
    ]
    assert [record.shelf.items for record in recommender.recommend(asks, {}, NOW).records] == [[], [], []]


@pytest.mark.parametrize("source", ["vector", "lexical", "together", "trending"])
def test_every_source_can_be_switched_off(catalogue: Catalog, source: str) -> None:
    config = StreamsConfig(candidates=CandidatesConfig(**{source: 0}))
    shopper = Shopper(touched=(Touched(9, "cart", "usb"),), asked=(Asked(8, "printer"),))
    record = shelf(made_for(catalogue, config), RankRequest("feed", "e", 9, "u", shopper), {"usb": ["pad"]})
    assert shown(record) and not any(source in item.reason for item in record.shelf.items)


def test_anchors_are_the_newest_different_items() -> None:
    touched = tuple(Touched(9, "read", item) for item in "aabcd")
    assert anchors(RankRequest("feed", "e", 9, "u", Shopper(touched=touched))) == ["a", "b", "c"]
    assert anchors(RankRequest("similar", "e", 9, item_id="x")) == ["x"]
    assert anchors(RankRequest("search", "e", 9, "u", Shopper(touched=touched), query="q")) == []


def under(recommender: Recommender, surface: Any, **more: Any) -> tuple[str, set[str]]:
    record = shelf(recommender, RankRequest(surface, "e", NOW, **more))
    return record.key, set(shown(record))


def test_a_filter_is_obeyed_on_every_surface_and_filled_from_what_passes(recommender: Recommender) -> None:
    mice, acme = Filter.of({"category": "MICE"}), Filter.of({"brand": ["acme", "none"]})
    fan = Shopper(touched=(Touched(5, "click", "hdmi"),), asked=(Asked(4, "hdmi cable"),))
    together = {"hdmi": ["usb", "pad"]}
    recommender.trending.update("all", NOW // 3_600_000, {"laptop": 9, "mouse": 1})
    recommender.refresh(NOW)
    assert under(recommender, "search", query="hdmi cable", filter=mice) == (
        "shelf:search:hdmi%20cable:category=mice", {"mouse", "pad"},
    )  # fmt: skip
    assert under(recommender, "search", query="mouse", filter=acme)[1] == {"hdmi", "usb"}
    key, items = under(recommender, "feed", shopper_id="u", shopper=fan, filter=mice)
    assert (key, items) == ("shelf:feed:u:category=mice", {"mouse", "pad"})
    assert under(recommender, "feed", shopper_id="u", filter=acme)[1] == {"hdmi", "usb"}
    page = shelf(recommender, RankRequest("popular", "e", 5, filter=mice))
    assert page.key == "shelf:popular:category=mice" and page.filter == "category=mice"
    assert {item.item_id: item.reason for item in page.shelf.items} == {"mouse": "trending", "pad": "new"}
    # In one batch none takes another's candidates.
    asks = [RankRequest("search", "e", 5, query="mouse", filter=one) for one in (NO_FILTER, mice, acme)]
    asks.append(RankRequest("feed", "e", 5, "u", fan, filter=mice))
    found = [set(shown(one)) for one in recommender.recommend(asks, together, NOW).records]
    assert found == [set(TITLES), {"mouse", "pad"}, {"hdmi", "usb"}, {"mouse", "pad"}]


@pytest.mark.parametrize("surface", ["search", "feed", "popular"])
def test_a_filter_that_keeps_nothing_makes_an_empty_shelf(recommender: Recommender, surface: Any) -> None:
    fan = Shopper(touched=(Touched(5, "click", "hdmi"),))
    ask = RankRequest(surface, "e", 5, "u", fan, "hdmi" if surface == "search" else None, filter=Filter.of({"a": "b"}))
    assert shown(shelf(recommender, ask)) == []
    full, empty = recommender.recommend([RankRequest("feed", "e", 5, "u", fan), ask], {}, NOW).records
    assert shown(full) and not shown(empty)


def test_similar_items_may_be_kept_to_the_narrowest_category_that_fills_a_shelf(
    catalogue: Catalog, upsert: Callable[..., Change]
) -> None:
    kinds = {"a": "Home > Lamps > Desk", "b": "Home > Lamps > Desk", "c": "Home > Lamps", "d": "Home", "e": "Garden"}
    catalogue.apply([upsert(Item(item_id=key, title=f"lamp {key}", category=kind)) for key, kind in kinds.items()])
    catalogue.commit()

    def near(item: str, length: int, within: bool = True) -> set[str]:
        config = StreamsConfig(
            policy=PolicyConfig(length=length, exploration=0), shelf=ShelfConfig(similar_within_category=within)
        )
        return set(shown(shelf(made_for(catalogue, config), RankRequest("similar", "e", 5, item_id=item))))

    assert near("a", 1) == {"b"} and near("a", 2) == {"b", "c"} and near("a", 3) == {"b", "c", "d"}
    assert len(near("a", 4)) == 4, "no category is that large, so all items count"
    assert near("gone", 2) and "e" in near("a", 10, within=False)


def test_what_is_sold_out_takes_no_places_under_a_filter(catalogue: Catalog, upsert: Callable[..., Change]) -> None:
    items = [Item(item_id=f"m{n}", title=f"mouse {n}", category="Mice", in_stock=n < 2) for n in range(12)]
    catalogue.apply([upsert(item) for item in items])
    catalogue.commit()
    recommender = made_for(catalogue, StreamsConfig(candidates=CandidatesConfig(total=4, vector=4, lexical=4)))
    assert under(recommender, "search", query="mouse", filter=Filter.of({"category": "mice"}))[1] == {
        "m0", "m1", "mouse", "pad",
    }  # fmt: skip


def test_a_feed_by_behaviour_obeys_a_filter_and_is_filled(recommender: Recommender) -> None:
    behaviour = recommender.behaviour
    behaviour.items.touch(behaviour.items.places(["laptop", "toner", "pad"]), NOW, 3.0)
    behaviour.refresh()
    fan = Shopper(touched=(Touched(5, "click", "hdmi"),))
    assert under(recommender, "feed", shopper_id="u", shopper=fan)[1] >= {"laptop", "toner"}
    record = shelf(recommender, RankRequest("feed", "e", NOW, "u", fan, filter=Filter.of({"category": "mice"})))
    assert shown(record) == ["pad", "mouse"], "what is in demand first"
    assert under(recommender, "feed", shopper_id="u", shopper=fan, filter=Filter.of({"a": "b"}))[1] == set()


@pytest.mark.parametrize("counted", [False, True])
def test_a_feed_tires_of_what_was_overlooked_and_nothing_else_does(recommender: Recommender, counted: bool) -> None:
    if counted:
        behaviour = recommender.behaviour
        behaviour.items.touch(behaviour.items.places(["laptop", "toner", "pad", "hdmi"]), NOW, 3.0)
        behaviour.refresh()
    recommender.policy = pipeline(PolicyConfig(exploration=0))
    fresh = Shopper((Touched(NOW - 9, "click", "hdmi"),), (Asked(NOW - 8, "cable"),))

    def made(surface: Any, seen: tuple[Page, ...], **more: Any) -> list[str]:
        ask = RankRequest(surface, "e", NOW, "u", replace(fresh, seen=seen), **more)
        return shown(shelf(recommender, ask))

    before = made("feed", ())
    best = before[0]
    tired = (Page(NOW - 5, (best, "gone")),)
    assert set(made("feed", tired)) == set(before) and made("feed", tired)[-1] == best
    assert made("feed", (Page(NOW - 30 * 86_400_000, (best,)),)) == before, "once it has faded"
    assert made("feed", (Page(NOW - 10, ("hdmi",)),)) == before, "it was touched after that"
    assert made("search", tired, query="cable") == made("search", (), query="cable")
    assert made("similar", tired, item_id="hdmi") == made("similar", (), item_id="hdmi")


def test_a_page_is_filled_with_items_that_nobody_has_touched(recommender: Recommender) -> None:
    behaviour = recommender.behaviour
    behaviour.items.touch(behaviour.items.places(["laptop"]), NOW, 3.0)
    behaviour.refresh()
    assert under(recommender, "feed", shopper_id="u", filter=Filter.of({"category": "mice"}))[1] == {"pad", "mouse"}


def test_of_a_large_order_the_rows_that_are_read_are_those_that_are_looked_up() -> None:
    value = np.array([(1, 1.0, 9, 9, 9)], ROW).tobytes()
    shopper = Shopper(own={f"i{n:03}": value for n in reversed(range(70))})
    items = ItemStatistics()
    items.places([f"i{n:03}" for n in (69, 3, 20)])  # some are known already, in another order
    newest = [items.ids[place] for place in own_items(items, [shopper])[0].places[:PAIRED_OWN].tolist()]
    assert newest == remembered_items(RankRequest("feed", "e", 1, "u", shopper))


def test_what_goes_with_all_a_shopper_has_comes_before_what_goes_with_the_newest(catalogue: Catalog) -> None:
    none = dict.fromkeys(("vector", "lexical", "trending", "own", "week", "day", "new"), 0)
    recommender = made_for(catalogue, StreamsConfig(candidates=CandidatesConfig(together=1, **none)))
    behaviour, pairs = recommender.behaviour, Pairs()
    behaviour.pairs = pairs
    for pair in (["usb", "mouse"], ["hdmi", "mouse"]):
        places = behaviour.items.places(pair)
        behaviour.items.touch(places, NOW)
        pairs.add(places, NOW)
    rows = {item: np.array([(1, 1.0, 9, 9, at)], ROW).tobytes() for item, at in (("usb", 8), ("hdmi", 9))}
    shopper = Shopper(touched=(Touched(9_000, "click", "hdmi"),), own=rows)
    record = shelf(recommender, RankRequest("feed", "e", NOW, "u", shopper), {"hdmi": ["toner", "pad"]})
    assert shown(record) == ["mouse"]


def test_once_warmed_up_no_shelf_waits_for_a_compiler(recommender: Recommender) -> None:
    """Each compiled function is compiled before, for the types that real shelves give it."""
    recommender.warm_up(NOW)
    compiled = {
        f"{name}.{function}": value
        for name, module in list(sys.modules.items())
        if name.startswith(("models.", "streams.")) and name != "models.compiled"
        for function, value in vars(module).items()
        if isinstance(value, Dispatcher)
    }
    before = {name: list(function.signatures) for name, function in compiled.items()}
    assert before["streams.ranking.policy.steps.most_marginal"] and before["streams.features.behaviour._match"]
    items = recommender.behaviour.items
    items.touch(items.places(["hdmi", "usb", "lamp"]), NOW)
    recommender.behaviour.refresh()
    row = np.array([(1, 1.0, NOW // 1000, NOW // 1000, NOW // 1000)], ROW).tobytes()
    shopper = Shopper((Touched(NOW, "purchase", "hdmi"),), (Asked(NOW, "lamp"),), own={"hdmi": row, "usb": row})
    asks = [
        RankRequest("feed", "e", NOW, "u", shopper),
        RankRequest("feed", "e", NOW, "v", Shopper()),
        RankRequest("search", "e", NOW, "u", shopper, "usb cable"),
        RankRequest("similar", "e", NOW, item_id="hdmi"),
    ]
    assert all(record.shelf.items for record in recommender.recommend(asks, {}, NOW).records)
    assert {name: list(function.signatures) for name, function in compiled.items()} == before
