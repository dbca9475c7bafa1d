"""What is expected comes true, nothing beats the oracle, and a shop without drift has a steady click rate."""

from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveshelf.simulation.taste import FEED, Aim
from liveshelf.simulation.truth import Rates
from liveshelf.simulation.visit import PAGE
from liveshelf.simulation.world import World
from streams.events.schema import Purchase
from tests.liveshelf.simulation.shop import ITEMS, Policy, Turn, by_chance, by_liking, oracle, play, shelf_of, total

IDS = [item.item_id for item in ITEMS]


@cache
def lived_in(seed: int, n: int = 3, visits: int = 300) -> World:
    """A world whose shoppers have opened things lately."""
    world = World(ITEMS, seed, n)
    play(world, oracle, visits)
    return world


def rate(turns: list[Turn]) -> float:
    return total(turns, "click") / (PAGE * len(turns))


@pytest.mark.parametrize("policy", [by_chance(), by_liking(), oracle])
def test_realised_click_rates_are_the_expected_ones(policy: Policy) -> None:
    turns = play(World(ITEMS, 2, n=60), policy, 3_000)
    expected = PAGE * sum(turn.expected for turn in turns)
    assert abs(total(turns, "click") - expected) < 3 * expected**0.5  # no more than Poisson's spread


def test_one_visit_repeated_has_its_expected_rate() -> None:
    """A ranking that was never seen before, in 800 worlds."""
    clicks = expected = 0.0
    for seed in range(800):
        world = World(ITEMS[:40], seed, n=1)
        expected += PAGE * world.expected_ctr(IDS[:12], "shopper-1", FEED, 0)
        clicks += sum(event.kind == "click" for event in world.act("shopper-1", shelf_of(IDS[:12]), 0))
    assert abs(clicks - expected) < 3 * expected**0.5


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    ranking=st.permutations(IDS),
    aim=st.sampled_from([FEED, Aim("search", "x", IDS[7]), Aim("similar", "", IDS[50])]),
    k=st.integers(1, PAGE),
)
def test_no_ranking_beats_the_oracle(seed: int, ranking: list[str], aim: Aim, k: int) -> None:
    world = lived_in(seed)
    for who in world.ids:
        offered = world.oracle(who, aim, len(IDS), 10_000)
        best, shown = offered[:k], [item_id for item_id in ranking if item_id in offered][:k]
        assert best == world.oracle(who, aim, k, 10_000)
        assert len(set(best)) == len(shown)
        top = world.expected_ctr(best, who, aim, 10_000)
        assert world.expected_ctr(shown, who, aim, 10_000) <= top + 1e-12
        assert world.expected_ctr(best[::-1], who, aim, 10_000) <= top + 1e-12
        assert world.random_ctr(who, aim, len(shown), 10_000) < top


@pytest.mark.parametrize("aim", [FEED, Aim("similar", "", IDS[50])])
def test_the_rate_of_chance_is_that_of_random_shelves(aim: Aim) -> None:
    world, random = lived_in(1), Random(1)
    for who in world.ids:
        offered = world.oracle(who, aim, len(IDS), 10_000)
        drawn = [world.expected_ctr(random.sample(offered, PAGE), who, aim, 10_000) for _ in range(800)]
        mean = sum(drawn) / len(drawn)
        error = (sum((one - mean) ** 2 for one in drawn) / len(drawn)) ** 0.5 / len(drawn) ** 0.5
        assert abs(world.random_ctr(who, aim, PAGE, 10_000) - mean) < 4 * error


def test_what_was_bought_is_not_offered_again() -> None:
    world = World(ITEMS, 1, n=3)
    bought = {
        (turn.who, event.item_id)
        for turn in play(world, oracle, 2_000)
        for event in turn.events
        if isinstance(event, Purchase)
    }
    assert len(bought) > 5
    for who in world.ids:
        offered = world.oracle(who, FEED, len(IDS), 10**6)
        assert set(IDS) - set(offered) == {item_id for buyer, item_id in bought if buyer == who}


def test_what_is_out_of_stock_is_not_possible() -> None:
    best = World(ITEMS, 1, n=1).oracle("shopper-1", FEED, 1, 0)[0]
    items = [type(item)(item_id=item.item_id, title=item.title, in_stock=item.item_id != best) for item in ITEMS]
    assert best not in World(items, 1, n=1).oracle("shopper-1", FEED, len(items), 0)


def reach(rates: list[Rates]) -> float:
    """The share of the way from chance to the oracle, over all visits."""
    shown, best, chance = (sum(column) for column in zip(*rates, strict=True))
    return (shown - chance) / (best - chance)


def test_reach_is_1_for_the_oracle_0_for_chance_and_between_for_what_is_between() -> None:
    world, found = World(ITEMS, 1, n=40), {name: list[Rates]() for name in ("oracle", "half", "chance")}
    random = Random(1)
    for turn in play(world, by_liking(), 700):
        best = world.oracle(turn.who, world.aim(turn.who), PAGE, turn.at_ms)
        by_luck = random.sample(IDS, PAGE)
        for name, ranking in (("oracle", best), ("half", best[::2] + by_luck[:5]), ("chance", by_luck)):
            found[name].append(world.rates(ranking, turn.who, turn.at_ms))
    assert reach(found["oracle"]) == pytest.approx(1.0)
    assert reach(found["chance"]) == pytest.approx(0.0, abs=0.02)
    assert 0.4 < reach(found["half"]) < 0.9


@pytest.mark.parametrize("policy", [by_chance(), by_liking()])
def test_without_drift_the_click_rate_stays(policy: Policy) -> None:
    """Windows of 1,250 visits, after a minute in which novelty wears off; expected rates, so that noise is what
    shoppers are about, and realised ones."""
    turns = play(World(ITEMS, 3, n=60), policy, 9_000)[1_500:]
    windows = [turns[start : start + 1_250] for start in range(0, len(turns), 1_250)]
    level = rate(turns)
    for window in windows:
        assert abs(rate(window) - level) < 4 * (level / (PAGE * len(window))) ** 0.5 * 1.3  # visits share a mood
    expected = [sum(turn.expected for turn in window) / len(window) for window in windows]
    assert max(expected) - min(expected) < 0.12 * level
    assert not all(one > other for one, other in pairwise(expected))
    first, last = sum(expected[:3]) / 3, sum(expected[3:]) / 3
    assert abs(last / first - 1) < 0.03
