"""Batches: what is refused, what is remembered, and which shelves are asked for."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

from streams.batch import Batch, Recent, page_for_all, rank_requests
from streams.clock import BY_BROKER
from streams.config import EventsConfig
from streams.events.filters import Filter
from streams.features.shopper import Asked, Shopper, Touched
from streams.kafka.record import Record
from streams.ranking.recommender import RankRequest

NOW = 1_000_000
EVENTS = EventsConfig(earliest=date(1970, 1, 1))


def record(offset: int = 0, raw: bytes | None = None, **event: Any) -> Record:
    value = raw if raw is not None else json.dumps({"event_id": f"e{offset}", "user_id": "u", **event}).encode()
    return Record("t", 0, offset, NOW, b"u", value)


def batch(*records: Record) -> Batch:
    return Batch.of(records, NOW, EVENTS)


def click(offset: int, ts: int, item_id: str = "i", user_id: str = "u") -> Record:
    return record(offset, type="click", ts=ts, item_id=item_id, user_id=user_id)


def search(offset: int, ts: int, query: str, user_id: str = "u") -> Record:
    return record(offset, type="search", ts=ts, query=query, user_id=user_id)


def wanted(*records: Record, shopper: Shopper = Shopper(), similar: Recent | None = None) -> list[RankRequest]:  # noqa: B008
    found = batch(*records)
    return rank_requests(found, dict.fromkeys(found.by_shopper, shopper), similar or Recent(1), NOW)


def test_a_query_with_filters_is_another_query_and_filters_alone_are_a_page() -> None:
    old, pages = Shopper(touched=(Touched(3, "click", "x"),)), Recent(1_000)
    events = [
        record(0, type="search", ts=1, query="tv"),
        record(1, type="search", ts=2, query="TV", filters={"brand": ["B", "a"]}),
        record(2, type="search", ts=1, query=" tv", filters={"brand": ["A", "b", "b"], "price": "cheap"}),
        record(3, type="search", ts=4, filters={"category": "Garden"}),
        record(4, type="search", ts=4, query=" ", filters={"price": "cheap"}),
    ]
    found = {ask.key: ask.event_ts for ask in wanted(*events, shopper=old, similar=pages)}
    assert found == {
        "shelf:feed:u": 4, "shelf:feed:u:category=garden": 4, "shelf:popular:category=garden": 4,
        "shelf:search:tv": 1, "shelf:search:tv:u": 1,
        "shelf:search:tv:brand=a,b": 2, "shelf:search:tv:brand=a,b:u": 2,
    }  # fmt: skip
    assert sum(one.malformed for one in batch(*events).filters.values()) == 2
    pages.done(page_for_all(Filter.of({"category": "Garden"})), NOW)
    again = {ask.key for ask in wanted(*events[3:], similar=pages)}
    assert again == {"shelf:feed:u", "shelf:feed:u:category=garden"}, "the page for all is made seldom"


def test_what_is_from_the_future_is_told_by_when_its_record_came_not_by_who_reads_it() -> None:
    one = replace(click(0, NOW + 7_200_000), timestamp_type=BY_BROKER)
    for now in (0, NOW, NOW + 9_000_000):
        [(_, why)] = Batch.of([one], now, EVENTS).refused
        assert why.reason == "future"
        assert not Batch.of([replace(click(0, NOW), timestamp_type=BY_BROKER)], now, EVENTS).refused
    claimed = replace(one, timestamp_type=0, timestamp_ms=NOW + 7_200_000)
    assert Batch.of([claimed], NOW, EVENTS).refused, "whatever its producer says of when it came"


def test_good_bad_and_silent_records_are_told_apart() -> None:
    shown = record(3, type="impression", ts=1, shelf_id="s", surface="feed", items=[{"item_id": "i", "position": 0}])
    sorted_ = batch(click(0, 1), record(1, raw=b"{"), search(2, 2, "tv", "v"), shown)
    assert [(at.offset, why.reason) for at, why in sorted_.refused] == [(1, "malformed")]
    assert list(sorted_.by_shopper) == ["u", "v"] and len(sorted_.events) == 3
    assert [at.offset for at in sorted_.searches] == [2]


def test_one_feed_a_shopper_named_by_the_newest_event_whatever_the_order() -> None:
    for order in ((click(0, 5), click(1, 9), click(2, 7)), (click(1, 9), click(2, 7), click(0, 5))):
        [feed] = [ask for ask in wanted(*order) if ask.surface == "feed"]
        assert (feed.event_id, feed.event_ts, feed.key) == ("e1", 9, "shelf:feed:u")


def test_a_late_event_does_not_age_the_feed() -> None:
    known = Shopper(touched=(Touched(50, "click", "j"),))
    [feed] = [ask for ask in wanted(click(0, 5), shopper=known) if ask.surface == "feed"]
    assert feed.event_ts == 50


def test_one_general_shelf_a_query_and_a_personal_one_for_those_with_a_past() -> None:
    first = wanted(search(0, 5, "TV"), search(1, 8, " tv ", "v"), shopper=Shopper(asked=(Asked(8, "tv"),)))
    assert [(ask.key, ask.event_ts) for ask in first if ask.surface == "search"] == [("shelf:search:tv", 8)]
    known = wanted(search(0, 5, "TV"), shopper=Shopper(touched=(Touched(1, "click", "j"),)))
    assert [ask.key for ask in known if ask.surface == "search"] == ["shelf:search:tv:u", "shelf:search:tv"]
    asked = wanted(search(0, 5, "TV"), shopper=Shopper(asked=(Asked(5, "tv"), Asked(1, "usb"))))
    assert [ask.key for ask in asked if ask.surface == "search"] == ["shelf:search:tv:u", "shelf:search:tv"]


def test_similar_shelves_only_when_due() -> None:
    similar = Recent(1_000)
    for _ in range(2):  # asked for until it is made
        keys = [ask.key for ask in wanted(click(0, 5), click(1, 6), click(2, 6, "j"), similar=similar)]
        assert keys.count("shelf:similar:i") == keys.count("shelf:similar:j") == 1
    similar.done("i", NOW)
    assert not [ask for ask in wanted(click(3, 9), similar=similar) if ask.surface == "similar"]


def test_recent_forgets_what_was_done_longest_ago() -> None:
    recent = Recent(every_ms=100, capacity=2)
    for name in "abc":
        recent.done(name, 0)
    assert recent.due("a", 1) and not recent.due("c", 1)


def test_an_empty_batch_asks_for_nothing() -> None:
    assert wanted() == []
