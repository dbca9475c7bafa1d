"""Snapshots to what is known: counts once each, evidence once of all evaluators, and who has it loaded for how long."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from evaluator.rollout.evidence import FRESH_MS, EvidenceReader
from models.store.slots import Promotion, Slot
from streams.telemetry.meter import Snapshot
from tests.evaluator.rollout.told import CHAMPION, VERSION, evaluator, worker

AT = datetime(2026, 11, 24, 16, tzinfo=UTC)
START = int(AT.timestamp() * 1_000)


def reading(*snapshots: Snapshot, share: float = 0.0) -> EvidenceReader:
    found = EvidenceReader(Promotion(VERSION, AT, "passed the gate", share))
    found.update(snapshots)
    return found


def test_shadow_adds_up_over_workers_and_each_snapshot_counts_once() -> None:
    told = [
        worker("w1", START + 2_000, counts={"shadow.shelves": 4, "shadow.failed": 1}, ms=(4.0, 6.0)),
        worker(
            "w2", START + 2_500, counts={"shadow.shelves": 3, "shadow.top": 30, "shadow.overlap": 18}, ms=(4.0, 6.0)
        ),
        worker("w1", START + 3_000, counts={"shadow.shelves": 2}),
    ]
    found = reading(*told)
    found.update(reversed(told))
    seen = found.get(START + 3_500)
    assert (seen.stage, seen.workers, seen.ready, seen.unready_ms) == ("shadow", 2, 2, 0)
    assert (seen.shadow.shelves, seen.shadow.failed) == (9, 1)
    assert seen.shadow.overlap == 0.6
    assert seen.shadow.time_ratio == pytest.approx(1.5, rel=0.03)


def test_what_was_before_or_is_of_another_challenger_says_nothing() -> None:
    before = worker("w1", START + 500, counts={"shadow.shelves": 4})
    other = worker("w2", START + 2_000, version=CHAMPION)
    seen = reading(before, other).get(START + 2_500)
    assert (seen.shadow.shelves, seen.workers, seen.ready) == (0, 1, 0) and math.isnan(seen.shadow.time_ratio)
    strange = evaluator("e", START + 2_000, canary=(9, 1), champion=(9, 1), clicks=9.0, version=CHAMPION)
    assert reading(strange, share=0.1).get(START + 2_500).canary.log10_clicks == 0


def test_a_worker_without_it_is_waited_for_from_when_it_last_had_it() -> None:
    found = reading(worker("w1", START + 2_000), worker("w2", START + 2_000, ready=False))
    assert found.get(START + 2_000).unready_ms == 1_000, "since it was heard of first"
    found.update([worker("w1", START + 60_000), worker("w2", START + 60_000)])
    assert found.get(START + 60_000).unready_ms == 0
    found.update([worker("w1", START + 70_000), worker("w2", START + 70_000, ready=False)])
    assert found.get(START + 70_000).unready_ms == 10_000
    assert found.get(START + 70_000 + FRESH_MS).workers == 0, "all are gone"


def test_no_worker_at_all_is_waited_for_from_the_beginning() -> None:
    assert reading().get(START + 9_000).unready_ms == 9_000


def test_evidence_is_that_of_who_tells_of_most_and_counts_once_though_all_tell_of_it() -> None:
    one = evaluator("e1", START + 2_000, canary=(100, 12), champion=(900, 80), clicks=0.9, ratio=1.2)
    two = evaluator("e2", START + 1_900, canary=(50, 6), champion=(400, 30), clicks=0.5, ratio=1.4, instance="b")
    seen = reading(one, two, share=0.1).get(START + 2_500)
    assert seen.stage == "canary" and seen.canary[2:6] == (100, 12, 900, 80)
    assert (seen.canary.ratio, seen.canary.log10_clicks, seen.canary.log10_traffic) == (1.2, 0.9, -0.5)
    again = evaluator("e3", START + 4_000, canary=(100, 12), champion=(900, 80), clicks=0.9, ratio=1.2)
    found = reading(one, again, share=0.1)
    assert found.get(START + 4_500).canary.log10_clicks == 0.9, "not twice"
    assert found.get(START + 4_000 + FRESH_MS).canary.log10_clicks == 0


def test_an_evaluator_that_has_seen_nothing_has_no_ratio() -> None:
    seen = reading(evaluator("e", START + 2_000, canary=(0, 0), champion=(0, 0), clicks=0.0, ratio=math.nan), share=0.1)
    assert math.isnan(seen.get(START + 2_500).canary.ratio)


def test_a_champion_that_came_later_overtakes() -> None:
    found = reading()
    for hours, champion_changed in ((-1, False), (1, True)):
        slot = Slot(Promotion(CHAMPION, AT + timedelta(hours=hours), "better"))
        assert found.get(START, slot).champion_changed is champion_changed
    assert not found.get(START, Slot()).champion_changed
