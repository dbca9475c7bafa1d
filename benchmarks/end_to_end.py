"""How many events a second go from Kafka to a shelf in Redis, how long each takes, and what all but the model costs.

Starts its own Kafka, Redis and worker. ``python -m benchmarks.end_to_end --json F``
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import psutil
import typer
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from kafka import KafkaConsumer, TopicPartition
from pydantic import SecretStr
from redis.asyncio import Redis
from rich.progress import Progress, TaskID

from benchmarks.data import products
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.settings import StackConfig
from liveshelf.stack.servers import stack
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, RedisConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.topics import Topics
from streams.telemetry.meter import Snapshot, decoder, quantiles, total

STAGES = ("queue", "state", "encode", "candidates", "score", "policy", "reasons", "write")
SHOPPERS = 500
SEARCHES = 0.4
SNAPSHOT_S = 0.2
PATIENCE_S = 120.0
SEARCH_P99_MS, OVERHEAD = 50.0, 0.2
"""The targets: search events at half load, and all but the model beside the bare loop."""


@dataclass
class Cost:
    """What a backlog of events took: seconds by the wall, CPU seconds of the process, shelves and their bytes."""

    events: int
    wall_s: float
    cpu_s: float
    shelves: int = 0
    shelf_bytes: int = 0

    @property
    def ms(self) -> float:
        """Wall milliseconds an event."""
        return self.wall_s / self.events * 1000

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds of the process an event, all its threads together."""
        return self.cpu_s / self.events * 1000


def goods(count: int) -> list[tuple[str, dict[str, str]]]:
    """The first products as items."""
    return [
        (one.id, {"item_id": one.id, "title": one.title[:2000], "brand": one.supplier or ""}) for one in products(count)
    ]


class Events:
    """An endless mix: searches in words of titles, and touches of items.

    Parameters
    ----------
    queries
        How many different queries there are, the n-th of them asked 1/n as often as the first (Zipf's law, which logs
        of searches follow); by default any words of any title.
    shoppers
        How many there are.
    """

    def __init__(
        self,
        items: list[tuple[str, dict[str, str]]],
        seed: int,
        queries: int | None = None,
        shoppers: int = SHOPPERS,
    ) -> None:
        self.items, self.chance, self.count, self.shoppers = items, random.Random(seed), 0, shoppers
        self.run = f"{seed}-{time.time_ns()}"
        self._queries = [self._words(self.chance.choice(items)[1]) for _ in range(queries or 0)]
        self._often = list(accumulate(1 / rank for rank in range(1, len(self._queries) + 1)))

    def _words(self, item: dict[str, str]) -> str:
        words = item["title"].split()
        start = self.chance.randrange(max(1, len(words) - 3))
        return " ".join(words[start : start + self.chance.randint(2, 4)])[:200]

    def next(self) -> tuple[bytes, bytes]:
        """Key and value of the next event, which happens now."""
        self.count += 1
        item_id, item = self.chance.choice(self.items)
        user = f"u{self.chance.randrange(self.shoppers)}"
        event: dict[str, object] = {"event_id": f"{self.run}-{self.count}", "ts": wall_ms(), "user_id": user}
        if self.chance.random() < SEARCHES:
            [query] = self.chance.choices(self._queries, cum_weights=self._often) if self._queries else [None]
            event |= {"type": "search", "query": query or self._words(item)}
        else:
            kind = self.chance.choices(["click", "read", "cart", "purchase"], [6, 3, 2, 1])[0]
            event |= {"type": kind, "item_id": item_id}
        return user.encode(), json.dumps(event).encode()


