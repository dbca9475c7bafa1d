"""The learning loop on the page: from what the trainer says, what slots hold, and what evaluators find."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from evaluator.dashboard.history import History
from evaluator.dashboard.panels import traffic
from evaluator.dashboard.panels.learning import MOST_TURNS, learning_panel
from evaluator.dashboard.panels.system import Processes, Slots, health
from models.store.slots import Promotion, Slot
from streams.telemetry.meter import Meter
from tests.evaluator.dashboard import said

BEGUN = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT = int(BEGUN.timestamp() * 1_000)
NOW = AT + 3_600_000


def held(version: str, minutes: float, reason: str = "passed the gate", share: float = 1.0) -> Promotion:
    return Promotion(version, BEGUN + timedelta(minutes=minutes), reason, share)


def slots(**wanted: Slot) -> Slots:
    found = Slots()
    for name, slot in wanted.items():
        found.update((name, slot))
    return found


def test_nothing_is_known_at_first() -> None:
    found = learning_panel([], [])
    assert not found.reports and found.stage == found.champion == found.challenger == "" and found.lately == []
    assert found.champion_at is None and found.trigger_at is None and found.new_examples is None


def test_the_trainer_says_what_it_does_and_slots_who_is_in_charge() -> None:
    older = said.trainer(NOW - 5_000, "idle")
    last = said.trainer(NOW, "training", 0.4, held_back="too soon")
    there = slots(champion=Slot(held("m2", 1)), challenger=Slot(held("m3", 9, share=0.1)))
    found = learning_panel([last, older], there.get())
    assert (found.stage, found.progress, found.held_back, found.new_examples) == ("training", 0.4, "too soon", 1_234)
    assert (found.champion, found.champion_at) == ("m2", AT + 60_000)
    assert (found.challenger, found.share) == ("m3", 0.1)
    assert (found.trigger_reason, found.trigger_at) == ("click_rate", NOW - 300_000)
    assert learning_panel([older], []).champion == said.MODEL and learning_panel([older], []).champion_at is None


def test_lately_tells_both_slots_newest_first() -> None:
    there = slots(
        champion=Slot(held("m2", 30, "rolled back from m4: pages are slow"), (held("m1", -90),)),
        challenger=Slot(None, (held("m4", 5, share=0.1), held("m5", 40, share=0.0)), "slower than the champion"),
    )
    found = learning_panel([], there.get()).lately
    assert [(turn.what, turn.version) for turn in found] == [
        ("shadow", "m5"),
        ("rolled back", "m2"),
        ("canary", "m4"),
        ("promoted", "m1"),
    ]
    assert [turn.ended for turn in found] == ["slower than the champion", "", "", ""]
    many = slots(champion=Slot(held("m", 99), tuple(held(f"m{number}", number) for number in range(20))))
    assert len(learning_panel([], many.get()).lately) == MOST_TURNS


@pytest.mark.parametrize(("share", "stage"), [(0.0, "shadow"), (0.2, "canary")])
def test_without_a_trainer_the_slot_says_the_stage(share: float, stage: str) -> None:
    assert learning_panel([], slots(challenger=Slot(held("m3", 9, share=share))).get()).stage == stage


def test_of_several_evaluators_the_one_that_tells_of_most_counts() -> None:
    counts = {"champion": (9_000, 450), "canary": (1_000, 60)}
    fewer = {arm: (shown // 10, clicks // 10) for arm, (shown, clicks) in counts.items()}
    one = said.evaluator(NOW, said.experiment("m3", counts, 0.9, 1.2, 0.8, 1.7), "a")
    other = said.evaluator(NOW, said.experiment("m3", fewer, 0.2, 3.0, 0.4), "b")
    before = said.evaluator(NOW - 1_000, said.experiment("m2", counts, 5.0, 2.0, 1.5, 2.5), "c")
    canary, champion = traffic.arms([before, other, one])
    assert (canary.arm, canary.challenger, canary.impressions, canary.clicks) == ("canary", "m3", 1_000, 60)
    assert canary.clicks_log10 == pytest.approx(0.9) and canary.traffic_log10 == pytest.approx(-0.3)
    assert canary.ratio == (1.2, 0.8, 1.7) and champion.ratio is None and champion.clicks_log10 is None
    assert traffic.evalues([before, other, one])["clicks", "canary"] == pytest.approx(0.9)
    [open_ended] = [row.ratio for row in traffic.arms([other]) if row.ratio]
    assert open_ended == (3.0, 0.4, math.inf)
    assert traffic.arms([]) == [] and traffic.evalues([]) == {}


def test_the_page_carries_it_and_a_silent_trainer_is_told() -> None:
    history = History()
    history.update(said.worker(NOW), NOW)
    history.update(said.evaluator(NOW, said.experiment("m3", {"canary": (100, 5)}, 0.1)), NOW)
    history.update(said.trainer(NOW - 40_000, "idle"), NOW)
    page = msgspec.json.decode(msgspec.json.encode(history.state(NOW)))["page"]
    assert page["loop"]["reports"] is False and page["arms"][0]["ratio"] is None
    assert "1 trainer silent for 40 s" in page["health"]["sentence"]
    history.update(said.trainer(NOW, "gate"), NOW)
    assert history.state(NOW).page.loop.stage == "gate"


def test_a_trainer_is_no_reason_to_call_all_well_or_ill() -> None:
    processes = Processes(quiet_ms=15_000)
    for snapshot in (said.worker(NOW), said.evaluator(NOW, []), said.trainer(NOW, "idle")):
        processes.update(snapshot)
    assert health(processes.get(NOW), 1.0, 0, None).level == "ok"


def test_a_collector_is_listed_and_missed() -> None:
    processes = Processes(quiet_ms=15_000)
    for snapshot in (said.worker(NOW), said.evaluator(NOW, []), Meter("collector", "c1", 0).snapshot(NOW - 40_000)):
        processes.update(snapshot)
    found = processes.get(NOW)
    assert [(row.role, row.alive) for row in found] == [("collector", False), ("evaluator", True), ("worker", True)]
    assert health(found, 1.0, 0, None).sentence.startswith("1 collector silent for 40 s.")
