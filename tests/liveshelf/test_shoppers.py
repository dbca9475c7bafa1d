"""Simulated shoppers: the same again by seed, eyes that stay at the top, and events that the worker takes."""

from collections import Counter

import pytest

from liveshelf.catalogues import made_up
from liveshelf.shoppers import PAGE, Shoppers
from streams.config import EventsConfig
from streams.decode import Refusal, decode_event
from streams.events import AnyEvent, Click, Impression, Search, encoder
from streams.shelf import Shelf, ShelfItem

ITEMS = made_up(seed=3, n=120)


def shelf_of(ids: list[str], surface: str = "feed") -> Shelf:
    items = [ShelfItem(item_id, 1.0, 0.1, 0.1, 0.1, "vector") for item_id in ids]
    return Shelf(shelf_id="s", surface=surface, model="m", arm="a", made_at=1, event_ts=1, items=items)


def days(seed: int, visits: int = 30) -> dict[str, list[AnyEvent]]:
    """What each shopper does, when all are shown rotating parts of the catalogue."""
    shoppers = Shoppers(ITEMS, seed, n=5)
    done: dict[str, list[AnyEvent]] = {name: [] for name in shoppers.ids}
    for visit in range(visits):
        ids = [item.item_id for item in ITEMS[visit * 4 :][:12]]
        for name in shoppers.ids:
            done[name] += shoppers.act(name, shelf_of(ids), 1_000_000 + visit * 1000)
    return done


def test_same_seed_same_events() -> None:
    assert days(seed=1) == days(seed=1)
    assert days(seed=1) != days(seed=2)


def test_what_one_does_depends_on_no_other() -> None:
    few, many = Shoppers(ITEMS, 1, n=1), Shoppers(ITEMS, 1, n=9)
    shelf = shelf_of([item.item_id for item in ITEMS])
    for now in range(0, 20_000, 1000):
        many.act("shopper-7", shelf, now)
        assert few.act("shopper-1", shelf, now) == many.act("shopper-1", shelf, now)


def test_all_events_are_valid_ordered_and_distinct() -> None:
    events = [event for done in days(seed=1).values() for event in done]
    assert {event.kind for event in events} >= {"search", "impression", "click", "read"}
    for event in events:
        decoded = decode_event(encoder.encode(event), now_ms=2_000_000, config=EventsConfig())
        assert not isinstance(decoded, Refusal), decoded.detail
        assert decoded == event
    assert len({event.event_id for event in events}) == len(events)
    for done in days(seed=1).values():
        assert [event.time_ms for event in done] == sorted(event.time_ms for event in done)


def test_a_click_names_what_was_shown_where() -> None:
    for done in days(seed=1).values():
        shown: Impression | None = None
        for event in done:
            if isinstance(event, Impression):
                shown = event
            if isinstance(event, Click):
                assert shown is not None
                assert event.position is not None
                assert shown.items[event.position].item_id == event.item_id
                assert event.shelf_id == shown.shelf_id


def test_equally_liked_items_are_clicked_more_often_the_higher_they_stand() -> None:
    clicks: Counter[int] = Counter()
    for seed in range(2_000):
        shoppers = Shoppers(ITEMS, seed, n=1)
        ids = [item.item_id for item in ITEMS[seed % 100 :][:PAGE]]
        for event in shoppers.act("shopper-1", shelf_of(ids), 1000):
            if isinstance(event, Click):
                clicks[event.position or 0] += 1
    assert clicks[0] > 1.5 * clicks[4] > 0
    assert sum(clicks[place] for place in range(3)) > 1.5 * sum(clicks[place] for place in range(7, 10))


def test_what_is_liked_is_clicked_more_often() -> None:
    liked = indifferent = 0
    for seed in range(300):
        shoppers = Shoppers(ITEMS, seed, n=1)
        ranked = sorted(ITEMS, key=lambda item: shoppers.liking("shopper-1", item))
        for item, best in ((ranked[-1], True), (ranked[0], False)):
            kinds = [event.kind for event in shoppers.act("shopper-1", shelf_of([item.item_id]), 1000)]
            liked += best and "click" in kinds
            indifferent += not best and "click" in kinds
    assert liked > 200
    assert indifferent < 30


@pytest.mark.parametrize("shelf", [None, shelf_of([])])
def test_with_nothing_to_see_they_search_and_then_see_the_results(shelf: Shelf | None) -> None:
    shoppers = Shoppers(ITEMS, 1, n=1)
    (event,) = shoppers.act("shopper-1", shelf, 1000)
    assert isinstance(event, Search)
    assert shoppers.asked("shopper-1") == event.query


def test_unknown_items_on_a_shelf_are_passed_over() -> None:
    shoppers = Shoppers(ITEMS, 1, n=1)
    kinds = {e.kind for now in range(50) for e in shoppers.act("shopper-1", shelf_of(["gone"]), now * 1000)}
    assert kinds <= {"impression", "search"}
