"""What text does not say shows in what shoppers like, click and buy: at the stated rates, and not without a weight."""

import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveshelf.simulation.drift import QualityShift
from liveshelf.simulation.history import orders
from liveshelf.simulation.preferences import (
    BEHAVIOUR,
    IN_SETS,
    KEEPS,
    LAPSED,
    NEUTRAL,
    SPREAD,
    TEXT_ONLY,
    WANTED_DAYS,
    Preferences,
    Traits,
)
from liveshelf.simulation.taste import FEED, Aim
from liveshelf.simulation.visit import PAGE, total
from liveshelf.simulation.world import World
from streams.config import EventsConfig
from streams.events.decode import Refusal, decode_event
from streams.events.schema import Item, Purchase, encoder
from tests.liveshelf.simulation.shop import ITEMS, by_chance, oracle, play
from tests.liveshelf.simulation.shop import total as count

IDS = [item.item_id for item in ITEMS]
START_MS = 1_800_000_000_000
DAY_MS = 86_400_000


@cache
def past(preferences: Preferences, n: int = 60, days: float = 365.0) -> tuple[World, list[Purchase]]:
    """A shop and its orders of so many days."""
    world = World(ITEMS, 1, n, (), START_MS, preferences=preferences)
    return world, orders(world, days)


@settings(max_examples=50, deadline=None)
@given(
    liking=st.floats(0, 1),
    item=st.sampled_from(ITEMS),
    bought=st.dictionaries(st.sampled_from(IDS), st.floats(0, 100)),
    day=st.floats(0, 200),
)
def test_without_weights_nothing_but_text_counts(
    liking: float, item: Item, bought: dict[str, float], day: float
) -> None:
    traits = Traits(ITEMS, 1, TEXT_ONLY)
    assert traits.appeal(traits.profile("a"), item, traits.quality) == 1.0
    assert traits.now(liking, item.item_id, bought, day, feed=True) == liking
    assert traits.beside(liking, IDS[0], item.item_id) == liking
    assert not traits.changed(bought, day)


@pytest.mark.parametrize("name", ["quality", "brand", "price"])
def test_what_is_preferred_is_bought_more(name: str) -> None:
    """The mean trait of what is bought, with a weight and without, is apart by more than four standard errors."""
    found = []
    for weight in (0.0, 1.0):
        world, bought = past(
            replace(TEXT_ONLY, **{name: weight}), n=250, days=45
        )  # what is liked is not yet all bought
        only = Traits(ITEMS, 1, replace(TEXT_ONLY, **{name: 1.0}))
        values = [
            only.appeal(only.profile(event.user_id or ""), world.items[event.item_id], only.quality) for event in bought
        ]
        found.append((mean(values), stdev(values) / len(values) ** 0.5))
    (without, error), (with_it, other) = found
    assert with_it - without > 4 * math.hypot(error, other)


@pytest.mark.parametrize("rate", [0.0, 0.35])
def test_complements_are_bought_together_at_the_stated_rate(rate: float) -> None:
    """Of the missing items of the set of an order's first item; by taste some 2 % of them come by themselves."""
    world, bought = past(replace(TEXT_ONLY, together=rate))
    by_order: dict[str, list[Purchase]] = {}
    for event in bought:
        by_order.setdefault(event.session_id or "", []).append(event)
    own: dict[str, set[str]] = {name: set() for name in world.ids}
    hits: list[bool] = []
    for events in by_order.values():
        here, owned = {event.item_id for event in events}, own[events[0].user_id or ""]
        hits += [other in here for other in world.traits.complements.get(events[0].item_id, ()) if other not in owned]
        owned |= here
    assert len(hits) > 1_000
    error = 4 * (0.25 / len(hits)) ** 0.5
    assert rate - error < mean(hits) < rate + 0.02 + error


