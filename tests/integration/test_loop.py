"""The loop with a real Redis and a real store, and a job that only says what it made: runs begin, end and are given up.

The book of runs as more trainers share it is here as well.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import psutil
import pytest
import redis as sync
from redis.asyncio import Redis

from evaluator.monitoring.alerts.alert import Alert
from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.controller import RetrainingController
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.training_run import Trigger
from evaluator.rollout.controller import Rollout
from liveshelf.settings import Settings
from models.late_interaction import LateInteraction
from models.store import Data, Description, ModelStore
from models.store.slots import CHALLENGER, Slot
from streams.clock import wall_ms
from streams.telemetry.meter import Meter
from tests.logged import logged
from tests.shop import HANG_S, until
from tests.spoilt_redis import KINDS, Spoil, spoilt

pytestmark = pytest.mark.integration

P = ParamSpec("P")


def awaited(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine, as one that is none."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


TRIGGERS = TriggerConfig(enough_examples=100, least_examples=100, every_s=None, cooldown_s=0, lease_s=600)
BRIEF = TRIGGERS.model_copy(update={"lease_s": 1})
GO = Trigger(reason="examples", summary="enough", evidence={}, at=0, examples=100)

JOB = """
import sys, time
from pathlib import Path
folder = Path(sys.stdin.readline().strip())
{work}
"""
WAITS = JOB.format(work="time.sleep(600)")
BREAKS = JOB.format(work="sys.exit(1)")
LEAVES_NOTHING = JOB.format(work="")


def makes(version: str, decision: str = "passed") -> str:
    told = f'{{"version": "{version}", "decision": "{decision}", "sentence": "So.", "through": 7}}'
    return JOB.format(work=f"(folder / 'outcome.json').write_text('{told}')")


def put(store: ModelStore, folder: Path, seed: int) -> str:
    """A version."""
    path = folder / f"version-{seed}"
    LateInteraction().save(path / "head")
    about = Description(
        method="head",
        architecture="late_interaction",
        encoder="packaged",
        encoder_fingerprint="0a1b2c3d",
        data=Data("events", examples=seed),
    )
    return store.put(path, about).id


class Bench:
    """A loop whose examples and alerts the test sets."""

    def __init__(self, folder: Path, client: "Redis", job: str, by: str = "trainer-1") -> None:
        settings = Settings(
            triggers=TRIGGERS.model_dump(),
            learning={"folder": str(folder / "learning")},
            model={"store": str(folder / "models")},
            examples={"folder": str(folder / "examples")},
        )
        self.store = ModelStore(settings.model.store)
        self.meter = Meter("trainer", "t", 0)
        self.examples = 100
        self.alerts: list[Alert] = []
        self.announced: list[tuple[str, Slot]] = []
        self.registry = RunRegistry(client, "t-trainer", TRIGGERS)
        self.loop = RetrainingController(
            settings.loop(),
            by,
            (sys.executable, "-c", job),
            store=self.store,
            archive=Archive(folder / "examples"),
            registry=self.registry,
            rollout=Rollout(self.store, settings.rollout, self._announce),
            meter=self.meter,
            alerts=lambda _: self.alerts,
            count=self._count,
            flush=self._flush,
        )

    async def until(self, holds: Callable[[], object]) -> None:
        """Look until something holds."""
        async with asyncio.timeout(HANG_S):
            while not holds():
                await self.loop.step([])
                await asyncio.sleep(0.05)

    async def outcomes(self) -> list[str | None]:
        """Of all runs in the book."""
        runs, _ = await self.registry.read()
        return [run.outcome for run in runs.get()]

    def counted(self) -> dict[str, int]:
        return {name: n for name, n in self.meter.snapshot(1).counts.items() if n}

    async def _count(self, since: int) -> int:  # noqa: ARG002
        return self.examples

    async def _flush(self) -> None:
        return

    async def _announce(self, name: str, slot: Slot) -> None:
        self.announced.append((name, slot))


@asynccontextmanager
async def client(url: str) -> AsyncIterator["Redis"]:
    redis = Redis.from_url(url)
    try:
        yield redis
    finally:
        await redis.aclose()


@asynccontextmanager
async def bench_of(url: str, folder: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Makes benches, whose jobs are ended at the end."""
    made: list[Bench] = []
    async with client(url) as redis:

        def make(job: str, by: str = "trainer-1") -> Bench:
            made.append(Bench(folder, redis, job, by))
            return made[-1]

        try:
            yield make
        finally:
            for bench in made:
                await bench.loop.stop()


