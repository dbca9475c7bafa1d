"""The rollout on a real store: from shadow to each end, and mended wherever it dies on the way."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.controller import ANNOUNCE_EVERY_MS, Rollout, Tick
from models.store import ModelStore, StoreError
from models.store.manifest import path_of
from models.store.slots import Slot
from streams.telemetry.meter import Snapshot
from tests.evaluator.rollout.test_evidence import AT, START
from tests.evaluator.rollout.told import CHAMPION, VERSION, evaluator, worker

OTHER = "20261124-170000-full-9a8b7c6d"
CONFIG = RolloutConfig(shadow_shelves=10, share=0.25)
MINUTE_MS = 60_000


class DiedError(Exception):
    """The process is gone."""


class Trial:
    """A store with a champion, a clock that goes on a minute with each look, and what was announced."""

    def __init__(self) -> None:
        minutes = itertools.count()
        self.store = ModelStore(f"memory://{uuid.uuid4().hex}", clock=lambda: AT + timedelta(minutes=next(minutes)))
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
@pytest.mark.parametrize("writes", [0, 1])
def test_it_is_mended_wherever_it_died(
    trial: Trial, ratio: float, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.to_canary()
    at = trial.at()
    with monkeypatch.context() as patched:
        patched.setattr(trial.store.storage, "write", dying(trial.store, writes))
        died = ends(trial, better(at, ratio))
    assert died is (writes == 0 or ratio > 1)
    trial.restart()
    trial.announced.clear()
    done = trial.tick(*better(at + 1_000, ratio))
    assert done.event in ("promoted", "rolled_back", None)
    assert trial.current("challenger") is None
    assert trial.current("champion") == (VERSION if ratio > 1 else CHAMPION)
    assert dict(trial.announced) == {name: trial.store.slots.read(name) for name in ("champion", "challenger")}


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
