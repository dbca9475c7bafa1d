"""Simulated shoppers: the same again by seed, eyes that stay at the top, and events that the worker takes."""

import time
from collections import Counter, defaultdict
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveshelf.simulation.taste import FEED
from liveshelf.simulation.visit import EXAMINED, PAGE
from liveshelf.simulation.world import World
from streams.config import EventsConfig
from streams.events.decode import Refusal, decode_event
from streams.events.schema import AnyEvent, Click, Impression, Search, encoder
from streams.events.shelf import Shelf
from tests.liveshelf.simulation.shop import ITEMS, by_chance, play, shelf_of, total, undisturbed


def days(seed: int, n: int = 5, visits: int = 60) -> dict[str, list[AnyEvent]]:
    """What each shopper does, when all are shown rotating parts of the catalogue."""
    world = World(ITEMS, seed, n)
    done: dict[str, list[AnyEvent]] = {name: [] for name in world.ids}
    for visit in range(visits):
        ids = [item.item_id for item in ITEMS[visit % 100 :][:12]]
        for name in world.ids:
            done[name] += world.act(name, shelf_of(ids), 1_000_000 + visit * 1000)
    return done


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_same_seed_same_events(seed: int) -> None:
    assert days(seed, n=2, visits=20) == days(seed, n=2, visits=20)
    assert days(seed, n=2, visits=20) != days(seed + 1, n=2, visits=20)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), others=st.lists(st.integers(2, 9), max_size=40))
def test_what_one_does_depends_on_no_other(seed: int, others: list[int]) -> None:
    few, many = World(ITEMS, seed, n=1), World(ITEMS, seed, n=9)
    shelf = shelf_of([item.item_id for item in ITEMS])
    for now, other in enumerate(others):
        many.act(f"shopper-{other}", shelf, now * 1000)
        assert few.act("shopper-1", shelf, now * 1000) == many.act("shopper-1", shelf, now * 1000)


def test_all_events_are_valid_ordered_and_distinct() -> None:
    done = days(seed=1)
    events = [event for own in done.values() for event in own]
    assert {event.kind for event in events} >= {"search", "impression", "click", "read"}
    for event in events:
        decoded = decode_event(encoder.encode(event), came_ms=2_000_000, config=EventsConfig(earliest=date(1970, 1, 1)))
        assert not isinstance(decoded, Refusal), decoded.detail
        assert decoded == event
    assert len({event.event_id for event in events}) == len(events)
    for own in done.values():
        assert [event.time_ms for event in own] == sorted(event.time_ms for event in own)


def test_events_are_distinct_even_when_visits_follow_at_once() -> None:
    world = World(ITEMS, 1, n=1)
    shelf = shelf_of([item.item_id for item in ITEMS])
    ids = [event.event_id for _ in range(200) for event in world.act("shopper-1", shelf, 1000)]
    assert len(set(ids)) == len(ids)


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


def test_places_are_clicked_as_often_as_they_are_looked_at() -> None:
    clicks: Counter[int] = Counter()
    turns = play(World(ITEMS, 1, n=200), by_chance(), 6_000)  # by chance: what stands where is equally liked
    for turn in turns:
        clicks.update(event.position or 0 for event in turn.events if isinstance(event, Click))
    for place in range(1, PAGE):
        wanted = clicks.total() * EXAMINED[place] / sum(EXAMINED)
        assert abs(clicks[place] - wanted) < 4 * wanted**0.5


def test_what_is_liked_is_clicked_more_often() -> None:
    liked = indifferent = 0
    for seed in range(300):
        world = World(ITEMS, seed, n=1)
        ranked = sorted(world.items, key=lambda item_id: world.liking("shopper-1", item_id, FEED, 0))
        liked += any(event.kind == "click" for event in world.act("shopper-1", shelf_of(ranked[-1:]), 1000))
        indifferent += any(event.kind == "click" for event in world.act("shopper-1", shelf_of(ranked[:1]), 1000))
    assert liked > 80
    assert indifferent < 15


def test_shoppers_differ_in_how_readily_they_click() -> None:
    clicks: Counter[str] = Counter()
    visits: Counter[str] = Counter()
    for turn in undisturbed():
        clicks[turn.who] += turn.count("click")
        visits[turn.who] += 1
    rate = clicks.total() / visits.total()
    apart = sum((clicks[who] - rate * visits[who]) ** 2 / (rate * visits[who]) for who in visits) / (len(visits) - 1)
    assert apart > 4  # times the variance that chance alone would give


@pytest.mark.parametrize("shelf", [None, shelf_of([])])
def test_with_nothing_to_see_they_search_and_then_see_the_results(shelf: Shelf | None) -> None:
    world = World(ITEMS, 1, n=1)
    (event,) = world.act("shopper-1", shelf, 1000)
    assert isinstance(event, Search)
    aim = world.aim("shopper-1")
    assert (aim.surface, aim.query) == ("search", event.query)


def test_results_are_liked_for_the_thing_in_mind() -> None:
    """The thing in mind, though the query says it only in part."""
    world = World(ITEMS, 1, n=30)
    for who in world.ids:
        world.act(who, None, 0)
        aim = world.aim(who)
        assert aim.about is not None
        about = world.items[aim.about]
        assert world.liking(who, aim.about, aim, 1000) > 0.75
        assert all(word in f"{about.title} {about.brand}".lower() for word in aim.query.split())


def test_unknown_items_on_a_shelf_are_passed_over() -> None:
    world = World(ITEMS, 1, n=1)
    kinds = {e.kind for now in range(50) for e in world.act("shopper-1", shelf_of(["gone"]), now * 1000)}
    assert kinds <= {"impression", "search"}


def test_outcomes_come_in_their_order_and_ever_more_rarely() -> None:
    turns = undisturbed()
    counts = [total(turns, kind) for kind in ("click", "read", "cart", "purchase")]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] > 20
    for turn in turns:
        steps: dict[int | None, list[str]] = defaultdict(list)
        for event in turn.events:
            if not isinstance(event, Search | Impression):
                steps[getattr(event, "position", None)].append(event.kind)
        assert all(own == ["click", "read", "cart", "purchase"][: len(own)] for own in steps.values())


def test_two_thousand_visits_take_less_than_a_second() -> None:
    world, shelf = World(ITEMS, 1, n=60), shelf_of([item.item_id for item in ITEMS[:20]])
    began = time.process_time()
    for _, (at_ms, who) in zip(range(2_000), world.visits(25.0, 0), strict=False):
        world.act(who, shelf, at_ms)
    assert time.process_time() - began < 1.0
