"""What is watched beside click rates: scores, predictions, queries, items; within their model and across restarts."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from evaluator.metrics.impression import AttributedImpression, Chances, JoinEvent, View
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.monitor import MonitorRules
from evaluator.monitoring.registry import MOST, MonitorRegistry
from evaluator.monitoring.window_monitor import NewItemsMonitor
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, direction

RULES = MonitorRules(learn=300, run_length=3_000, recover=300, scores=200, predictions=400, inputs=80)
MINUTE = 60_000


def record(number: int, score: float, query: str, vector: np.ndarray, model: str = "m1") -> ShelfRecord:
    shelf = Shelf(
        shelf_id=f"s{number}",
        surface="search",
        model=model,
        arm="champion",
        made_at=number * MINUTE,
        event_ts=number * MINUTE,
        items=[ShelfItem("i", score, 0.1, 0.1, 0.1, "vector")],
    )
    embedding = direction("mini", vector.astype(np.float32))
    return ShelfRecord(key="k", shopper=f"u{number}", query=query, shelf=shelf, propensities=[1.0], vector=embedding)


def names(told: list[Alert]) -> set[tuple[str, str]]:
    return {(one.name, one.state) for one in told}


def searches(monitors: MonitorRegistry, numbers: range, shift: float, word: str, model: str = "m1") -> list[Alert]:
    told = []
    for number in numbers:
        chance = np.random.default_rng(number)
        vector = chance.normal(shift, size=16)
        monitors.update_shelf(record(number, float(chance.normal(shift)), f"{word} {number % 7}", vector, model))
        told += monitors.alerts(number * MINUTE)
    return told


def test_scores_and_queries_that_change_alarm_and_what_returns_ends_it() -> None:
    monitors = MonitorRegistry(RULES)
    assert searches(monitors, range(800), 0.0, "lamp") == []
    drifted = searches(monitors, range(800, 1_400), 1.0, "parka")
    assert names(drifted) == {(f"{what}_drift", "firing") for what in ("score_psi", "score_ks", "query")}
    query = next(one for one in drifted if one.name == "query_drift")
    assert query.evidence["more"] == "parka" and query.labels == {}
    back = searches(monitors, range(1_400, 2_600), 0.0, "lamp")
    last = {one.name: one.state for one in back}
    assert last == {f"{what}_drift": "resolved" for what in ("score_psi", "score_ks", "query")}


def test_another_model_has_other_scores_and_no_alarm() -> None:
    monitors = MonitorRegistry(RULES)
    searches(monitors, range(500), 0.0, "lamp")
    told = [one for one in searches(monitors, range(500, 1_500), 2.0, "lamp", "m2") if one.name != "query_drift"]
    assert told == []


def test_a_restart_goes_on_with_what_was_learned() -> None:
    monitors = MonitorRegistry(RULES)
    searches(monitors, range(300), 0.0, "lamp")
    kept = monitors.references()
    assert len(kept) == 3 and monitors.references() == {}, "each is given once"
    state, references = (msgspec.msgpack.decode(msgspec.msgpack.encode(one)) for one in (monitors.save(), kept))
    again = MonitorRegistry.load(RULES, state, references)
    assert len(names(searches(again, range(300, 900), 1.0, "parka"))) == 3
    forgotten = MonitorRegistry.load(RULES, state, {})
    late = MonitorRegistry.load(RULES, {"states": {}, "firing": again.save()["firing"]}, {})
    assert {one.state for one in late.alerts(10**9)} == {"resolved"}, "nobody is left to take these alerts back"
    assert names(searches(forgotten, range(300, 900), 1.0, "parka")) == set(), "who has no reference learns anew"


def predicted(number: int, rate: float, chance: np.random.Generator) -> View:
    p = float(chance.uniform(0.02, 0.3))
    clicked = (JoinEvent(number * MINUTE + 1, "click", f"e{number}"),) if chance.random() < rate * p else ()
    closed = AttributedImpression(f"u{number}", "i", f"s{number}", "feed", 0, number * MINUTE, clicked)
    return View((closed,), "m1", "champion", chances={"i": Chances(0.5, 0.01, p)})


def test_predictions_that_no_longer_hold_alarm() -> None:
    monitors, chance = MonitorRegistry(RULES), np.random.default_rng(3)
    for number in range(1_600):
        monitors.update(predicted(number, 1.0, chance))
    assert "calibration_look_drift" not in {one.name for one in monitors.alerts(1)}
    for number in range(1_600, 2_800):
        monitors.update(predicted(number, 0.2, chance))
    assert ("calibration_look_drift", "firing") in names(monitors.alerts(2))


def test_new_items_alarm() -> None:
    watch, chance = NewItemsMonitor(RULES), np.random.default_rng(4)
    draw: Callable[[int], str] = lambda most: f"i{chance.integers(most)}"  # noqa: E731
    for number in range(3_000):
        watch.update(draw(50), f"u{number}")
    assert not watch.drifted
    for number in range(600):
        watch.update(draw(100), f"u{number}")
    assert watch.drifted
    reference = watch.reference()
    assert reference is not None and len(reference) == 50


def test_memory_is_bounded_whatever_surfaces_are_called() -> None:
    monitors = MonitorRegistry(RULES)
    for number in range(2 * MOST):
        monitors.update(View((AttributedImpression("u", "i", "s", f"a|b{number}", 0, 0),)))
    monitors.update(View((AttributedImpression("u", "i", "s", "feed", 0, 0),), arm="champion"))
    for number in range(2 * MOST):
        monitors.update(View((AttributedImpression("u", "i", "s", f"c{number}", 0, 0),)))
    watched = {(one.labels["watch"], one.labels["surface"]) for one in monitors.get()}
    ours = {("click_rate", "feed"), ("unseen_items", "")}
    assert watched == ours | {("click_rate", f"c{number}") for number in range(MOST, 2 * MOST)}
    again = MonitorRegistry.load(RULES, monitors.save(), {})
    assert {(one.labels["watch"], one.labels["surface"]) for one in again.get()} == watched


def test_an_alarm_of_a_surface_that_is_let_go_is_over() -> None:
    monitors, shopper = MonitorRegistry(RULES), 0
    for clicked, count in ((True, 3 * RULES.learn), (False, 20 * RULES.learn)):
        for _ in range(count):
            shopper += 1
            outcomes = (JoinEvent(0, "click", f"e{shopper}"),) if clicked and shopper % 2 else ()
            monitors.update(View((AttributedImpression(f"u{shopper}", "i", "s", "page", 0, 0, outcomes),)))
    assert ("click_rate_drop", "firing") in names(monitors.alerts(1))
    for number in range(MOST):
        monitors.update(View((AttributedImpression("u", "i", "s", f"c{number}", 0, 0),)))
    assert names(monitors.alerts(2)) == {("click_rate_drop", "resolved")} and not monitors.alerts(3)


@pytest.mark.parametrize("broken", [["", {}], ["", {"seen": "many"}], ["v", None]])
def test_a_state_that_does_not_fit_is_learned_anew(broken: list[object]) -> None:
    assert MonitorRegistry.load(RULES, {"states": {'["click_rate","feed",""]': broken}}, {}).save()["states"] == {}


def test_an_arm_that_falls_below_the_one_held_back_alarms_and_a_season_does_not() -> None:
    chance = np.random.default_rng(5)
    monitors = MonitorRegistry(MonitorRules(learn=10**9, recover=500, holdback="champion", minutes=10_000))
    told: list[tuple[int, Alert]] = []
    for minute in range(900):
        season = 0.1 if minute < 300 else 0.04
        for arm, shown in (("champion", 60), ("canary", 30)):
            rate = season * (0.5 if arm == "canary" and 600 <= minute < 800 else 1.0)
            for number in range(shown):
                outcomes = (JoinEvent(1, "click", "e"),) if chance.random() < rate else ()
                closed = AttributedImpression(
                    f"{arm}{chance.integers(5_000)}", "i", f"{number}", "feed", 0, minute * MINUTE, outcomes
                )
                monitors.update(View((closed,), arm=arm))
        told += [(minute, alert) for alert in monitors.alerts(minute * MINUTE)]
        if minute == 650:
            monitors = MonitorRegistry.load(
                monitors.rules, msgspec.msgpack.decode(msgspec.msgpack.encode(monitors.save())), {}
            )
    [(fired, firing), (ended, resolved)] = told
    assert firing.name == resolved.name == "click_rate_below_holdback" and firing.labels["arm"] == "canary"
    assert 600 < fired < 750 and ended >= 800 and resolved.state == "resolved"
    assert float(firing.evidence["rate"]) < float(firing.evidence["holdback rate"])


def test_each_challenger_is_watched_anew_and_shared_shelves_are_held_against_nobody() -> None:
    monitors = MonitorRegistry(MonitorRules(learn=100, run_length=1_000, recover=50, holdback="holdback"))

    def show(arm: str, model: str, clicked: bool, times: int) -> None:
        outcomes = (JoinEvent(1, "click", "e"),) if clicked else ()
        for number in range(times):
            closed = AttributedImpression(f"{arm}{number}", "i", f"{arm}{number}", "feed", 0, number, outcomes)
            monitors.update(View((closed,), model, arm))

    for arm in ("canary", "champion", "shared"):
        show(arm, "m1", clicked=True, times=300)
    show("canary", "m2", clicked=False, times=50)
    show("champion", "m2", clicked=False, times=50)
    assert {alert.labels["arm"] for alert in monitors.alerts(1_000)} == {"champion"}
    held = {one.labels["arm"] for one in monitors.get() if one.labels["watch"] == "holdback"}
    assert held == {"canary", "champion"}