def busy(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that processes have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Run:
    """Worker processes with their own topics and Redis database.

    Parameters
    ----------
    servers
        Addresses of Kafka and Redis.
    code
        A checkout whose worker runs; by default this one.
    core
        The core that the workers run on; by default any.
    """

    def __init__(
        self,
        servers: tuple[str, str],
        name: str,
        database: int,
        architecture: str,
        code: Path | None = None,
        core: int | None = None,
    ) -> None:
        bootstrap, redis_url = servers
        self.redis_url = f"{redis_url.rsplit('/', 1)[0]}/{database}"
        self.config = StreamsConfig(
            kafka=KafkaConfig(bootstrap_servers=bootstrap),
            redis=RedisConfig(url=SecretStr(self.redis_url)),
            topics=TopicsConfig(prefix=f"{name}-"),
        )
        self.names = Topics(f"{name}-")
        self.env = (
            os.environ
            | {
                "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
                "REDIS_URL": self.redis_url,
                "LIVESHELF_TOPICS__PREFIX": f"{name}-",
                "LIVESHELF_WORKER__GROUP": name,
                "LIVESHELF_WORKER__METRICS_EVERY_S": str(SNAPSHOT_S),
                "LIVESHELF_MODEL__ARCHITECTURE": architecture,
                "LIVESHELF_MODEL__VERSION": "",
            }
            | ({} if code is None else {"PYTHONPATH": str(code)})
        )
        self.core = core
        topics.create(self.config.kafka, self.config.topics)
        # librdkafka: kafka-python's sending thread at times spins, on a core that it shares with the broker.
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0, "partitioner": "murmur2_random"}
        )
        self.metrics = KafkaConsumer(**self.config.kafka.client(), group_id=None)
        self.metrics.assign([TopicPartition(self.names.metrics, 0)])

    @contextmanager
    def worker(self, items: list[tuple[str, dict[str, str]]]) -> Iterator[psutil.Process]:
        """The worker, running and with all items encoded."""
        with self.workers(items, 1) as [process]:
            yield process

    @contextmanager
    def workers(self, items: list[tuple[str, dict[str, str]]], count: int) -> Iterator[list[psutil.Process]]:
        """So many workers, running and each with all items encoded."""
        for item_id, item in items:
            self.send(self.names.items, item_id.encode(), json.dumps(item).encode())
        self.producer.flush()
        processes = [
            subprocess.Popen([sys.executable, "-m", "liveshelf", "worker"], env=self.env) for _ in range(count)
        ]
        try:
            for process in processes if self.core is not None else ():
                psutil.Process(process.pid).cpu_affinity([self.core])  # threads that it starts later have it too
            ready = set[str]()
            for snapshot in reporting.follow(self.config):
                if any(process.poll() is not None for process in processes):
                    raise SystemExit("a worker ended; see above")
                if snapshot is not None and snapshot.gauges["items"] >= len(items):
                    ready.add(snapshot.id)
                if len(ready) == count:
                    break
            yield [psutil.Process(process.pid) for process in processes]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=30)

    def backlog(self, processes: Sequence[psutil.Process], events: Events, count: int) -> Cost:
        """Produce ``count`` events at once and wait until all are through; the cost is that of some processes."""
        values = [events.next() for _ in range(count)]
        self._from_now()
        began_ms = wall_ms()
        cpu = busy(processes)
        for key, value in values:
            self.send(self.names.events, key, value)
        self.producer.flush()
        taken = self._until(count)
        return Cost(
            events=count,
            wall_s=(taken[-1].to_ms - began_ms) / 1000,
            cpu_s=busy(processes) - cpu,
            shelves=total(taken, "shelves"),
            shelf_bytes=total(taken, "shelf_bytes"),
        )

    def paced(self, events: Events, rate: float, seconds: float) -> list[Snapshot]:
        """Produce at a steady rate, however fast they are answered; returns what was measured meanwhile."""
        self._from_now()
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < seconds:
            while sent < now * rate:
                key, value = events.next()
                self.send(self.names.events, key, value)
                sent += 1
            time.sleep(0.001)
        self.producer.flush()
        return self._until(sent)

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Hand a record to the producer; waits while its queue is full."""
        while True:
            try:
                self.producer.produce(topic, key=key, value=value)
            except BufferError:
                self.producer.poll(0.1)
            else:
                self.producer.poll(0)
                return

    def _from_now(self) -> None:
        """Leave out what was measured before."""
        self.metrics.seek_to_end()
        self.metrics.position(TopicPartition(self.names.metrics, 0))

    def _until(self, count: int) -> list[Snapshot]:
        """Snapshots until they tell of so many events."""
        taken: list[Snapshot] = []
        deadline = time.monotonic() + PATIENCE_S
        while total(taken, "events") < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {total(taken, 'events')} of {count} events were through in {PATIENCE_S:.0f} s")
            for messages in self.metrics.poll(timeout_ms=250).values():
                taken += [decoder.decode(message.value) for message in messages]
        return taken


async def bare(run: Run, count: int, shelves: int, size: int) -> Cost:
    """The least that could do the same input and output: aiokafka, one pipeline of SETs a fetch, commit."""
    consumer = AIOKafkaConsumer(
        run.names.events,
        bootstrap_servers=run.config.kafka.bootstrap_servers,
        group_id=f"bare-{time.time_ns()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    redis = Redis.from_url(run.redis_url)
    value, owed, done, written = b"x" * size, 0.0, 0, 0
    await consumer.start()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        while done < count:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=64)
            async with redis.pipeline(transaction=False) as pipe:
                for messages in fetched.values():
                    for message in messages[: count - done]:
                        json.loads(message.value or b"{}")
                        done += 1
                        owed += shelves / count
                        while owed >= 1:
                            pipe.set(f"bare:{message.offset}:{written % 4}", value, ex=3600)
                            owed -= 1
                            written += 1
                await pipe.execute()
            await consumer.commit()
        return Cost(count, time.perf_counter() - began, time.process_time() - cpu, written, written * size)
    finally:
        await consumer.stop()
        await redis.aclose()


def load(report: Report, name: str, rate: float, taken: list[Snapshot]) -> None:
    """A row of latencies for one load."""
    stages = {f"{stage}_p50": round(quantiles(taken, stage, (0.5,))[0], 2) for stage in STAGES}
    report.row(what=name, events_per_s=round(rate, 1), **latencies(taken), **stages)


def latencies(taken: list[Snapshot]) -> dict[str, float]:
    """Quantiles from an event's record to its shelves in Redis, of all events and of searches, ms."""
    p50, p90, p99 = quantiles(taken, "end_to_end", (0.5, 0.9, 0.99))
    [search] = quantiles(taken, "end_to_end.search", (0.99,))
    found = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "search_p99_ms": search}
    return {name: round(ms, 1) for name, ms in found.items()}


