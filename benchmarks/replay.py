"""Is the live click rate that of an offline count, whatever happens on the way? Real result lists, and five deaths.

Starts its own Kafka, Redis and evaluator, and replays RetroTech's sessions: in order, shuffled with a tenth of all
events twice, and with the evaluator killed in the middle. ``python -m benchmarks.replay --json F``
"""

import csv
import lzma
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from pydantic import SecretStr
from redis import Redis
from rich.progress import Progress

from benchmarks.data import SESSIONS, data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke
from evaluator.attribution.join import JoinWindow
from evaluator.attribution.store import numbers
from evaluator.metrics.intervals import wilson
from liveshelf.settings import StackConfig
from liveshelf.stack.process import Process, tail
from liveshelf.stack.servers import stack
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, RedisConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.topics import Topics
from streams.telemetry.meter import Snapshot

LISTS = 45_000
WINDOW_S, GRACE_S = 1_800, 3_600
IDLE_S = 600
"""Longer than anything here is quiet: time goes on by events alone."""

STEP_MS = 60_000
"""The preset asks for a list a minute; a list is seen a tenth of it later, and its clicks share the rest evenly."""

PATIENCE_S, SAMPLE_S = 1_800.0, 0.5
PLACES = {"1": range(1), "2-3": range(1, 3), "4-6": range(3, 6), "7-12": range(6, 12), "13+": range(12, 1_000)}
DAY_MS = 86_400_000
SUMMED = ("impressions", "clicks", "purchases", "revenue")
"""What an hour's rates in Redis hold of each slice, by number."""

Sent = tuple[int, bytes, bytes]
"""An event: its time, its key, its value."""


@dataclass
class Count:
    """Impressions and clicks by range of places."""

    shown: Counter[str] = field(default_factory=Counter)
    clicked: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> tuple[int, int]:
        """Impressions and clicks."""
        return self.shown.total(), self.clicked.total()


def lists() -> list[tuple[list[int], list[int]]]:
    """The places shown and the places clicked of each list, straight from the file: what all else is held against.

    A row is an impression. Nothing has to be joined: rows of a list stand together, no list has an item twice, and no
    session asks twice for the same.
    """
    return _lists(data_folder() / SESSIONS)


