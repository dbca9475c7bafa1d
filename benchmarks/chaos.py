"""Is anything lost or counted twice when everything is killed at any moment? And what comes back when Redis is flushed?

Three runs of one small shop, each on a Kafka, a Redis, a worker, an evaluator and a trainer of its own. The first is
left alone, and what its shoppers did is noted. The second lives through the same events while one process after another
is killed (-9) at random moments; afterwards all that DESIGN promises must be equal. In the third Redis is flushed in
the middle, and what is there again is counted. ``python -m benchmarks.chaos --kills 100 --json F``

Shelves' ids come from the event that they answer, and events keep their times, so the same events lead to the same ids,
impressions and minutes. A round's impressions are sent when its shelves are there, as shoppers can only see what is.
"""

import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from kafka import KafkaProducer
from kafka.errors import KafkaError
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError
from rich.progress import Progress

from benchmarks.replay import later
from benchmarks.report import Report
from benchmarks.rounds import STEP_MS, Rounds, Sent
from benchmarks.smoke import smoke
from benchmarks.system import System
from benchmarks.traces import EVALUATORS, KINDS, TRAINERS, WORKERS, Compared, Traces, apart
from evaluator.attribution.join import JoinWindow
from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.training_run import Trigger
from liveshelf.settings import StackConfig
from liveshelf.stack import roles
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.supervisor import Supervisor, restart_backoff
from streams.clock import wall_ms
from streams.config import KafkaConfig, RedisConfig, TopicsConfig
from streams.events.shelf import Shelf, shelf_decoder
from streams.kafka import topics
from streams.kafka.topics import Topics
from streams.redis import keys
from streams.redis.connection import connect

SHOPPERS = 240
ROUNDS = 40
WINDOW_S, GRACE_S = 400, 50
"""Fifteen rounds: no impression closes during the rounds while its shelf may still be on its way."""

PARTITIONS = 4
PATIENCE_S = 300.0
LATEST_S = 3.0
"""Kills of a round come within so many seconds of its beginning."""

ALONE_S = 10.0
"""How long after a flush is waited, without any event, for what comes back by itself."""

SETTINGS = {
    "LIVESHELF_EVALUATOR__WINDOW_S": str(WINDOW_S),
    "LIVESHELF_EVALUATOR__GRACE_S": str(GRACE_S),
    "LIVESHELF_EVALUATOR__IDLE_S": "86400",
    "LIVESHELF_EVENTS__MAX_FUTURE_S": str(4 * (WINDOW_S + GRACE_S)),
    "LIVESHELF_EXAMPLES__FLUSH_S": "5",
    "LIVESHELF_TRIGGERS__ALARMS": "[]",
    "LIVESHELF_TRIGGERS__ENOUGH_EXAMPLES": "1000000",
    "LIVESHELF_TRIGGERS__EVERY_S": "1000000",
    "LIVESHELF_TRIGGERS__LEAST_EXAMPLES": "1000000",
}
"""Time goes on by events alone, and nothing is trained: a new model would be a difference that is none."""


class Victims(System):
    """A system whose processes are killed when they are due.

    Attributes
    ----------
    killed
        How often each was killed.
    """

    def __init__(self, servers: Servers, folder: Path) -> None:
        every = [*roles.worker_roles(1), roles.evaluator_role(), roles.trainer_role()]
        super().__init__(servers, folder, every, SETTINGS, backoff=lambda: restart_backoff(0.2, 1.0))
        self.killed: Counter[str] = Counter()
        self._due: deque[tuple[float, str]] = deque()

    def kill(self, name: str, after_s: float) -> None:
        """Kill a process, so many seconds from now; should it just be starting again, then."""
        self._due.append((time.monotonic() + after_s, name))

    @property
    def quiet(self) -> bool:
        """Whether no kill is due any more."""
        return not self._due

    def turn(self, supervisor: Supervisor) -> None:
        """Kill who is due."""
        members = {member.name: member for member in (*self.servers.started, *supervisor.roles)}
        for due in [one for one in list(self._due) if one[0] <= time.monotonic()]:
            member = members[due[1]]
            if member.running and member.pid:
                os.kill(member.pid, signal.SIGKILL)
                self.killed[member.name] += 1
                self._due.remove(due)


