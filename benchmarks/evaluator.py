"""How many impressions a second does one evaluator join, exactly, and does its memory stay flat?

Starts its own Kafka, Redis and evaluator. Shelves and events of more than an hour by event time wait on the topics;
the evaluator reads them as fast as it can. What it closed is then held against an offline join of the same events.
``python -m benchmarks.evaluator --json F``
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from kafka import KafkaProducer
from redis import Redis
from rich.progress import Progress

from benchmarks.report import Report
from benchmarks.smoke import smoke
from evaluator.attribution.join import Attribution, JoinWindow
from evaluator.attribution.store import numbers
from evaluator.config import EvaluatorConfig
from liveshelf.settings import StackConfig
from liveshelf.stack.servers import stack
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events import schema
from streams.events.schema import AnyEvent, Cart, Click, Impression, Purchase, Shown
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, encoder
from streams.kafka import topics
from streams.kafka.topics import Topics

WANTED = 5_000
"""Impressions a second."""

ON_SHELF = 10
SHOPPERS, ITEMS = 20_000, 20_000
CLICKS = 0.05
HOUR_S = 3_600
PATIENCE_S = 1_800.0
COMMIT_S = 20.0


@dataclass(frozen=True)
class Moment:
    """Where the evaluator stood: seconds since its start, CPU seconds, open impressions, its own bytes and Redis'."""

    at_s: float
    cpu_s: float
    taken: int
    waiting: int
    own: int
    redis: int


def traffic(impressions: int, span_s: int, seed: int) -> Iterator[tuple[ShelfRecord, list[AnyEvent]]]:
    """Shelves and what shoppers did with them, spread evenly over a span that ended long enough ago to be closed."""
    chance, rules = random.Random(seed), JoinWindow()
    end, count = wall_ms() - rules.window_ms - rules.grace_ms - 1_000, impressions // ON_SHELF
    start = end - span_s * 1_000
    for number in range(count):
        ts = start + number * span_s * 1_000 // count
        user, name = f"shopper-{chance.randrange(SHOPPERS)}", f"{chance.getrandbits(96):024x}"
        items = [f"item-{item}" for item in chance.sample(range(ITEMS), ON_SHELF)]
        shelf = Shelf(
            shelf_id=name,
            surface=chance.choice(["feed", "search"]),
            model="20261126T000000-0000",
            arm="canary" if chance.random() < 0.1 else "champion",
            made_at=ts - 500,
            event_ts=ts - 520,
            items=[ShelfItem(item, chance.random(), 0.01, 0.02, 0.05, "vector") for item in items],
        )
        record = ShelfRecord(
            key=f"shelf:feed:{user}",
            shopper=user,
            query="garden hose" if shelf.surface == "search" else None,
            shelf=shelf,
            propensities=[1.0] * ON_SHELF,
            history=items[:3],
        )
        shown = [Shown(item_id=item, position=place) for place, item in enumerate(items)]
        seen = Impression(event_id=f"v{number}", ts=ts, user_id=user, shelf_id=name, surface=shelf.surface, items=shown)
        acts: list[AnyEvent] = [seen]
        for place, item in enumerate(items):
            if chance.random() < CLICKS:
                kind: type[Click | Cart | Purchase] = chance.choices((Click, Cart, Purchase), (8, 1, 1))[0]
                acted = ts + chance.randrange(200_000)
                if acted < end:
                    acted_on = kind(event_id=f"a{number}.{place}", ts=acted, user_id=user, item_id=item, shelf_id=name)
                    acts.append(acted_on)
        yield record, acts


def produce(kafka: KafkaConfig, impressions: int, span_s: int, progress: Progress) -> Counter[str]:
    """Put shelves and events, in order of time, on the topics; what an offline join says of them, by intent."""
    names, join = Topics(), Attribution(JoinWindow())
    producer = KafkaProducer(**kafka.client(), acks="all", linger_ms=20, batch_size=262_144)
    task = progress.add_task("producing", total=impressions)
    made: list[tuple[int, AnyEvent]] = []
    for record, acts in traffic(impressions, span_s, seed=1):
        producer.send(names.shelves, key=(record.shopper or "").encode(), value=encoder.encode(record))
        made += [(act.time_ms, act) for act in acts]
        progress.advance(task, ON_SHELF)
    for _, event in sorted(made, key=lambda pair: pair[0]):
        producer.send(names.events, key=event.shopper.encode(), value=schema.encoder.encode(event))
        join.update(event)
    producer.flush()
    producer.close()
    join.advance(2 * wall_ms())
    return join.get().attributed