@cache
def _lists(sessions: Path) -> list[tuple[list[int], list[int]]]:
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    with lzma.open(sessions, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            shown, clicked = found.setdefault((row["sess_id"], row["query"]), ([], []))
            shown.append(int(float(row["rank"])))
            if row["clicked"] == "True":
                clicked.append(shown[-1])
    return list(found.values())


def offline(first: int = 0, last: int = LISTS) -> Count:
    """Impressions and clicks of lists ``first`` to ``last``."""
    some = lists()[first:last]
    shown, clicked = (Counter(place for one in some for place in one[which]) for which in (0, 1))
    return Count(*(Counter({name: sum(n[i] for i in PLACES[name]) for name in PLACES}) for n in (shown, clicked)))


def records(count: int) -> int:
    """Events of the first lists: a search and an impression each, and the clicks."""
    return 2 * count + sum(len(clicked) for _, clicked in lists()[:count])


def within_24h(count: int, newest_ms: int, until_ms: int) -> Count:
    """What the first lists leave in a window of 24 hours, which moves in steps of a sixtieth.

    Parameters
    ----------
    newest_ms
        When the replay's last event happened.
    until_ms
        Up to when all is closed.
    """
    clicks = len(lists()[count - 1][1])
    last_seen = newest_ms - (round(0.9 * STEP_MS * clicks / (clicks + 1)) if clicks else 0)
    step = DAY_MS // 60
    after = (until_ms // step - 60) * step + step  # what happened before has fallen out
    return offline(max(0, count - 1 - (last_seen - after) // STEP_MS), count)


def rates(client: "Redis", group: str) -> Counter[tuple[str, str]]:
    """What an evaluator group's rates by the minute add up to, by what is summed and range of places."""
    found: Counter[tuple[str, str]] = Counter()
    for key in client.scan_iter(f"ls:{{{group}.*}}:rates:*", count=1_000):
        fields: Any = client.hgetall(key)
        for name, value in fields.items():
            *_, place, number = msgspec.msgpack.decode(name)
            if int(number) < len(SUMMED):
                found[SUMMED[int(number)], place] += float(value)  # type: ignore[assignment]
    return found


def in_redis(client: "Redis", group: str) -> Count:
    """Impressions and clicks of an evaluator group."""
    sums = rates(client, group)
    shown, clicked = (
        Counter({place: round(sums[what, place]) for place in PLACES}) for what in ("impressions", "clicks")
    )
    return Count(shown, clicked)


def in_snapshot(snapshot: Snapshot, window: str) -> tuple[int, int]:
    """Impressions and clicks of a window, as an evaluator tells them."""
    sums: Counter[str] = Counter()
    for series in snapshot.series:
        if series.labels.get("window") == window:
            sums[series.name] += round(series.value)
    return sums["rate_impressions"], sums["rate_clicks"]


def totals(client: "Redis", group: str) -> Counter[str]:
    """Totals of all partitions; the watermark is the highest, ``taken`` is how many records are through."""
    found: Counter[str] = Counter()
    watermark = 0
    for key in client.scan_iter(f"ls:{{{group}.*}}:meta", count=1_000):
        fields: Any = client.hgetall(key)
        told = numbers(fields)
        watermark = max(watermark, told.pop("watermark", 0))
        found["taken"] += told.pop("offset", -1) + 1
        found.update(told)
    found["watermark"] = watermark
    return found


def waiting(client: "Redis", group: str) -> int:
    """Shoppers' items that still wait to be closed."""
    sizes: list[Any] = [client.hlen(key) for key in client.scan_iter(f"ls:{{{group}.*}}:state", count=1_000)]
    return sum(sizes)


def read(kafka: KafkaConfig, topic: str) -> list[Sent]:
    """A topic's events."""
    consumer = KafkaConsumer(**kafka.client(), group_id=None, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends, found = consumer.end_offsets(partitions), list[Sent]()
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for some in consumer.poll(timeout_ms=500).values():
            found += [(msgspec.json.decode(one.value)["ts"], one.key, one.value) for one in some]
    consumer.close()
    return found


def mixed(events: Sequence[Sent], grace_ms: int, seed: int) -> list[tuple[bytes, bytes]]:
    """Shuffled as far as the grace allows, a tenth of them twice."""
    chance = random.Random(seed)
    again = chance.sample(events, len(events) // 10)
    order = sorted((ts + chance.randrange(grace_ms - 1), key, value) for ts, key, value in [*events, *again])
    return [(key, value) for _, key, value in order]


def later(producer: KafkaProducer, topic: str, partitions: Iterable[int], ts: int) -> None:
    """Somebody else's search in each partition, by which time goes on there."""
    for partition in partitions:
        event = {"type": "search", "event_id": f"later-{partition}", "ts": ts, "user_id": "later", "query": "later"}
        producer.send(topic, partition=partition, key=b"later", value=msgspec.json.encode(event))
    producer.flush()


def replaying(env: dict[str, str], folder: Path, limit: int, *more: str) -> Process:
    """``liveshelf replay`` of the first events, as of now."""
    sessions = str(data_folder() / SESSIONS)
    command = [sys.executable, "-m", "liveshelf", "replay", sessions, "--preset", "retrotech_sessions", "--now"]
    command += ["--limit", str(limit), "--refused", str(folder / "refused.jsonl"), *more]
    return Process(command, log=folder / "replay.log", env=env)


class Evaluator:
    """An evaluator process over all its lives: CPU seconds, and resident bytes twice a second."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.env, self.log = env, log
        self.cpu_s, self.memory = 0.0, list[int]()
        self._lock, self._over = threading.Lock(), threading.Event()
        self.start()
        threading.Thread(target=self._sample, daemon=True).start()

    def start(self) -> None:
        """Begin, or begin again."""
        with self._lock:
            self.process = Process([sys.executable, "-m", "liveshelf", "evaluator"], log=self.log, env=self.env)

    def end(self, sign: signal.Signals) -> None:
        """Kill it, or ask it to end."""
        with self._lock:
            self.check()
            self.cpu_s += sum(psutil.Process(self.process.pid).cpu_times()[:2])
            os.kill(self.process.pid, sign)
            self.process.stop(timeout_s=30)
        if sign == signal.SIGTERM:
            self._over.set()

    def check(self) -> None:
        """Leave when it is not there any more."""
        if not self.process.running:
            raise SystemExit(f"the evaluator ended by itself:\n{tail(self.log)}")

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            with self._lock, suppress(psutil.Error):
                self.memory.append(psutil.Process(self.process.pid).memory_info().rss)


@dataclass
class Cost:
    """What a run took: seconds until all was sent, and until all was closed; the evaluator's CPU seconds and bytes."""

    sent_s: float
    closed_s: float
    cpu_s: float
    memory: list[int]


class Run:
    """One replay, on topics and a Redis database of its own."""

    def __init__(self, servers: tuple[str, str], name: str, database: int, folder: Path) -> None:
        bootstrap, redis_url = servers
        url = f"{redis_url.rsplit('/', 1)[0]}/{database}"
        self.folder = folder / name
        self.config = StreamsConfig(
            kafka=KafkaConfig(bootstrap_servers=bootstrap),
            redis=RedisConfig(url=SecretStr(url)),
            topics=TopicsConfig(prefix=f"{name}-"),
        )
        self.names, self.group = Topics(f"{name}-"), f"{name}-{name}"
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": url,
            "LIVESHELF_TOPICS__PREFIX": f"{name}-",
            "LIVESHELF_EVENTS__MAX_FUTURE_S": str(2 * (WINDOW_S + GRACE_S)),
            "LIVESHELF_EVALUATOR__GROUP": name,
            "LIVESHELF_EVALUATOR__INSTANCE": "evaluator-1",
            "LIVESHELF_EVALUATOR__WINDOW_S": str(WINDOW_S),
            "LIVESHELF_EVALUATOR__GRACE_S": str(GRACE_S),
            "LIVESHELF_EVALUATOR__IDLE_S": str(IDLE_S),
        }
        topics.create(self.config.kafka, self.config.topics)
        self.redis = Redis.from_url(url)
        self.producer = KafkaProducer(**self.config.kafka.client(), acks="all", linger_ms=10, compression_type="gzip")

    def replay(self, count: int, kills: int) -> Cost:
        """By ``liveshelf replay``; the evaluator is killed at even distances."""
        limit = records(count)
        return self._measure(limit, replaying(self.env, self.folder, limit), kills)

    def produce(self, events: Sequence[tuple[bytes, bytes]]) -> Cost:
        """Events as they come."""

        def send() -> None:
            for key, value in events:
                self.producer.send(self.names.events, key=key, value=value)
            self.producer.flush()

        sending = threading.Thread(target=send)
        sending.start()
        return self._measure(len(events), sending, 0)

    def _measure(self, count: int, sending: Process | threading.Thread, kills: int) -> Cost:
        began = time.perf_counter()
        evaluator = Evaluator(self.env, self.folder / "evaluator.log")
        for kill in range(1, kills + 1):
            self._until(evaluator, lambda: self._taken() >= count * kill // (kills + 1))  # noqa: B023
            evaluator.end(signal.SIGKILL)
            evaluator.start()
        if isinstance(sending, Process):
            if sending.wait(PATIENCE_S) != 0:
                raise SystemExit(tail(sending.log))
        else:
            sending.join()
        sent_s = time.perf_counter() - began
        self._until(evaluator, lambda: self._taken() >= count)
        self.newest_ms = totals(self.redis, self.group)["watermark"]
        self.until_ms = self.newest_ms + 1_000
        last = self.until_ms + JoinWindow(WINDOW_S * 1_000, GRACE_S * 1_000).settled_ms
        later(self.producer, self.names.events, range(self.config.topics.partitions), last)
        self._until(evaluator, lambda: not waiting(self.redis, self.group))
        closed_s = time.perf_counter() - began
        before = wall_ms()
        self._until(evaluator, lambda: reporting.snapshots(self.config, before, "evaluator")[1:])
        self.snapshot = reporting.snapshots(self.config, before, "evaluator")[-1]
        evaluator.end(signal.SIGTERM)
        return Cost(sent_s, closed_s, evaluator.cpu_s, evaluator.memory)

    def _taken(self) -> int:
        return totals(self.redis, self.group)["taken"]

    def _until(self, evaluator: Evaluator, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            evaluator.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing in {PATIENCE_S:.0f} s:\n{tail(evaluator.log)}")
            time.sleep(0.25)

    def close(self) -> None:
        """Leave nothing in Redis for the next run to share its memory with."""
        self.redis.flushdb()
        self.redis.close()
        self.producer.close()

    def differences(self, count: int) -> dict[str, str]:
        """Where Redis or the snapshot is not what the file says; empty when all is equal."""
        wanted, day = offline(0, count), within_24h(count, self.newest_ms, self.until_ms)
        found, told = in_redis(self.redis, self.group), totals(self.redis, self.group)
        pairs = {
            "impressions and clicks by place": (found, wanted),
            "closed by intent": (
                (told["closed.ignore"], told["closed.look"]),
                (wanted.total[0] - wanted.total[1], wanted.total[1]),
            ),
            "24 h in the snapshot": (in_snapshot(self.snapshot, "24h"), day.total),
            "late or orphan": (sum(told[name] for name in told if name.startswith(("late", "orphan"))), 0),
        }
        return {name: f"{got}, and not {right}" for name, (got, right) in pairs.items() if got != right}


def tell(report: Report, name: str, run: Run, count: int, cost: Cost) -> None:
    """A row, and the end of the run; what differs goes to the facts."""
    shown, clicked = in_redis(run.redis, run.group).total
    rate, low, high = wilson(clicked, max(1, shown))
    offline_shown, offline_clicked = offline(0, count).total
    different = run.differences(count)
    megabytes = [round(size / 1e6) for size in cost.memory]
    report.row(
        run=name,
        impressions=shown,
        clicks=clicked,
        ctr=f"{rate:.4%}",
        interval_95=f"{low:.2%} … {high:.2%}",
        offline_ctr=f"{offline_clicked / offline_shown:.4%}",
        equal=not different,
        sent_s=round(cost.sent_s, 1),
        closed_s=round(cost.closed_s, 1),
        per_s=round(shown / cost.closed_s),
        cpu_s=round(cost.cpu_s, 1),
        **{f"mb_{part}": megabytes[(len(megabytes) - 1) * part // 100] for part in (25, 50, 75)},
        mb_peak=max(megabytes),
    )
    report.facts |= {f"{name}: {what}": text for what, text in different.items()}
    run.close()


@smoke(count=20, kills=1, shuffle=False)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    count: Annotated[int, typer.Option("--lists", min=1, max=LISTS, help="Replay the first so many.")] = LISTS,
    shuffle: Annotated[bool, typer.Option(help="Also shuffled, with a tenth of all events twice.")] = True,
    kills: Annotated[int, typer.Option(min=0, help="Also with so many kills; 0 leaves it out.")] = 5,
) -> None:
    """Replay and compare; some minutes each run."""
    report = Report("replay", lists=count, events=records(count), window_s=WINDOW_S, grace_s=GRACE_S)
    with (
        tempfile.TemporaryDirectory() as at,
        stack(StackConfig(folder=Path(at)), say=print) as servers,
        Progress(transient=True) as progress,
    ):
        where = servers.bootstrap_servers, servers.redis_url
        task = progress.add_task("in order", total=1 + shuffle + bool(kills))
        first = Run(where, "ordered", 1, Path(at))
        tell(report, "in order", first, count, first.replay(count, 0))
        if shuffle:
            progress.update(task, description="shuffled, 10 % twice", advance=1)
            again = Run(where, "shuffled", 2, Path(at))
            events = [one for one in read(first.config.kafka, first.names.events) if one[1] != b"later"]
            cost = again.produce(mixed(events, GRACE_S * 1_000, seed=1))
            tell(report, "shuffled, 10 % twice", again, count, cost)
        if kills:
            progress.update(task, description=f"{kills} kills", advance=1)
            killed = Run(where, "killed", 3, Path(at))
            tell(report, f"{kills} kills", killed, count, killed.replay(count, kills))
    report.write(json_path)
    if not all(row["equal"] for row in report.rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