@awaited
async def test_a_version_that_passed_shadows_and_no_other_run_begins(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        version = put(ModelStore(str(tmp_path / "models")), tmp_path, 1)
        bench = make(makes(version))
        await bench.until(lambda: bench.store.slots.read(CHALLENGER).current)
        slot = bench.store.slots.read(CHALLENGER)
        assert slot.current is not None and (slot.current.version, slot.current.share) == (version, 0.0)
        assert (CHALLENGER, slot) in bench.announced
        for _ in range(3):
            await bench.loop.step([])
        assert await bench.outcomes() == ["trained"]
        assert bench.counted() == {"runs.trained": 1}
        assert bench.meter.labels["stage"] == "shadow" and bench.meter.labels["challenger"] == version


@awaited
async def test_a_refused_version_is_kept_and_not_rolled_out(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        version = put(ModelStore(str(tmp_path / "models")), tmp_path, 1)
        bench = make(makes(version, "refused"))
        await bench.until(lambda: bench.meter.labels["verdict"])
        bench.examples = 0
        await bench.loop.step([])
        assert bench.counted() == {"runs.trained": 1, "refused": 1}
        assert bench.store.slots.read(CHALLENGER).current is None
        assert bench.meter.labels["stage"] == "idle"
        again = make(WAITS)
        again.loop.restore_status()
        assert again.meter.labels["verdict"] == "refused" and again.meter.labels["trigger_reason"] == "examples"


@awaited
async def test_another_champion_ends_the_run(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        bench = make(WAITS)
        await bench.until(lambda: bench.loop.run)
        await bench.loop.step([])
        bench.store.slots.promote(put(bench.store, tmp_path, 1), "by hand")
        await bench.loop.step([])
        assert bench.loop.run is None
        assert await bench.outcomes() == ["failed"]
        assert bench.counted() == {"runs.failed": 1}


@awaited
async def test_an_alarm_ends_a_run_that_was_begun_for_another_reason(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        bench = make(WAITS)
        await bench.until(lambda: bench.loop.run)
        labels = {"surface": "feed", "arm": "champion"}
        at = wall_ms() + 1_000
        bench.alerts = [
            Alert(name="click_rate_drop", labels=labels, state="firing", summary="fewer", evidence={}, since=at)
        ]
        await bench.loop.step([])
        assert bench.loop.run is None and await bench.outcomes() == ["failed"]
        await bench.until(lambda: bench.loop.run)
        await bench.loop.step([])
        assert bench.loop.run is not None, "one that was begun for the alarm goes on"


@pytest.mark.parametrize(("job", "code"), [(BREAKS, 1), (LEAVES_NOTHING, 0)], ids=["breaks", "leaves nothing"])
def test_a_run_whose_job_never_leaves_an_outcome_fails_after_three_tries(
    job: str, code: int, redis_db: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @awaited
    async def run() -> None:
        async with bench_of(redis_db, tmp_path) as make:
            bench = make(job)
            await bench.until(lambda: bench.loop.run)
            await bench.until(lambda: bench.loop.run is None)
            assert (await bench.outcomes())[0] == "failed"

    run()
    why = f": its process ended with {code} and left no outcome"
    assert sum(why in said for said in logged(caplog, "evaluator.retraining.run")) == 2
    assert any(f" failed{why}" in said for said in logged(caplog, "evaluator.retraining.controller"))


@awaited
async def test_an_unfinished_run_is_taken_up_by_its_name_alone(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        first = make(WAITS)
        await first.until(lambda: first.loop.run)
        await first.loop.step([])
        await first.loop.stop()
        version = put(first.store, tmp_path, 1)
        other = make(makes(version), by="trainer-2")
        for _ in range(3):
            await other.loop.step([])
        assert other.loop.run is None and "running" in other.meter.labels["held_back"]
        again = make(makes(version))
        await again.until(lambda: again.store.slots.read(CHALLENGER).current)
        assert await again.outcomes() == ["trained"]


@awaited
async def test_a_run_whose_folder_is_elsewhere_is_left_alone_while_its_trainer_lives(
    redis_db: str, tmp_path: Path
) -> None:
    """Two hosts whose trainers have one name, each with a disk of its own."""
    async with bench_of(redis_db, tmp_path / "here") as make, bench_of(redis_db, tmp_path / "there") as make_there:
        first, second = make(WAITS), make_there(WAITS)
        await first.until(lambda: first.loop.run)
        for _ in range(3):
            await first.loop.step([])
            await second.loop.step([])
        [run] = (await second.registry.read())[0].get()
        assert run.outcome is None, "the second one has no say in it"
        assert run.holder == first.registry.holder
        assert first.loop.run is not None and second.loop.run is None
        assert "running: trainer-1" in second.meter.labels["held_back"] and not second.counted()
        first.registry.config = BRIEF
        assert await first.registry.beat(run.id)  # its last words
        await second.until(lambda: second.loop.run)
        over, later = (await second.registry.read())[0].get()
        assert (over.id, over.outcome) == (run.id, None) and later.holder == second.registry.holder
        assert later.began >= over.until == over.heard + 1_000
        await first.until(lambda: first.loop.run is None)
        assert first.counted() == {"runs.failed": 1} and second.loop.run is not None


@awaited
async def test_a_run_of_a_process_that_was_killed_goes_on_once_that_is_silent(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        first = make(WAITS)
        await first.until(lambda: first.loop.run)
        [run] = (await first.registry.read())[0].get()
        second = make(makes(put(first.store, tmp_path, 1)))
        await second.loop.step([])
        assert second.loop.run is None, "it may be alive"
        second.registry.config = BRIEF
        await second.until(lambda: second.store.slots.read(CHALLENGER).current)
        [again] = (await second.registry.read())[0].get()
        assert (again.id, again.outcome, again.holder) == (run.id, "trained", second.registry.holder)
        assert again.ended is not None and again.ended >= run.heard + 250
        first.registry.config = BRIEF
        await first.until(lambda: first.loop.run is None)
        assert await second.outcomes() == ["trained"], "the first one, alive after all, changes nothing"


@awaited
async def test_a_canarys_alarm_is_no_reason(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        bench = make(WAITS)
        bench.examples = 99
        for arm, reason in (("canary", False), ("champion", True)):
            labels = {"surface": "feed", "arm": arm}
            fewer = Alert(
                name="click_rate_drop", labels=labels, state="firing", summary="fewer", evidence={}, since=wall_ms()
            )
            bench.alerts = [fewer]
            await bench.loop.step([])
            assert bool(bench.meter.labels["held_back"]) == reason


@awaited
async def test_while_only_examples_are_missing_a_process_waits_for_the_run(redis_db: str, tmp_path: Path) -> None:
    async with bench_of(redis_db, tmp_path) as make:
        version = put(ModelStore(str(tmp_path / "models")), tmp_path, 1)
        bench = make(makes(version))
        bench.examples = 99
        await bench.loop.step([])
        assert not children(), "without a reason nothing waits"
        drift = Alert(name="item_drift", labels={}, state="firing", summary="", evidence={}, since=wall_ms())
        for alerts in ([drift], [drift], [], [drift]):
            bench.alerts = alerts
            await bench.loop.step([])
            until(lambda alerts=alerts: len(children()) == len(alerts))  # type: ignore[misc]
        [spare] = children()
        bench.examples = 100
        await bench.loop.step([])
        assert children() in ([spare], [])
        await bench.until(lambda: bench.store.slots.read(CHALLENGER).current)


def children() -> list[int]:
    """Of this process: jobs, as far as they have begun. A moment after its start a process has no command line yet."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "stdin.readline" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


@awaited
async def test_of_many_who_claim_at_once_one_begins(redis_db: str) -> None:
    async with client(redis_db) as redis:
        books = [RunRegistry(redis, "g", TRIGGERS) for _ in range(8)]
        held = await asyncio.gather(*(book.begin(GO, f"run-{n}", f"t-{n}") for n, book in enumerate(books)))
        assert sum(not one for one in held) == 1
        runs, now = await books[0].read()
        [run] = runs.get()
        assert run.end(now) is None


@awaited
async def test_a_flushed_book_is_written_back_by_who_holds_a_run(redis_db: str) -> None:
    async with client(redis_db) as redis:
        book = RunRegistry(redis, "g", TRIGGERS)
        assert await book.begin(GO, "run-1", "t-1") == []
        await redis.flushdb()
        assert await book.beat("run-1")
        assert [one.limit for one in await RunRegistry(redis, "g", TRIGGERS).begin(GO, "run-2", "t-2")] == ["running"]
        assert await book.end("run-1", "trained", 5)
        assert await book.end("run-1", "trained", 5), "said again, the answer is the same"
        assert not await book.end("run-1", "failed")


@awaited
@pytest.mark.parametrize("spoil", KINDS.values(), ids=KINDS)
async def test_what_is_no_book_is_replaced_by_what_is_known_of_it(redis_db: str, spoil: Spoil) -> None:
    async with client(redis_db) as redis:
        book = RunRegistry(redis, "g", TRIGGERS)
        assert await book.begin(GO, "run-1", "t-1") == []
        with sync.Redis.from_url(redis_db) as other:
            spoilt(other, spoil)
        assert await book.beat("run-1")
        assert [one.limit for one in await RunRegistry(redis, "g", TRIGGERS).begin(GO, "run-2", "t-2")] == ["running"]
        with sync.Redis.from_url(redis_db) as other:
            spoilt(other, spoil)
        assert await RunRegistry(redis, "g", TRIGGERS).begin(GO, "run-3", "t-3") == [], "nobody knows of the first"