@smoke(items=40, count=60, warm_up=10, seconds=1.0, repeats=1)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 2_000,
    count: Annotated[int, typer.Option(help="Events of a backlog.")] = 3_000,
    warm_up: Annotated[int, typer.Option(help="Events before any that counts.")] = 500,
    seconds: Annotated[float, typer.Option(help="Length of each paced load.")] = 20.0,
    repeats: Annotated[int, typer.Option(help="Of the maximum, by turns.")] = 3,
) -> None:
    """Measure; about five minutes."""
    catalogue = goods(items)
    report = Report("end_to_end", items=items, backlog=count, candidates=100)
    costs: dict[str, list[Cost]] = {"full": [], "constant": [], "bare": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(StackConfig(folder=Path(folder)), say=print) as servers,
        Progress(transient=True) as progress,
    ):
        task: TaskID = progress.add_task("encoding the catalogue", total=4 + 3 * repeats)
        where = (servers.bootstrap_servers, servers.redis_url)
        full, constant = (Run(where, "full", 1, "late_interaction"), Run(where, "constant", 2, "constant"))
        with full.worker(catalogue) as process:
            events = Events(catalogue, 1)
            full.backlog([process], events, warm_up)
            for _ in range(repeats):
                progress.update(task, description="maximum, full", advance=1)
                costs["full"].append(full.backlog([process], events, count))
            most = 1000 / statistics.median(cost.ms for cost in costs["full"])
            for share in (0.25, 0.5, 0.9):
                progress.update(task, description=f"{share:.0%} of the maximum", advance=1)
                load(report, f"{share:.0%} of the maximum", share * most, full.paced(events, share * most, seconds))
        with constant.worker(catalogue) as process:
            events = Events(catalogue, 2)
            constant.backlog([process], events, warm_up)
            for _ in range(repeats):
                progress.update(task, description="maximum, constant scorer beside the bare loop", advance=2)
                cost = constant.backlog([process], events, count)
                costs["constant"].append(cost)
                size = cost.shelf_bytes // max(1, cost.shelves)
                costs["bare"].append(asyncio.run(bare(constant, count, cost.shelves, size)))
    for name, several in costs.items():
        wall_each = statistics.median(cost.ms for cost in several)
        report.row(
            what=f"maximum, {name}",
            events_per_s=round(1000 / wall_each, 1),
            wall_ms_per_event=round(wall_each, 3),
            cpu_ms_per_event=round(statistics.median(cost.cpu_ms for cost in several), 3),
            shelves_per_event=round(statistics.median(cost.shelves / cost.events for cost in several), 2),
            bytes_per_shelf=round(statistics.median(cost.shelf_bytes / max(1, cost.shelves) for cost in several)),
        )
    conclude(report, costs)
    report.write(json_path)


def conclude(report: Report, costs: dict[str, list[Cost]]) -> None:
    """Overhead in both readings, by the wall and in CPU, and whether each target is met."""
    for kind in ("ms", "cpu_ms"):
        full, constant, bare_loop = (
            statistics.median(getattr(cost, kind) for cost in costs[name]) for name in ("full", "constant", "bare")
        )
        clock = "wall" if kind == "ms" else "cpu"
        report.facts[f"{clock}_overhead_over_bare_loop"] = round((constant - bare_loop) / bare_loop, 3)
        report.facts[f"{clock}_overhead_as_share_of_full_event"] = round((constant - bare_loop) / full, 3)
    search = report.rows[1]["search_p99_ms"]
    over, share = (report.facts[f"wall_overhead_{name}"] for name in ("over_bare_loop", "as_share_of_full_event"))
    for target, value, most in (
        ("search_p99_ms_at_half_load", search, SEARCH_P99_MS),
        ("overhead_over_bare_loop", over, OVERHEAD),
        ("overhead_as_share_of_full_event", share, OVERHEAD),
    ):
        assert isinstance(value, float)
        missed = f"missed: {value:g} is {value / most:.2f} times the {most:g} allowed"
        report.facts[f"target_{target}"] = f"met: {value:g} < {most:g}" if value < most else missed


if __name__ == "__main__":
    typer.run(main)