class Storefront:
    """What shoppers reach: sends their events, reads their shelves, and tries again while either is away."""

    def __init__(self, system: Victims, rounds: Rounds, kafka: KafkaConfig, redis: "Redis") -> None:
        self.system, self.rounds, self.redis = system, rounds, redis
        self.events = Topics("").events
        self.producer = KafkaProducer(
            **kafka.client(), acks="all", enable_idempotence=True, delivery_timeout_ms=int(PATIENCE_S * 1_000)
        )

    def live(self, number: int) -> None:
        """One round."""
        self.send(self.rounds.asks(number))
        shelves: dict[str, Shelf] = {}

        def complete() -> bool:
            for shopper in self.rounds.shoppers:
                shelf = None if shopper in shelves else self._shelf(shopper)
                if shelf is not None and self.rounds.answers(number, shopper, shelf):
                    shelves[shopper] = shelf
            return len(shelves) == len(self.rounds.shoppers)

        self.until(complete, lambda: f"round {number}: {len(shelves)} of {len(self.rounds.shoppers)} shelves")
        self.send(self.rounds.sees(number, shelves))

    def send(self, events: Sequence[Sent]) -> None:
        """Send events; Kafka has them when it returns."""
        futures = [self.producer.send(self.events, key=key, value=value) for key, value in events]
        for future in futures:
            future.get(timeout=PATIENCE_S)

    def until(self, holds: Callable[[], Any], why: Callable[[], str]) -> None:
        """Wait until something holds; while Redis is away it does not."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if holds():
                    return
            except (RedisError, KafkaError):
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"not in {PATIENCE_S:.0f} s: {why()}\n{self.system.logs()}")
            time.sleep(0.1)

    def _shelf(self, shopper: str) -> Shelf | None:
        value: Any = self.redis.get(keys.feed(shopper))
        return None if value is None else shelf_decoder.decode(value)


class Run:
    """One run, in a folder of its own."""

    def __init__(self, folder: Path, rounds: Rounds) -> None:
        self.folder, self.rounds = folder, rounds

    @contextmanager
    def open(self) -> Iterator["Run"]:
        """Everything up, and the catalogue read."""
        with stack(StackConfig(folder=self.folder / "stack")) as servers:
            self.kafka = KafkaConfig(bootstrap_servers=servers.bootstrap_servers)
            topics.create(self.kafka, TopicsConfig(partitions=PARTITIONS))
            with (
                Redis.from_url(servers.redis_url) as self.redis,
                Victims(servers, self.folder).running() as self.system,
            ):
                self.traces = Traces(self.kafka, self.redis, self.folder / "examples", self.rounds)
                self.shop = Storefront(self.system, self.rounds, self.kafka, self.redis)
                for item, title in self.rounds.items.items():
                    value = msgspec.json.encode({"item_id": item, "title": title})
                    self.shop.producer.send(Topics("").items, key=item.encode(), value=value)
                self.shop.producer.flush()
                count = len(self.rounds.items)
                self.shop.until(lambda: self.traces.ends(Topics("").embeddings) >= count, lambda: "no catalogue")
                yield self
                self.shop.producer.close()

    def settle(self) -> None:
        """Let time go on until all is closed, and wait until nothing moves any more.

        Events' time runs ahead of the clock here, so shelves are waited for first: a shopper sees a shelf after it was
        made, but here an impression's time may be before it, and then nothing makes the evaluator wait for the shelf.
        """
        self.shop.until(self.traces.shelves_read, lambda: "shelves are not read")
        last = self.rounds.base_ms + len(self.rounds.seen) * STEP_MS
        last += JoinWindow(WINDOW_S * 1_000, GRACE_S * 1_000).settled_ms
        later(self.shop.producer, Topics("").events, range(PARTITIONS), last)
        self.shop.until(self.traces.settled, lambda: "not settled")


def plan(kills: int, rounds: int, names: Sequence[str], seed: int) -> dict[int, list[tuple[str, float]]]:
    """Who is killed in each round, and how long after its beginning; each about equally often.

    Examples
    --------
    >>> found = plan(10, 6, ["a", "b"], 1)
    >>> sum(len(one) for one in found.values()), sum(name == "a" for one in found.values() for name, _ in one)
    (10, 5)
    """
    chance, found = random.Random(seed), dict[int, list[tuple[str, float]]]()
    order = [name for _ in range(-(-kills // len(names))) for name in chance.sample(names, len(names))]
    for name in order[:kills]:
        found.setdefault(chance.randrange(1, rounds), []).append((name, chance.uniform(0, LATEST_S)))
    return found


def undisturbed(folder: Path, rounds: Rounds, count: int, step: Callable[[], None]) -> tuple[Compared, Compared]:
    """The first run: what must be equal, and what Redis holds of each kind at the end."""
    with Run(folder, rounds).open() as run:
        for number in range(count):
            run.shop.live(number)
            step()
        run.settle()
        return run.traces.compared(), {kind: run.traces.held(kind) for kind in KINDS}


def disturbed(
    report: Report, folder: Path, rounds: Rounds, wanted: dict[str, Any], kills: int, seed: int
) -> Iterator[None]:
    """The second run: the same, and the kills."""
    began = time.monotonic()
    with Run(folder, rounds).open() as run:
        names = [member.name for member in run.system.servers.started] + [role.name for role in run.system.roles]
        when = plan(kills, len(rounds.seen), names, seed)
        for number in range(len(rounds.seen)):
            for name, after_s in when.get(number, ()):
                run.system.kill(name, after_s)
            run.shop.live(number)
            yield
        run.shop.until(lambda: run.system.quiet, lambda: "kills are left")
        run.settle()
        for what, found in run.traces.compared().items():
            missing, more, example = apart(found, wanted[what])
            report.row(what=what, entries=len(wanted[what]), otherwise=missing, more=more, equal=not missing + more)
            if example:
                report.facts[f"{what}, one"] = example
        report.facts |= {f"killed: {name}": count for name, count in sorted(run.system.killed.items())}
        report.facts |= run.traces.again() | {"seconds": round(time.monotonic() - began, 1)}


def flushed(
    report: Report, folder: Path, rounds: Rounds, ends: dict[str, Any], wanted: dict[str, Any]
) -> Iterator[None]:
    """The third run: Redis flushed after two thirds, when all was quiet, while somebody trains."""
    until = 2 * len(rounds.seen) // 3
    with Run(folder, rounds).open() as run, asyncio.Runner() as loop:
        for number in range(until):
            run.shop.live(number)
            yield
        groups = (WORKERS, EVALUATORS)
        run.shop.until(lambda: not any(map(run.traces.uncommitted, groups)), lambda: "not all is through")
        redis = connect(RedisConfig(url=SecretStr(run.system.servers.redis_url)))
        book = RunRegistry(redis, TRAINERS, TriggerConfig(cooldown_s=0.0))
        due = Trigger(reason="schedule", summary="", evidence={}, at=0, examples=10_000)
        loop.run(book.begin(due, "1", "somebody"))
        before = {kind: run.traces.held(kind) for kind in KINDS}
        run.redis.flushall()
        time.sleep(ALONE_S)
        alone = {kind: run.traces.held(kind) for kind in KINDS}
        loop.run(book.beat("1"))
        loop.run(redis.aclose())
        for number in range(until, len(rounds.seen)):
            run.shop.live(number)
            yield
        run.settle()
        for kind in KINDS:
            found, wholes = run.traces.held(kind), ends[kind]
            valued = any(value is not None for value in wholes.values())
            report.row(
                what=kind,
                before=len(before[kind]),
                back_alone=_share(len(before[kind].keys() & alone[kind].keys()), len(before[kind])),
                at_the_end=len(found),
                undisturbed=len(wholes),
                there=_share(len(wholes.keys() & found.keys()), len(wholes)),
                equal=_share(len(wholes.items() & found.items()), len(wholes)) if valued else "",
            )
        for what, found in run.traces.compared().items():
            missing, _, _ = apart(found, wanted[what])
            report.facts[f"lost or otherwise: {what}"] = f"{missing:,} of {len(wanted[what]):,}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


@smoke(kills=6, count=8, shoppers=30, flush=False)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    kills: Annotated[int, typer.Option(min=1, help="How many processes are killed.")] = 100,
    count: Annotated[int, typer.Option("--rounds", min=4, help="Rounds that the shoppers make.")] = ROUNDS,
    shoppers: Annotated[int, typer.Option(min=1, help="How many shoppers make them.")] = SHOPPERS,
    seed: Annotated[int, typer.Option(help="Of the shoppers and the kills.")] = 1,
    flush: Annotated[bool, typer.Option(help="Also the run in which Redis is flushed.")] = True,
) -> None:
    """Kill and compare; about a minute without kills, and some seconds each."""
    facts: dict[str, Any] = {"rounds": count, "shoppers": shoppers, "kills": kills, "seed": seed}
    killed, emptied = Report("chaos", **facts), Report("flush", **facts)
    rounds = Rounds(shoppers, wall_ms() - count * STEP_MS, seed=seed)
    with tempfile.TemporaryDirectory() as at, Progress(transient=True) as progress:
        folder = Path(at)
        task = progress.add_task("undisturbed", total=count * (2 + flush))
        wanted, ends = undisturbed(folder / "first", rounds, count, lambda: progress.advance(task))
        progress.update(task, description=f"{kills} kills")
        for _ in disturbed(killed, folder / "second", rounds, wanted, kills, seed):
            progress.advance(task)
        killed.facts["events"] = sum(len(rounds.asks(number)) + len(rounds.seen[number]) for number in range(count))
        if flush:
            progress.update(task, description="flushed")
            for _ in flushed(emptied, folder / "third", rounds, ends, wanted):
                progress.advance(task)
    killed.write()
    if flush:
        emptied.write()
    if json_path is not None:
        json_path.write_text(json.dumps({"chaos": killed.data(), "flush": emptied.data()}, indent=2) + "\n")
    if not all(row["equal"] for row in killed.rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
