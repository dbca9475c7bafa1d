"""Click rates under watch: falls are seen, stable rates are not, and a state that was saved goes on."""

import json

import numpy as np
import pytest

from evaluator.metrics.impression import AttributedImpression, JoinEvent, View
from evaluator.monitoring.monitor import MonitorRules
from evaluator.monitoring.rate_monitor import RateMonitor
from evaluator.monitoring.registry import MonitorRegistry

RULES = MonitorRules(learn=5_000, run_length=20_000, recover=2_000)


def feed(watch: RateMonitor, rate: float, count: int, chance: np.random.Generator) -> int:
    """How many it took until the reading changed; all of them where it did not."""
    before = watch.get().drifted
    for number in range(count):
        watch.update(bool(chance.random() < rate), f"u{chance.integers(1_000_000)}")
        if watch.get().drifted != before:
            return number + 1
    return count


def revived(watch: RateMonitor) -> RateMonitor:
    found = RateMonitor(RULES)
    found.load(json.loads(json.dumps(watch.save())))
    return found


def test_a_fall_is_seen_and_a_recovery_takes_it_back() -> None:
    chance, watch = np.random.default_rng(0), RateMonitor(RULES)
    assert feed(watch, 0.1, 30_000, chance) == 30_000
    assert feed(watch, 0.06, 10_000, chance) < 2_500 and watch.get().drifted
    assert feed(watch, 0.06, 6_000, chance) == 6_000, "as long as it lasts"
    assert feed(watch, 0.1, 10_000, chance) < 6_001 and not watch.get().drifted


def test_stable_rates_raise_no_more_false_alarms_than_stated() -> None:
    alarms = 0
    for seed in range(20):
        chance, watch = np.random.default_rng(seed), RateMonitor(RULES)
        alarms += feed(watch, 0.08, RULES.learn + 20_000, chance) < RULES.learn + 20_000
    assert alarms <= 8, "20 expected at most by the bound; the reference is a lower bound, so far fewer come"


@pytest.mark.parametrize("count", [0, 3_000, 9_000, 13_500, 15_000])
def test_what_is_saved_goes_on(count: int) -> None:
    chance = np.random.default_rng(1)
    stream = [bool(chance.random() < (0.1 if place < 10_000 else 0.03)) for place in range(20_000)]
    one, other = RateMonitor(RULES), RateMonitor(RULES)
    for place, value in enumerate(stream):
        if place == count:
            other = revived(other)
        one.update(value, f"u{place}")
        other.update(value, f"u{place}")
    assert one.get() == other.get() and one.get().drifted


def test_each_surface_and_arm_is_watched_by_itself() -> None:
    chance = np.random.default_rng(2)
    watches = MonitorRegistry(MonitorRules(learn=2_000, run_length=5_000, recover=1_000))
    told = []
    for number in range(8_000):
        for arm, rate in (("champion", 0.1), ("canary", 0.1 if number < 4_000 else 0.04)):
            outcomes = (JoinEvent(1, "click", "e"),) if chance.random() < rate else ()
            watches.update(View((AttributedImpression("u", "i", "s", "feed", 0, number, outcomes),), arm=arm))
        if number % 100 == 0:
            told += watches.alerts(number)
    assert [(one.state, one.labels) for one in told] == [("firing", {"surface": "feed", "arm": "canary"})]
    assert told[0].since > 4_000 and float(told[0].evidence["rate"]) < 0.06 and "canary" in told[0].summary
    again = MonitorRegistry.load(watches.rules, json.loads(json.dumps(watches.save())), watches.references())
    assert again.alerts(9_000) == [] and [one.key for one in again.active.get()] == [told[0].key]
