"""The rollout on a real store: from shadow to each end, and mended wherever it dies on the way."""

import asyncio
import itertools
import math
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from evaluator.gate import report
from evaluator.gate.thresholds import Figure
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.controller import ANNOUNCE_EVERY_MS, Rollout, Tick
from evaluator.rollout.evidence import Canary
from evaluator.rollout.record import finished
from models.measures.names import ECE, EXPOSURE_BY_ITEM, LATENCY_P50, LOG_LOSS, NDCG
from models.store import Data, Manifest, ModelStore, StoreError, manifest
from models.store.experiments import Arm, FinishedExperiment
from models.store.manifest import path_of
from models.store.slots import Slot
from streams.telemetry.meter import Snapshot
from tests.evaluator.rollout.test_evidence import AT, START
from tests.evaluator.rollout.told import CHAMPION, VERSION, evaluator, worker
from tests.logged import logged

OTHER = "20261124-170000-full-9a8b7c6d"
CONFIG = RolloutConfig(shadow_shelves=10, share=0.25)
MINUTE_MS = 60_000


class DiedError(Exception):
    """The process is gone."""


class Trial:
    """A store with a champion, a clock that goes on a minute with each look, and what was announced."""

    def __init__(self, url: str = "") -> None:
        minutes = itertools.count()
        url = url or f"memory://{uuid.uuid4().hex}"
        self.store = ModelStore(url, clock=lambda: AT + timedelta(minutes=next(minutes)))
        for version in (CHAMPION, VERSION, OTHER):
            self.store.storage.write(path_of(version), b"{}")
        self.store.slots.promote(CHAMPION, "the first")
        self.announced: list[tuple[str, Slot]] = []
        self.broken: Exception | None = None
        self.restart()

    def restart(self) -> None:
        """Another process."""
        self.rollout = Rollout(self.store, CONFIG, self.announce)

    async def announce(self, name: str, slot: Slot) -> None:
        if self.broken is not None:
            raise self.broken
        self.announced.append((name, slot))

    def begin(self, version: str = VERSION) -> None:
        asyncio.run(self.rollout.begin(version, "passed the gate"))

    def tick(self, *snapshots: Snapshot, now: int | None = None) -> Tick:
        newest = max((one.to_ms for one in snapshots), default=START)
        return asyncio.run(self.rollout.tick(snapshots, newest if now is None else now))

    def current(self, name: str) -> str | None:
        found = self.store.slots.read(name).current
        return found.version if found else None

    def at(self) -> int:
        """A moment soon after the challenger got its share."""
        found = self.store.slots.read("challenger").current
        assert found is not None
        return int(found.at.timestamp() * 1_000) + 5_000

    def to_canary(self) -> None:
        self.begin()
        assert self.tick(enough(self.at())).event == "canary"


def enough(at: int) -> Snapshot:
    return worker("w", at, counts={"shadow.shelves": 10}, ms=(4.0, 4.1))


def better(at: int, ratio: float = 1.5) -> list[Snapshot]:
    clicks = round(400 * ratio)
    return [
        worker("w", at),
        evaluator("e", at, canary=(5_000, clicks), champion=(15_000, 1_200), clicks=3.0, ratio=ratio),
    ]


@pytest.fixture
def trial() -> Trial:
    return Trial()


def test_a_better_challenger_goes_all_the_way(trial: Trial) -> None:
    trial.begin()
    assert trial.current("challenger") == VERSION and trial.current("champion") == CHAMPION
    waits = trial.tick(worker("w", trial.at(), counts={"shadow.shelves": 9}))
    assert waits.event is None and waits.seen.stage == "shadow"
    assert trial.tick(enough(trial.at() + 1_000)).event == "canary"
    slot = trial.store.slots.read("challenger")
    assert slot.current is not None and slot.current.share == 0.25 and slot.history == ()
    done = trial.tick(*better(trial.at()))
    assert done.event == "promoted" and done.decision.words.startswith("click rate 12.00% in 5,000 impressions")
    assert trial.current("champion") == VERSION and trial.current("challenger") is None
    champion = trial.store.slots.read("champion")
    assert champion.current is not None and champion.current.reason == done.decision.words
    assert [name for name, _ in trial.announced] == ["champion", "challenger", "challenger", "champion", "challenger"]
    assert trial.announced[-2:] == [(name, trial.store.slots.read(name)) for name in ("champion", "challenger")]
    assert trial.tick().seen.stage == "none"


def test_a_worse_challenger_is_rolled_back_and_the_champion_stays(trial: Trial) -> None:
    trial.to_canary()
    assert trial.tick(*better(trial.at(), ratio=0.5)).event == "rolled_back"
    assert trial.current("champion") == CHAMPION and trial.current("challenger") is None
    assert trial.announced[-1] == ("challenger", trial.store.slots.read("challenger"))