def test_sets_are_of_different_categories_and_words() -> None:
    traits = Traits(ITEMS, 1, BEHAVIOUR)
    category = {item.item_id: item.category for item in ITEMS}
    assert len(traits.complements) == pytest.approx(IN_SETS * len(ITEMS), abs=3)
    for item_id, others in traits.complements.items():
        assert len({category[one] for one in (item_id, *others)}) == 1 + len(others)
        assert all(item_id in traits.complements[other] for other in others)


def test_what_is_used_up_is_bought_again_after_its_interval() -> None:
    """The logarithms of the days, in intervals, have mean 0 and the stated spread, within four standard errors; and so
    often a thing is bought again."""
    world = World(ITEMS, 1, 400, start_ms=START_MS, preferences=replace(TEXT_ONLY, repeats=0.8))
    ratios, ended = [], 0
    for name in world.ids:
        when: dict[str, list[int]] = {}
        found = world.order(name, START_MS)
        while True:
            for event in found:
                when.setdefault(event.item_id, []).append(event.time_ms)
            if (due := world.next_due(name)) is None:
                break
            found = world.order(name, due, anything=False)
        for item_id, times in when.items():
            if (interval := world.traits.intervals.get(item_id)) is not None:
                ended += 1
                ratios += [math.log((after - before) / DAY_MS / interval) for before, after in pairwise(times)]
    assert len(ratios) > 300
    assert abs(mean(ratios)) < 4 * SPREAD / len(ratios) ** 0.5
    assert abs(stdev(ratios) - SPREAD) < 4 * SPREAD / (2 * len(ratios)) ** 0.5
    tries = len(ratios) + ended
    assert abs(len(ratios) / tries - KEEPS) < 4 * (KEEPS * (1 - KEEPS) / tries) ** 0.5


def test_what_completes_a_set_is_liked_more_for_a_while_and_only_on_the_feed() -> None:
    traits = Traits(ITEMS, 1, BEHAVIOUR)
    item_id = next(one for one in traits.complements if one not in traits.intervals)
    other = next(one for one in traits.complements[item_id] if one not in traits.intervals)
    late = WANTED_DAYS + 0.01
    for bought, day, feed, more in (
        ({item_id: 0.0}, 0.0, True, True),
        ({item_id: 0.0}, late, True, False),
        ({item_id: 0.0}, 0.0, False, False),
        ({}, 0.0, True, False),
        ({item_id: 0.0, other: 0.0}, 0.0, True, False),
    ):
        assert (traits.now(0.2, other, bought, day, feed=feed) > 0.2) is more
        assert (other in traits.changed(bought, day)) is (bool(bought) and day < late)
    assert traits.beside(0.2, item_id, other) > 0.2 == traits.beside(0.2, other, other)


def test_a_consumable_is_liked_less_then_more_then_as_ever() -> None:
    traits = Traits(ITEMS, 1, BEHAVIOUR)
    item_id, interval = next(iter(traits.intervals.items()))
    days = [0.0, interval, 1.5 * interval, LAPSED * interval + 0.01]
    just, due, late, lapsed = (traits.now(0.3, item_id, {item_id: 0.0}, day, feed=True) for day in days)
    assert just < lapsed == 0.3 < due < late
    assert traits.now(0.3, item_id, {item_id: 0.0}, 1.5 * interval, feed=False) == pytest.approx(0.3, rel=0.05)


def test_expected_clicks_come_true_with_all_preferences() -> None:
    world = World(ITEMS, 2, 60, preferences=replace(BEHAVIOUR, day_ms=1_000))
    turns = play(world, oracle, 3_000)
    expected = PAGE * sum(turn.expected for turn in turns)
    assert abs(count(turns, "click") - expected) < 3 * expected**0.5
    direct = [
        event for turn in turns for event in turn.events if isinstance(event, Purchase) and event.shelf_id is None
    ]
    assert len(direct) > 50
    assert len({event.event_id for turn in turns for event in turn.events}) == sum(len(turn.events) for turn in turns)


