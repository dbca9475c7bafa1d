"""Each drift changes what it should, from its moment on, and nothing else."""

from collections import Counter
from collections.abc import Sequence

import pytest

from liveshelf.demo.catalogs import made_up
from liveshelf.simulation.arrivals import CLICKS
from liveshelf.simulation.drift import (
    ADOPTED,
    DRIFTS,
    SEASONAL,
    BotTraffic,
    BrokenFrontend,
    Drift,
    NewCategory,
    PriceShock,
    Season,
    TasteShift,
    parse,
)
from liveshelf.simulation.taste import FEED
from liveshelf.simulation.visit import ELASTICITY, PAGE
from liveshelf.simulation.world import World
from streams.events.schema import Click, Purchase, Search
from tests.liveshelf.simulation.shop import ITEMS, Turn, by_chance, by_liking, play, total, undisturbed

AT_S, AT_MS = 60.0, 60_000


def worlds(drift: Drift, n: int = 60) -> tuple[World, World]:
    """Without the drift, and with it."""
    return World(ITEMS, 1, n), World(ITEMS, 1, n, [drift])


def split(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Before and from the moment on."""
    return [turn for turn in turns if turn.at_ms < AT_MS], [turn for turn in turns if turn.at_ms >= AT_MS]


def acts(turns: Sequence[Turn], *without: str) -> list[tuple[object, ...]]:
    """What was done, but for times and prices."""
    events = (event for turn in turns for event in turn.events if event.kind not in without)
    return [
        (e.kind, e.shopper, e.session_id, getattr(e, "item_id", ""), getattr(e, "query", ""), getattr(e, "items", ""))
        for e in events
    ]


@pytest.mark.parametrize("name", [name for name in DRIFTS if name != "category"])
def test_nothing_changes_before_its_moment_nor_after_its_end(name: str) -> None:
    plain, drifting = worlds(parse(f"{name}@60-90"))
    before = split(undisturbed())[0]
    turns = play(drifting, by_liking(), 1_700)
    assert [turn.events for turn in split(turns)[0]] == [turn.events for turn in before]
    for who in plain.ids:
        best = plain.oracle(who, FEED, 10, AT_MS)
        assert sorted(drifting.on_sale(90_000)) == sorted(plain.on_sale(90_000))
        assert [drifting.liking(who, i, FEED, 0) for i in best] == [drifting.liking(who, i, FEED, 90_000) for i in best]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_taste_shift_takes_its_share_of_what_the_old_ranking_was_better_than_chance(share: float) -> None:
    world = World(ITEMS, 1, n=500, drifts=[TasteShift(AT_S, share=share)])
    old = {who: world.oracle(who, FEED, PAGE, 0) for who in world.ids}

    def mean(now_ms: int, rankings: dict[str, list[str]]) -> float:
        return sum(world.expected_ctr(ranking, who, FEED, now_ms) for who, ranking in rankings.items()) / len(world.ids)

    before, after = mean(0, old), mean(AT_MS, old)
    chance = sum(world.random_ctr(who, FEED, PAGE, 0) for who in world.ids) / len(world.ids)
    assert after == pytest.approx(before - share * (before - chance), abs=0.04 * before)
    new = {who: world.oracle(who, FEED, PAGE, AT_MS) for who in world.ids}
    assert mean(AT_MS, new) == pytest.approx(before, rel=0.05)  # as much is possible as was
    shifted = sum(new[who] != old[who] for who in world.ids) / len(world.ids)
    assert shifted == pytest.approx(share, abs=0.06)


def test_a_taste_shift_changes_no_catalogue_and_no_habits() -> None:
    plain, drifting = worlds(TasteShift(AT_S, share=1.0))
    assert drifting.changed(0, 10**9) == {}
    turns = [play(world, by_chance(), 4_000) for world in (plain, drifting)]
    kinds = [Counter(event.kind for turn in own for event in turn.events) for own in turns]
    assert kinds[0]["impression"] == kinds[1]["impression"]
    assert kinds[0]["search"] == pytest.approx(kinds[1]["search"], rel=0.05)


def test_fashions_take_turns_over_the_brands() -> None:
    plain = World(ITEMS, 1, 20)
    world = World(ITEMS, 1, 20, [parse("fashion=0.2@0-60"), parse("fashion=0.2@60")])
    out: list[set[str]] = []
    for now_ms in (0, AT_MS):
        ratios: dict[str, set[float]] = {}
        for who in world.ids:
            for item in ITEMS:
                if liked := plain.liking(who, item.item_id, FEED, now_ms):
                    ratio = world.liking(who, item.item_id, FEED, now_ms) / liked
                    ratios.setdefault(item.brand, set()).add(round(ratio, 9))
        assert all(found in ({1.0}, {0.2}) for found in ratios.values())
        out.append({brand for brand, found in ratios.items() if found == {0.2}})
    assert not out[0] & out[1] and out[0] | out[1] == {item.brand for item in ITEMS}
    assert abs(len(out[0]) - len(out[1])) <= 1


def test_a_new_category_is_held_back_then_liked_by_some() -> None:
    plain, drifting = worlds(NewCategory(AT_S, category="Garden"), n=400)
    garden = {item.item_id for item in ITEMS if item.category == "Garden"}
    assert set(drifting.on_sale(AT_MS - 1)) == set(drifting.items) - garden
    assert set(drifting.on_sale(AT_MS)) == set(plain.items)
    assert set(drifting.changed(0, AT_MS)) == garden
    tempted = 0
    for who in drifting.ids:
        best = drifting.oracle(who, FEED, 40, AT_MS)
        assert garden.isdisjoint(drifting.oracle(who, FEED, PAGE, 0))
        others = [item_id for item_id in drifting.items if item_id not in garden][::20]
        before, after = ([drifting.liking(who, i, FEED, now) for i in others] for now in (0, AT_MS))
        takes_to = max(drifting.liking(who, i, FEED, AT_MS) for i in garden) > 0.55
        tempted += takes_to
        assert takes_to or before == after
        assert not takes_to or garden.intersection(best)
    assert tempted / len(drifting.ids) == pytest.approx(ADOPTED, abs=0.08)


def test_before_a_new_category_the_shop_is_one_without_it() -> None:
    without = World([item for item in ITEMS if item.category != "Garden"], 1, n=20)
    held = World(ITEMS, 1, n=20, drifts=[NewCategory(AT_S, category="Garden")])
    assert list(without.on_sale(0)) == list(held.on_sale(0))
    assert [turn.aim for turn in play(without, by_chance(), 200)] == [turn.aim for turn in play(held, by_chance(), 200)]


def test_a_season_changes_what_is_searched_for_and_no_tastes() -> None:
    plain, drifting = worlds(Season(AT_S, category="Garden"))
    shares = []
    for turns in (undisturbed(), play(drifting, by_liking(), 5_000)):
        for part in split(turns):
            abouts = [turn.aim.about for turn in part if turn.aim.surface == "search"]
            shares.append(sum(plain.items[about or ""].category == "Garden" for about in abouts) / len(abouts))
    assert shares[0] == shares[2]
    assert shares[3] == pytest.approx(SEASONAL + (1 - SEASONAL) * shares[1], abs=0.04)
    for who in plain.ids:
        assert plain.oracle(who, FEED, PAGE, 10**7) == plain.oracle(who, FEED, PAGE, 0)
        assert [drifting.liking(who, i, FEED, 0) for i in plain.items] == [
            drifting.liking(who, i, FEED, AT_MS) for i in plain.items
        ]


def test_seasonal_queries_ask_for_things_of_the_category() -> None:
    turns = play(World(ITEMS, 1, 60, [Season(0.0, category="Garden")]), by_liking(), 2_000)
    titles = " ".join(item.title.lower() for item in ITEMS if item.category == "Garden")
    asked = [e.query for turn in turns for e in turn.events if isinstance(e, Search)]
    assert sum(all(word in titles for word in query.split()) for query in asked) / len(asked) > SEASONAL


def test_a_price_shock_changes_purchases_and_prices_and_no_clicks() -> None:
    drifting = World(ITEMS, 1, 60, [PriceShock(AT_S, factor=2.0)])
    before, after = undisturbed(), play(drifting, by_liking(), 7_000)
    assert acts(before, "purchase") == acts(after, "purchase")
    late = [split(turns)[1] for turns in (before, after)]
    wanted = total(late[0], "purchase") * 2.0**-ELASTICITY
    assert total(late[1], "purchase") == pytest.approx(wanted, abs=3 * wanted**0.5)
    for turn in late[1]:
        for event in turn.events:
            if isinstance(event, Click | Purchase):
                assert event.price == pytest.approx(2 * (drifting.items[event.item_id].price or 0.0), abs=0.01)
    assert set(drifting.changed(0, AT_MS)) == set(drifting.items)
    assert drifting.on_sale(0) == drifting.items


def test_a_broken_frontend_gives_impressions_and_no_clicks() -> None:
    before, after = undisturbed()[:3_000], play(World(ITEMS, 1, 60, [BrokenFrontend(AT_S)]), by_liking(), 3_000)
    assert {event.kind for turn in split(after)[1] for event in turn.events} == {"impression", "search"}
    assert total(after, "impression") == total(before, "impression")
    assert total(after, "search") == total(before, "search")


def test_a_frontend_that_is_half_broken_loses_half_of_the_clicks() -> None:
    turns = split(play(World(ITEMS, 1, 60, [BrokenFrontend(AT_S, share=0.5)]), by_liking(), 4_000))[1]
    expected = PAGE * sum(turn.expected for turn in turns)
    assert total(turns, "click") == pytest.approx(expected / 2, rel=0.06)


def test_bots_click_everything_evenly_and_leave_shoppers_alone() -> None:
    drifting = World(ITEMS, 1, 60, [BotTraffic(AT_S, share=0.4)])
    turns = play(drifting, by_liking(), 3_000)
    bots = [turn for turn in turns if turn.who not in drifting.ids]
    others = [turn.events for turn in turns if turn.who in drifting.ids]
    assert others == [turn.events for turn in undisturbed()[: len(others)]]
    places = Counter(e.position for turn in bots for e in turn.events if isinstance(e, Click))
    assert {e.kind for turn in bots for e in turn.events} == {"impression", "click"}
    for place in range(PAGE):
        spread = (len(bots) * CLICKS * (1 - CLICKS)) ** 0.5
        assert abs(places[place] - CLICKS * len(bots)) < 4 * spread


def test_drifts_add_up() -> None:
    both = World(ITEMS, 1, 60, [PriceShock(10.0, factor=2.0), PriceShock(20.0, factor=2.0)])
    item = next(iter(both.items.values()))
    prices = [both.on_sale(now)[item.item_id].price for now in (0, 10_000, 20_000)]
    assert prices == [pytest.approx((item.price or 0) * factor) for factor in (1, 2, 4)]


def test_moments_count_from_the_opening() -> None:
    late = World(ITEMS, 1, 1, [PriceShock(10.0)], start_ms=1_000_000)
    assert late.changed(0, 1_009_999) == {}
    assert late.changed(1_009_999, 1_010_000)
    assert all(item is not None for item in late.changed(1_009_999, 1_010_000).values())


def test_categories_by_chance_are_the_seeds() -> None:
    names = {
        next(iter(World(ITEMS, seed, 1, [NewCategory(AT_S)]).changed(0, AT_MS).values())).category  # type: ignore[union-attr]
        for seed in range(10)
    }
    assert 3 < len(names) <= 10


@pytest.mark.parametrize(
    ("text", "drift"),
    [
        ("taste@600", TasteShift(600.0)),
        ("taste=1@0-5.5", TasteShift(0.0, 5.5, share=1.0)),
        ("category@60", NewCategory(60.0)),
        ("category=Cables and adapters@60", NewCategory(60.0, category="Cables and adapters")),
        ("season=Toys@1-2", Season(1.0, 2.0, category="Toys")),
        ("prices=0.5@60", PriceShock(60.0, factor=0.5)),
        ("frontend@60-90", BrokenFrontend(60.0, 90.0)),
        ("bots=0.2@60", BotTraffic(60.0, share=0.2)),
    ],
)
def test_a_drift_can_be_written(text: str, drift: Drift) -> None:
    assert parse(text) == drift


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tastes@600", "names are taste, category"),
        ("taste", "as in taste@600"),
        ("taste@", "as in taste@600"),
        ("taste@1.2.3", "no number"),
        ("taste=much@60", "'much' is no number"),
        ("taste=2@60", "at most 1"),
        ("taste=nan@60", "at most 1"),
        ("bots=1@60", "left to shoppers"),
        ("prices=0@60", "above 0"),
        ("frontend@90-60", "before it begins"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_a_category_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"No item is of category 'Boats'; the largest are 'Headphones'"):
        World(ITEMS, 1, 1, [NewCategory(AT_S, category="Boats")])
    plain = [type(item)(item_id=item.item_id, title=item.title) for item in made_up(1, 24)]
    with pytest.raises(ValueError, match="name one"):
        World(plain, 1, 1, [Season(AT_S)])
    all_new = [parse(f"category={name}@60") for name in {item.category for item in ITEMS}]
    with pytest.raises(ValueError, match="on sale from the beginning"):
        World(ITEMS, 1, 1, all_new)