@contextmanager
def evaluator(bootstrap: str, redis_url: str, idle_s: float) -> Iterator[psutil.Process]:
    """The process, alone in its group."""
    env = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "REDIS_URL": redis_url,
        "LIVESHELF_EVALUATOR__IDLE_S": str(idle_s),
        "LIVESHELF_EVALUATOR__INSTANCE": "measured",
    }
    process = subprocess.Popen([sys.executable, "-m", "liveshelf", "evaluator"], env=env)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def watch(kafka: KafkaConfig, process: psutil.Process, redis: "Redis", wanted: int) -> Iterator[Moment]:
    """A moment a second until all impressions are closed."""
    began = time.monotonic()
    for snapshot in reporting.follow(StreamsConfig(kafka=kafka), "evaluator"):
        if time.monotonic() - began > PATIENCE_S or not process.is_running():
            raise SystemExit("the evaluator did not come to the end; see above")
        if snapshot is None:
            continue
        closed, waiting = (int(snapshot.gauges.get(name, 0)) for name in ("closed", "waiting"))
        yield Moment(
            at_s=time.monotonic() - began,
            cpu_s=sum(process.cpu_times()[:2]),
            taken=closed + waiting,
            waiting=waiting,
            own=process.memory_info().rss,
            redis=int(redis.info("memory")["used_memory"]),
        )
        if closed >= wanted:
            return


def totals(redis: "Redis", wanted: int) -> Counter[str]:
    """What is committed, once it is as much as was wanted: a snapshot may tell of a batch that is on its way there."""
    deadline = time.monotonic() + COMMIT_S
    while True:
        found: Counter[str] = Counter()
        for key in redis.scan_iter("ls:*:meta"):
            fields: Any = redis.hgetall(key)
            found.update(numbers(fields))
        closed = sum(count for name, count in found.items() if name.startswith("closed."))
        if closed >= wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@smoke(impressions=2_000, idle=2.0)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here too.")] = None,
    impressions: Annotated[int, typer.Option(help="Spread over the time.")] = 400_000,
    idle: Annotated[float, typer.Option(help="Seconds without an event until time goes on by itself.")] = 20.0,
    hours: Annotated[float, typer.Option(help="Event time beyond window and grace.")] = 1.0,
) -> None:
    """Measure and print; some minutes."""
    config = EvaluatorConfig()
    span_s = int(hours * HOUR_S + config.window_s + config.grace_s)
    report = Report("evaluator", impressions=impressions, event_time_s=span_s, items_on_a_shelf=ON_SHELF)
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(StackConfig(folder=Path(folder), redis_memory_mb=4_096), say=print) as servers,
        Progress(transient=True) as progress,
    ):
        kafka = KafkaConfig(bootstrap_servers=servers.bootstrap_servers)
        topics.create(kafka, TopicsConfig())
        offline = produce(kafka, impressions, span_s, progress)
        wanted = offline.total()
        task = progress.add_task("joining", total=wanted)
        moments: list[Moment] = []
        where = servers.bootstrap_servers, servers.redis_url
        with Redis.from_url(servers.redis_url) as redis, evaluator(*where, idle) as one:
            for moment in watch(kafka, one, redis, wanted):
                moments.append(moment)
                progress.update(task, completed=moment.taken - moment.waiting)
            found = totals(redis, wanted)
        tell(report, moments, wanted)
        report.facts["equal_to_offline_join"] = all(found[f"closed.{intent}"] == n for intent, n in offline.items())
    report.write(json)


def tell(report: Report, moments: list[Moment], wanted: int) -> None:
    """Rows by tenths of the way, and what it comes to."""
    reading = [moment for moment in moments if moment.taken]
    done = next(moment for moment in reading if moment.taken >= wanted)
    first = reading[0]
    for tenth in range(1, 11):
        at = next(moment for moment in reading if moment.taken >= tenth * wanted / 10)
        report.row(
            taken=at.taken,
            impressions_per_s=(at.taken - first.taken) / max(at.at_s - first.at_s, 1e-9),
            open_impressions=at.waiting,
            process_mb=at.own / 1e6,
            redis_mb=at.redis / 1e6,
        )
    rate, cpu = wanted / done.at_s, wanted / done.cpu_s
    half = next(moment for moment in reading if moment.taken >= wanted / 2)
    report.facts |= {
        "impressions_per_s": rate,
        "impressions_per_cpu_s": cpu,
        "process_growth_second_half": done.own / half.own - 1,
        "target": f"{'met' if rate >= WANTED else 'missed'}: {rate:,.0f} of {WANTED:,} impressions/s",
    }


if __name__ == "__main__":
    typer.run(main)
