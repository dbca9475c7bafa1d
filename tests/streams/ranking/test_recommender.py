"""The recommender on a small real catalogue: each surface, cold and warm, and what it must never show."""

from collections.abc import Callable

import pytest

from models.factory import build
from streams.catalog.catalog import Catalog, Change
from streams.config import CandidatesConfig, StreamsConfig
from streams.events.shelf import ShelfRecord
from streams.features.shopper import Asked, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking.recommender import RankRequest, Recommender, anchors

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


def test_the_same_event_makes_the_same_shelf(recommender: Recommender) -> None:
    ask = RankRequest("feed", "e", 5, "u", Shopper(touched=(Touched(5, "click", "mouse"),)))
    assert shelf(recommender, ask) == shelf(recommender, ask)
    other = RankRequest("feed", "e2", 5, "u", ask.shopper)
    assert shelf(recommender, other).shelf.shelf_id != shelf(recommender, ask).shelf.shelf_id


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
