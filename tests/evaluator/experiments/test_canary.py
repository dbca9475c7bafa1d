"""The experiment that a challenger is judged by: what counts, for how long, and that its traffic is split as meant."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from evaluator.experiments.canary import SETTLED_MS, STATE, CanaryExperiment
from evaluator.experiments.experiment import Experiment
from evaluator.metrics.impression import AttributedImpression, JoinEvent, View
from models.store.slots import Promotion, Slot
from streams.ranking.assignment import assign

BEGUN = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT = int(BEGUN.timestamp() * 1_000)
COUNTS = AT + SETTLED_MS
CLICKED = (JoinEvent(1, "click", "e"),)
ENOUGH = math.log10(20)


def slot(version: str = "m2", share: float = 0.2, seconds: float = 0) -> Slot:
    return Slot(Promotion(version, BEGUN + timedelta(seconds=seconds), "passed the gate", share))


def arm(shopper: str, version: str = "m2", share: float = 0.2) -> str:
    return "canary" if assign(shopper, version) < share else "champion"


def view(shopper: str, of: str, made_at: int | None = COUNTS, clicked: bool = False, ts: int = COUNTS) -> View:
    closed = tuple(
        AttributedImpression(
            shopper, f"i{position}", "s", "feed", position, ts, CLICKED if clicked and not position else ()
        )
        for position in range(5)
    )
    return View(closed, "m", of, made_at=made_at, made_for=shopper)


def told(challenge: CanaryExperiment) -> dict[str, float]:
    found = {}
    for one in challenge.get():
        assert one.labels["challenger"]
        found[" ".join((one.name.removeprefix("experiment_"), one.labels["arm"], one.labels.get("test", "")))] = (
            one.value
        )
    return found


def after(views: Iterable[View], holds: Slot) -> CanaryExperiment:
    challenge = CanaryExperiment(block_ms=3_000)
    challenge.hold(holds)
    for one in views:
        challenge.update(one)
    return challenge


def again(*challenges: CanaryExperiment) -> CanaryExperiment:
    """Who goes on from what was kept."""
    fields = dict[bytes, bytes]()
    for one in challenges:
        changed, anew = one.drain()
        fields = changed if anew else fields | changed
    found = CanaryExperiment(block_ms=3_000)
    found.load(fields)
    return found


def test_shelves_of_their_own_arm_that_were_made_since_count() -> None:
    shoppers = [f"u{number}" for number in range(500)]
    good = [view(one, arm(one)) for one in shoppers]
    other = {"canary": "champion", "champion": "canary"}
    views = [
        *good,
        *[view(one, arm(one), made_at=COUNTS - 1) for one in shoppers],
        *[view(one, arm(one), made_at=None) for one in shoppers],
        *[view(one, other[arm(one)]) for one in shoppers],
        *[view(one, name) for one in shoppers for name in ("shared", "holdback", "")],
    ]
    found = told(after(views, slot()))
    for name in ("champion", "canary"):
        own = [one for one in shoppers if arm(one) == name]
        assert found[f"impressions {name} "] == 5 * len(own) and found[f"shoppers {name} "] == len(own)
        assert found[f"clicks {name} "] == 0
    assert found["log10_evalue canary traffic"] < 1.3


def test_a_shelf_that_another_sees_is_of_the_arm_that_it_was_made_for() -> None:
    shopper = next(name for name in map("u{}".format, range(99)) if arm(name) == "canary")
    other = next(name for name in map("u{}".format, range(99)) if arm(name) == "champion")
    seen = View(
        (AttributedImpression(other, "i", "s", "feed", 0, COUNTS),), "m", "canary", made_at=COUNTS, made_for=shopper
    )
    assert told(after([seen], slot()))["impressions canary "] == 1


def test_another_share_or_challenger_is_another_experiment_and_a_shadow_is_none() -> None:
    challenge = after([view("u1", arm("u1"))], slot())
    challenge.hold(slot())
    assert sum(value for name, value in told(challenge).items() if name.startswith("impressions")) == 5
    for other in (slot(seconds=9), slot("m3"), slot(share=0.5)):
        challenge = after([view("u1", arm("u1"))], slot())
        challenge.hold(other)
        assert sum(value for name, value in told(challenge).items() if name.startswith("impressions")) == 0
    current = slot().current
    assert current is not None
    for none in (slot(share=0), slot(share=1), Slot(None, (current,), "clicks fell"), None):
        challenge = after([], slot())
        challenge.hold(none)
        challenge.update(view("u1", "champion"))
        assert told(challenge) == {} and challenge.drain() == ({}, False)


def test_a_restart_goes_on_though_all_the_slot_ever_held_is_told_again() -> None:
    views = [view(f"u{number % 40}", arm(f"u{number % 40}"), ts=COUNTS + 100 * number) for number in range(300)]
    whole = after(views, slot())
    other = again(after(views[:100], slot()))
    for one in views[100:200]:
        other.update(one)
    for past in (slot("m1", seconds=-900), Slot(None, slot("m1").history, "gave up"), slot(share=0, seconds=-60)):
        other.hold(past)
        assert told(other) == told(after(views[:200], slot())), "what was before changes nothing"
    other.hold(slot())
    for one in views[200:]:
        other.update(one)
    assert told(other) == told(whole) and other.drain()[0][STATE] == whole.drain()[0][STATE]
    assert other.drain() == ({}, False), "nothing has changed"


def test_what_was_saved_of_another_challenger_or_blocks_is_begun_anew() -> None:
    views = [view(f"u{number}", arm(f"u{number}")) for number in range(50)]
    challenge = again(after(views, slot()))
    challenge.hold(slot("m3"))
    assert told(challenge)["impressions champion "] == 0
    challenge.update(view("u1", arm("u1", "m3")))
    _, anew = challenge.drain()
    assert anew, "nothing of the other's filter is left"
    fields, _ = after(views, slot()).drain()
    other = CanaryExperiment(block_ms=60_000)
    other.load(fields)
    assert told(other) == {}
    saved = msgspec.msgpack.decode(fields[STATE])
    saved["experiment"]["clicks"]["canary"]["widest"] = 4.0
    for junk in (msgspec.msgpack.encode(saved), b"junk", b"", msgspec.msgpack.encode({"experiment": []})):
        other = CanaryExperiment(block_ms=3_000)
        other.load(fields | {STATE: junk})
        assert told(other) == {}


def test_of_all_partitions_that_have_counted_for_it_one_is_made() -> None:
    views = [view(f"u{number % 90}", arm(f"u{number % 90}"), ts=COUNTS + 100 * number) for number in range(600)]
    parts = [after(views[:300], slot()), after(views[300:], slot()), after(views, slot("m1"))]
    states = [one.drain()[0][STATE] for one in parts]
    whole = after([], slot())
    for _ in range(2):
        whole.gather([*states, b"junk"])
        counted = {name: number for name, number in told(whole).items() if name.startswith("impressions")}
        assert sum(counted.values()) == 3_000, "each once, of this experiment alone, however often it is looked"
    nothing = after([], Slot())
    nothing.gather(states)
    assert told(nothing) == {}


def test_the_ratio_is_told_as_far_as_it_is_known() -> None:
    assert not any(name.startswith("ratio ") for name in told(after([], slot())))
    chance, views = np.random.default_rng(0), list[View]()
    for number in range(20_000):
        shopper = f"u{number % 2_000}"
        clicked = bool(chance.random() < (0.5 if arm(shopper) == "canary" else 0.3))
        views.append(view(shopper, arm(shopper), clicked=clicked, ts=COUNTS + 10 * number))
    found = told(after(views, slot()))
    assert found["ratio_low canary "] < found["ratio canary "] < found["ratio_high canary "]
    assert 1.5 < found["ratio canary "] < 1.85 and found["log10_evalue canary clicks"] > 1.3
    assert "ratio champion " not in found and all(map(math.isfinite, found.values()))


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_traffic_is_split_as_meant_though_heavy_shoppers_come_sooner_and_workers_late(late: float) -> None:
    """60 experiments with a share of 5 %, looked at all the time. Workers of half the shoppers may have it a minute
    late; by the arms on the shelves alone most of these experiments would look split otherwise than meant."""
    chance, runs, errors, naive, share = np.random.default_rng(4), 60, 0, 0, 0.05
    for run in range(runs):
        version, plain = f"m{run}", Experiment({"champion": 1 - share, "canary": share})
        challenge = after([], slot(version, share))
        weights, lagging = chance.gamma(0.5, 2.0, 2_000), chance.random(2_000) < late
        erred = erred_naive = False
        for number, shopper in enumerate(chance.choice(2_000, size=4_000, p=weights / weights.sum()).tolist()):
            name, ts = f"{run}.{shopper}", COUNTS + 30 * number
            of = "champion" if lagging[shopper] and ts < COUNTS + 60_000 else arm(name, version, share)
            closed = AttributedImpression(name, "i", "s", "feed", 0, ts)
            challenge.update(View((closed,), "m", of, made_at=ts, made_for=name))
            plain.update(closed, of)
            if number % 200 == 0:
                erred |= told(challenge)["log10_evalue canary traffic"] >= ENOUGH
                erred_naive |= plain.get()["canary"].log10_traffic >= ENOUGH
        errors, naive = errors + erred, naive + erred_naive
    assert errors / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert not late or naive / runs > 0.3


def test_a_canary_whose_shelves_are_lent_by_the_champion_is_not_split_as_meant() -> None:
    shoppers = [f"u{number}" for number in range(3_000)]
    failing = [
        view(one, "shared" if arm(one) == "canary" and number % 3 else arm(one)) for number, one in enumerate(shoppers)
    ]
    assert told(after(failing, slot()))["log10_evalue canary traffic"] >= ENOUGH
