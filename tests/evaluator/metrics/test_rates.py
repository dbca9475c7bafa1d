"""Rolling rates: what is in a window, in any order, by any slice; and that memory is bounded."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.metrics.impression import AttributedImpression, JoinEvent
from evaluator.metrics.rates import STEPS, WINDOWS, Rolling, RollingRates, Tally, bucket


def seen(ts: int, kind: str = "", position: int = 0, surface: str = "feed", value: float = 0.0) -> AttributedImpression:
    outcomes = (JoinEvent(ts + 1, kind, f"{ts}{kind}", value=value),) if kind else ()
    return AttributedImpression("u", "i", "s", surface, position, ts, outcomes)


def test_rates_are_those_of_the_window_and_slice() -> None:
    rates = RollingRates()
    for minute in range(120):
        ts = minute * 60_000
        rates.update(seen(ts, "click" if minute % 4 == 0 else ""), arm="champion", model="m1")
        rates.update(seen(ts, "purchase" if minute % 10 == 0 else "", value=5.0), arm="canary", model="m2")
    until = 119 * 60_000
    hour = rates.get("1h", until, arm="champion")
    assert (hour.impressions, hour.clicks) == (60, 15) and hour.ctr.rate == 0.25
    canary = rates.get("24h", until, arm="canary")
    assert canary.cvr.rate == 0.1 and canary.revenue_per_impression.rate == pytest.approx(0.5)
    assert rates.get("1m", until).impressions == 2 and rates.get("15m", until, model="none").impressions == 0
    both = rates.by("1h", until, ("surface",))
    assert both.keys() == {("feed",)} and both["feed",].impressions == 120
    assert rates.by("1h", until, ("arm", "model")).keys() == {("champion", "m1"), ("canary", "m2")}


EVENTS = st.lists(st.tuples(st.integers(0, 5_000_000), st.sampled_from(["", "click", "purchase"])), max_size=60)


@given(EVENTS, st.randoms())
def test_any_order_gives_the_same(events: list[tuple[int, str]], chance: Random) -> None:
    def total(order: list[tuple[int, str]]) -> list[Tally]:
        rates = RollingRates()
        for ts, kind in order:
            rates.update(seen(ts, kind), arm="a", model="m")
        return [rates.get(window, 5_000_000) for window in WINDOWS]

    shuffled = list(events)
    chance.shuffle(shuffled)
    assert total(events) == total(shuffled)


@given(st.lists(st.integers(0, 600_000), max_size=80), st.integers(0, 700_000))
def test_a_window_is_off_by_less_than_a_step(times: list[int], until: int) -> None:
    window = Rolling(60_000, Tally)
    for ts in times:
        window.part(ts).add(Tally(impressions=1))
    found = window.get(until).impressions
    step = 60_000 // STEPS
    surely = sum(until - 60_000 + step <= ts <= until for ts in times)
    maybe = sum(until - 60_000 - step <= ts <= until + step for ts in times)
    assert surely <= found <= maybe


def test_debiased_rates_find_the_rate_of_the_first_place() -> None:
    """Items shown at places that are looked at with probability 1, 1/2 and 1/4, clicked at 20 % where looked at."""
    chance, rates = np.random.default_rng(0), RollingRates()
    for number in range(20_000):
        bias = number % 3
        clicked = chance.random() < 0.2 * 0.5**bias
        rates.update(seen(number, "click" if clicked else "", (0, 1, 4)[bias]), arm="a", model="m")
    [found] = rates.by("1h", 20_000, (), {"1": 1.0, "2-3": 2.0, "4-6": 4.0}).values()
    assert found.ctr.rate == pytest.approx(0.2 * (1 + 0.5 + 0.25) / 3, abs=0.01)
    low, high = found.debiased_ctr[1:]
    assert low < 0.2 < high and high - low < 0.03


def test_memory_is_bounded() -> None:
    rates = RollingRates(most=50)
    for number in range(1_000):
        rates.update(seen(number * 10_000, surface=f"s{number % 200}"), arm="a", model="m")
    assert rates.dropped == 950 and len(rates._slices) == 50
    window = Rolling(60_000, Tally)
    for ts in range(0, 10_000_000, 1_000):
        window.part(ts).add(Tally(impressions=1))
        window.get(ts)
    assert len(window) == STEPS


def test_every_position_has_a_bucket() -> None:
    wanted = ["1", *["2-3"] * 2, *["4-6"] * 3, *["7-12"] * 6, *["13+"] * 2]
    assert [bucket(position) for position in range(14)] == wanted