@pytest.mark.parametrize("aim", [FEED, Aim("similar", "", IDS[50]), Aim("search", "toaster", IDS[60])])
def test_nothing_beats_the_oracle_and_chance_is_the_mean_with_all_preferences(aim: Aim) -> None:
    world = World(ITEMS, 1, 5, preferences=replace(BEHAVIOUR, day_ms=1_000))
    play(world, by_chance(), 100)
    now = play(world, oracle, 500)[-1].at_ms
    for who in world.ids:
        offered = world.oracle(who, aim, len(IDS), now)
        alone = {item_id: world.expected_ctr([item_id], who, aim, now) for item_id in offered}
        assert offered[:PAGE] == world.oracle(who, aim, PAGE, now)
        assert list(alone.values()) == sorted(alone.values(), reverse=True)
        assert world.random_ctr(who, aim, PAGE, now) == pytest.approx(total(PAGE) / PAGE * mean(alone.values()))
        assert len(offered) == len(IDS) - (aim.surface == "similar")


def test_a_shift_of_quality_changes_what_sells() -> None:
    """The best sellers before the middle sell less after it than without the shift, by more than four errors."""
    shares = []
    for drifts in ([], [QualityShift(-30 * 86_400.0, share=1.0)]):
        world = World(ITEMS, 1, 250, drifts, START_MS, preferences=replace(TEXT_ONLY, quality=1.0))
        middle, bought = START_MS - 30 * DAY_MS, orders(world, days=60)
        first, later = ([e.item_id for e in bought if (e.time_ms < middle) is early] for early in (True, False))
        best = sorted(IDS, key=lambda item_id: -first.count(item_id))[:12]
        shares.append((mean(item_id in best for item_id in later), 0.25 / len(later)))
    (steady, error), (shifted, other) = shares
    assert steady - shifted > 4 * (error + other) ** 0.5


def test_a_history_is_the_seeds_valid_ordered_and_goes_on_in_the_shop() -> None:
    world, bought = past(BEHAVIOUR, n=20)
    again = orders(World(ITEMS, 1, 20, (), START_MS, preferences=BEHAVIOUR), days=365)
    assert bought == again
    times = [event.time_ms for event in bought]
    assert times == sorted(times) and times[0] >= START_MS - 365 * DAY_MS and times[-1] < START_MS
    assert len({event.event_id for event in bought}) == len(bought)
    for event in bought:
        decoded = decode_event(encoder.encode(event), came_ms=START_MS, config=EventsConfig())
        assert not isinstance(decoded, Refusal), decoded.detail
    new = World(ITEMS, 1, 20, (), START_MS, preferences=BEHAVIOUR)
    for event in bought[-50:]:
        if event.item_id not in world.traits.intervals:  # it lasts, and is not wanted now
            aim = Aim("search", "", event.item_id)
            after, before = (one.liking(event.shopper, event.item_id, aim, START_MS) for one in (world, new))
            assert after < before


def test_likings_by_other_weights_are_those_of_a_shop_with_these_weights() -> None:
    world, other = (World(ITEMS, 1, 3, preferences=one) for one in (BEHAVIOUR, replace(TEXT_ONLY, quality=0.7)))
    for who in world.ids:
        found = world.likings(who, FEED, 0, replace(TEXT_ONLY, quality=0.7))
        assert found == {item_id: other.liking(who, item_id, FEED, 0) for item_id in IDS}
        assert world.likings(who, FEED, 0, BEHAVIOUR) == {one: world.liking(who, one, FEED, 0) for one in IDS} != found


@pytest.mark.parametrize(("name", "value"), [("quality", 1.1), ("repeats", -0.1), ("eager", 0.0), ("day_ms", math.nan)])
def test_a_weight_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is "):
        Preferences(**{name: value})


def test_items_without_brand_and_price_are_disliked_for_neither() -> None:
    plain = [Item(item_id=str(number), title="Thing") for number in range(3)]
    traits = Traits(plain, 1, Preferences(brand=1.0, price=1.0))
    assert traits.appeal(NEUTRAL, plain[0], traits.quality) == 1.0