def test_a_challenger_is_given_up_when_somebody_changes_the_champion(trial: Trial) -> None:
    trial.to_canary()
    trial.store.slots.promote(OTHER, "by hand")
    done = trial.tick(*better(trial.at() + MINUTE_MS))
    assert done.event == "gave_up" and trial.current("champion") == OTHER and trial.current("challenger") is None


def test_one_that_somebody_promotes_by_hand_has_come_to_its_end(trial: Trial) -> None:
    trial.begin()
    trial.store.slots.promote(VERSION, "by hand")
    assert trial.tick().event == "promoted" and trial.current("challenger") is None


def test_only_one_at_a_time_and_to_begin_again_changes_nothing(trial: Trial) -> None:
    trial.to_canary()
    before = trial.store.slots.read("challenger")
    trial.begin()
    assert trial.store.slots.read("challenger") == before
    with pytest.raises(StoreError, match="is being rolled out"):
        trial.begin(OTHER)
    with pytest.raises(StoreError, match="no version"):
        Trial().begin("20261124-180000-full-00000000")


def test_a_new_process_goes_on_and_announces_what_stands(trial: Trial) -> None:
    trial.to_canary()
    trial.announced.clear()
    trial.restart()
    assert trial.tick().seen.stage == "canary"
    assert [name for name, _ in trial.announced] == ["champion", "challenger"]
    trial.tick()
    assert len(trial.announced) == 2, "once"
    assert trial.tick(*better(trial.at())).event == "promoted"


def test_what_could_not_be_announced_is_announced_later_and_all_of_it_now_and_then(trial: Trial) -> None:
    trial.broken = KafkaConnectionError("away")
    trial.to_canary()
    assert trial.announced == []
    trial.broken = None
    trial.tick()
    assert [name for name, _ in trial.announced] == ["champion", "challenger"]
    trial.tick(now=trial.at() + ANNOUNCE_EVERY_MS)
    assert len(trial.announced) == 4


def dying(store: ModelStore, after: int) -> Callable[..., None]:
    """A storage's write that is the last thing a process does, so many writes from now."""
    write, left = store.storage.write, itertools.count(after, -1)

    def last(*arguments: Any) -> None:
        if next(left) == 0:
            raise DiedError
        write(*arguments)

    return last


@pytest.mark.parametrize("ratio", [0.5, 1.5])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_it_is_mended_wherever_it_died(
    trial: Trial, ratio: float, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.to_canary()
    at = trial.at()
    with monkeypatch.context() as patched:
        patched.setattr(trial.store.storage, "write", dying(trial.store, writes))
        died = ends(trial, better(at, ratio))
    assert died is (writes < 2 or ratio > 1)
    trial.restart()
    trial.announced.clear()
    done = trial.tick(*better(at + 1_000, ratio))
    assert done.event in ("promoted", "rolled_back", None)
    [record] = kept(trial)
    assert record.ended == ("promoted" if ratio > 1 else "rolled_back")
    assert trial.current("challenger") is None
    assert trial.current("champion") == (VERSION if ratio > 1 else CHAMPION)
    assert dict(trial.announced) == {name: trial.store.slots.read(name) for name in ("champion", "challenger")}


def kept(trial: Trial) -> list[FinishedExperiment]:
    """The records of the store, all of them readable."""
    found, problems = trial.store.experiments.get()
    assert problems == []
    return found


def test_a_canary_that_ends_leaves_its_result_once(trial: Trial) -> None:
    trial.begin()
    assert trial.tick(worker("w", trial.at(), counts={"shadow.failed": 10})).event == "rolled_back"
    assert kept(trial) == [], "nobody saw the shadow"
    trial.to_canary()
    slot = trial.store.slots.read("challenger").current
    assert slot is not None and kept(trial) == []
    at = trial.at()
    done = trial.tick(*better(at))
    trial.tick(*better(at + 1_000))
    [record] = kept(trial)
    assert (record.champion, record.challenger, record.ended) == (CHAMPION, VERSION, "promoted")
    assert (record.begun_at, record.share, record.reason) == (slot.at, 0.25, done.decision.words)
    online = record.online
    assert online is not None and (online.champion, online.challenger) == (Arm(15_000, 1_200), Arm(5_000, 600))
    assert online.difference == pytest.approx(0.04) and 0 < online.low < 0.04 < online.high
    assert online.log10_evalue == 3.0 and online.log_ratio == pytest.approx(math.log(1.5))
    assert online.error == pytest.approx(math.sqrt(2.0 * (1 / 600 + 1 / 1_200))), "with the dispersion"
    assert record.offline == (), "no gate has compared the two"


def test_a_decision_that_was_recorded_stands(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence of the next process is another one: without the record it would wait."""
    trial.to_canary()
    at = trial.at()
    with monkeypatch.context() as patched:
        patched.setattr(trial.store.storage, "write", dying(trial.store, 1))
        assert ends(trial, better(at, 0.5))
    assert [one.ended for one in kept(trial)] == ["rolled_back"] and trial.current("challenger") == VERSION
    trial.restart()
    assert trial.tick(worker("w", at + 1_000)).event == "rolled_back"
    assert trial.current("challenger") is None and len(kept(trial)) == 1


def test_two_controllers_record_one_result(trial: Trial) -> None:
    trial.to_canary()
    other = Rollout(trial.store, CONFIG, trial.announce)
    at = trial.at()
    asyncio.run(other.tick([worker("w", at)], at))
    assert trial.tick(*better(at, 0.5)).event == "rolled_back"
    asyncio.run(other.tick(better(at + 1_000, 1.5), at + 1_000))
    assert [one.ended for one in kept(trial)] == ["rolled_back"]


@pytest.mark.parametrize("by_hand", ["stop", "promote", "replace", "share"])
def test_a_canary_that_is_ended_by_hand_is_recorded_too(trial: Trial, by_hand: str) -> None:
    trial.to_canary()
    counted = evaluator("e", trial.at(), canary=(800, 64), champion=(7_200, 570), clicks=0.1)
    assert trial.tick(worker("w", trial.at()), counted).event is None
    slots = trial.store.slots
    match by_hand:
        case "stop":
            slots.clear("challenger", "clicks fell")
        case "promote":
            slots.promote(VERSION, "clicks fell")
            slots.clear("challenger", "clicks fell")
        case "replace":
            slots.promote(OTHER, "clicks fell", "challenger", share=0.5)
        case "share":
            slots.promote(VERSION, "clicks fell", "challenger", share=0.5)
    trial.tick()
    [record] = kept(trial)
    assert record.ended == ("promoted" if by_hand == "promote" else "stopped") and record.reason == "clicks fell"
    assert record.challenger == VERSION and record.champion == CHAMPION
    assert record.online is not None and record.online.challenger == Arm(800, 64)


def test_the_rollout_goes_on_where_no_record_can_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial(str(tmp_path))
    (tmp_path / "experiments").write_text("a file where the folder would be")
    trial.to_canary()
    assert trial.tick(*better(trial.at())).event == "promoted"
    assert trial.current("champion") == VERSION
    said = logged(caplog, "evaluator.rollout.controller")
    assert any("the result of the canary" in one and "is not kept" in one for one in said)


def test_a_damaged_record_does_not_stop_the_rollout(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    trial.to_canary()
    slot = trial.store.slots.read("challenger").current
    assert slot is not None
    made = finished(slot, CHAMPION, "given_up", "", Canary(), None, 0)
    trial.store.experiments.record(made)
    [name] = trial.store.storage.children("experiments")
    trial.store.storage.write(f"experiments/{name}", b"{")
    trial.restart()
    assert trial.tick(*better(trial.at())).event == "promoted"
    assert any("is unknown" in one for one in logged(caplog, "evaluator.rollout.controller"))
    found, problems = trial.store.experiments.get()
    assert found == [] and len(problems) == 1 and name in problems[0]


@pytest.mark.parametrize(("parent", "known"), [(CHAMPION, True), (OTHER, False), (None, False)])
def test_the_gates_figures_are_kept_if_it_compared_these_two(trial: Trial, parent: str | None, known: bool) -> None:
    made = Manifest(
        method="lora",
        architecture="late_interaction",
        encoder="packaged",
        encoder_fingerprint="0a1b2c3d",
        data=Data("events", 10),
        parent=parent,
        format=1,
        id=VERSION,
        created_at=AT,
        libraries={},
        files={},
    )
    figures = [
        Figure(measure=name, difference=value, difference_low=-0.2, difference_high=0.3)
        for name, value in ((LOG_LOSS, -0.1), (NDCG, 0.02), (LATENCY_P50, 1.25), (EXPOSURE_BY_ITEM, 0.3))
    ]
    figures.append(Figure(measure=ECE))
    verdict = report.conclude([], figures, shoppers=300, queries=300, contexts=300, config={})
    trial.store.storage.write(path_of(VERSION), manifest.encode(made))
    trial.store.storage.write(f"versions/{VERSION}/gate.json", report.encode(verdict))
    trial.to_canary()
    trial.tick(*better(trial.at()))
    [record] = kept(trial)
    found = {one.measure: (one.better, one.difference, one.low) for one in record.offline}
    wanted = {"log_loss": ("lower", -0.1, -0.2), "ndcg@10": ("higher", 0.02, -0.2)}
    assert found == (wanted if known else {})


def ends(trial: Trial, snapshots: Iterable[Snapshot]) -> bool:
    """Whether a tick kills its process."""
    try:
        trial.tick(*snapshots)
    except DiedError:
        return True
    return False


def test_it_dies_before_anything_is_announced(trial: Trial) -> None:
    trial.to_canary()
    trial.broken = DiedError()
    with pytest.raises(DiedError):
        trial.tick(*better(trial.at()))
    trial.restart()
    trial.broken = None
    trial.announced.clear()
    assert trial.tick().seen.stage == "none"
    assert dict(trial.announced)["champion"].current.version == VERSION  # type: ignore[union-attr]
