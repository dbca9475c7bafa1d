"""Does anything that is sent stop the system? Hostile records on every topic, with every codec, among good ones.

A local stack with every role. What is sent must be accounted for: of ``shop.events`` and ``shop.items`` each record is
accepted, superseded or dead-lettered. No process may end, memory and logs stay bounded, and at the end a click still
leads to a feed. ``python -m benchmarks.hostile --messages 100000 --json F``
"""

import logging
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import psutil
import typer
from confluent_kafka import KafkaException, Producer
from redis import Redis
from rich.progress import Progress

from benchmarks.hostility import CODECS, ITEMS, Hostility, Message
from benchmarks.report import Report
from benchmarks.smoke import smoke
from benchmarks.system import System
from liveshelf.settings import StackConfig, load
from liveshelf.stack import roles
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.supervisor import Supervisor
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.shelf import shelf_decoder
from streams.kafka import dead_letters, topics
from streams.kafka.topics import Topics
from streams.redis import keys
from streams.telemetry.meter import Snapshot

PARTITIONS = 4
PATIENCE_S = 600.0
SAMPLE_S = 1.0
TOPICS = Topics()
COUNTED = {
    TOPICS.events: ("events", "refused"),
    TOPICS.items: ("items.accepted", "items.superseded", "items.deleted", "items.refused"),
}
"""What a worker counts of each record of the shop's topics: one of these."""

MOST_LINES = 2_000
"""Log lines of all roles together."""

MOST_GROWTH = 1.35
"""A role's memory at the end, in that after a third of the messages."""


class Watched(System):
    """Every role, whose memory is taken once a second.

    Attributes
    ----------
    ended
        What the supervisor said of processes that ended.
    memory
        Megabytes of each role by second.
    """

    def __init__(self, servers: Servers, folder: Path) -> None:
        self.page = roles.dashboard_role(load().dashboard)
        every = [*roles.worker_roles(1), roles.evaluator_role(), roles.trainer_role(), self.page]
        self.ended: list[str] = []
        super().__init__(servers, folder, every, say=self.ended.append)
        self.memory: defaultdict[str, list[float]] = defaultdict(list)
        self.pids: dict[str, int] = {}
        self._sampled = 0.0

    def lines(self) -> dict[str, int]:
        """Lines of each role's log, of those that are kept."""
        logs = self.folder / "stack" / "logs"
        return {
            role.name: sum(len(path.read_bytes().splitlines()) for path in logs.glob(f"{role.name}.log*"))
            for role in self.roles
        }

    def turn(self, supervisor: Supervisor) -> None:
        """Take the memory of those that began first."""
        self.pids = self.pids or {member.name: member.pid or 0 for member in supervisor.roles}
        if time.monotonic() - self._sampled < SAMPLE_S:
            return
        self._sampled = time.monotonic()
        for name, pid in self.pids.items():
            if psutil.pid_exists(pid):
                self.memory[name].append(psutil.Process(pid).memory_info().rss / 1e6)


class Clients:
    """A producer a codec, with the two partitioners that the world uses in turn.

    Attributes
    ----------
    sent
        Records that the broker took, by topic.
    declined
        Records that the broker or the client would not take, by topic and reason.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.sent: Counter[str] = Counter()
        self.declined: Counter[str] = Counter()
        self._producers = {
            codec: Producer(
                {
                    "bootstrap.servers": bootstrap_servers,
                    "compression.type": codec,
                    "partitioner": "consistent_random" if number % 2 else "murmur2_random",
                    "linger.ms": 20,
                    "message.max.bytes": 2_000_000,
                }
            )
            for number, codec in enumerate(CODECS)
        }

    def send(self, message: Message) -> None:
        """Send a record; :attr:`sent` counts it once the broker has it."""
        producer = self._producers[message.codec]
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=self._delivered,
                )
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                self.declined[f"{message.topic}: {error.args[0].name()}"] += 1
                return
            else:
                producer.poll(0)
                return

    def flush(self) -> None:
        """Wait until the broker has taken or declined all."""
        for producer in self._producers.values():
            producer.flush()

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None:
            self.sent[message.topic()] += 1
        else:
            self.declined[f"{message.topic()}: {error.name()}"] += 1


def snapshots(kafka: KafkaConfig, pid: int) -> list[Snapshot]:
    """What the worker said of itself, and not what others say in its name."""
    return [one for one in reporting.snapshots(StreamsConfig(kafka=kafka), 0) if f"-{pid}-" in one.id]


def known(kafka: KafkaConfig, system: Watched) -> float:
    """How many items the worker knows."""
    taken = snapshots(kafka, system.pids.get("worker-1", 0))  # 0 until it is started
    return max((one.gauges.get("items", 0.0) for one in taken), default=0.0)


def until(holds: Callable[[], Any], what: str, system: Watched, within_s: float = PATIENCE_S) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_s:.0f} s: {what}\n{system.ended}\n{system.logs(8)}")
        time.sleep(0.25)
    return found


def served(system: Watched, clients: Clients, redis: "Redis", name: str) -> float:
    """Seconds from a shopper's click to their feed."""
    event = {"type": "click", "event_id": name, "ts": wall_ms(), "user_id": name, "item_id": "i1"}
    began = time.monotonic()
    clients.send(Message(TOPICS.events, name.encode(), msgspec.json.encode(event), [], "none", good=True))
    clients.flush()

    def there() -> bool:
        value: Any = redis.get(keys.feed(name))
        return value is not None and bool(shelf_decoder.decode(value).items)

    until(there, f"no feed for {name}", system)
    return time.monotonic() - began


def accounted(report: Report, system: Watched, kafka: KafkaConfig, clients: Clients) -> bool:
    """Rows of what was sent to the shop's topics and what became of it; whether nothing is missing or too many."""
    whole = True
    mine = snapshots(kafka, system.pids["worker-1"])
    places = {(one.source.topic, one.source.partition, one.source.offset) for one in _letters(kafka)}
    letters = Counter(topic for topic, _, _ in places)
    for topic, names in COUNTED.items():
        counts = {name.rpartition(".")[2]: sum(one.counts.get(name, 0) for one in mine) for name in names}
        equal = sum(counts.values()) == clients.sent[topic] and counts["refused"] == letters[topic]
        report.row(topic=topic, sent=clients.sent[topic], **counts, dead_letters=letters[topic], equal=equal)
        whole &= equal
    return whole


def _letters(kafka: KafkaConfig) -> Iterator[dead_letters.DeadLetter]:
    """Those that the worker wrote, not what was sent to their topic by others."""
    for one in dead_letters.read(kafka, TopicsConfig()):
        if one.source.topic in COUNTED and one.source.offset >= 0 and one.reason:
            yield one


def live(report: Report, folder: Path, messages: int, rate: float, seed: int, step: Callable[[], None]) -> bool:
    """The run; whether all that is promised held."""
    with stack(StackConfig(folder=folder / "stack")) as servers:
        kafka = KafkaConfig(bootstrap_servers=servers.bootstrap_servers)
        topics.create(kafka, TopicsConfig(partitions=PARTITIONS))
        clients = Clients(servers.bootstrap_servers)
        hostility = Hostility(TOPICS, wall_ms(), seed)
        with Redis.from_url(servers.redis_url) as redis, Watched(servers, folder).running() as system:
            for message in hostility.catalogue():
                clients.send(message)
            clients.flush()
            until(lambda: known(kafka, system) >= ITEMS, "the catalogue is not read", system)
            first_s = served(system, clients, redis, "first")
            began, third = time.monotonic(), dict[str, float]()
            for number, message in enumerate(hostility.messages(messages)):
                clients.send(message)
                step()
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
                if number == messages // 3:
                    third = {name: max(taken[-10:]) for name, taken in system.memory.items()}
            clients.flush()
            sent_s = time.monotonic() - began
            last_s = served(system, clients, redis, "last")
            worker = system.pids["worker-1"]
            wanted = sum(clients.sent[topic] for topic in COUNTED)
            names = [name for some in COUNTED.values() for name in some]

            def all_counted() -> bool:
                taken = snapshots(kafka, worker)
                return sum(one.counts.get(name, 0) for one in taken for name in names) >= wanted

            until(all_counted, f"fewer than {wanted:,} records are counted", system)
            whole = accounted(report, system, kafka, clients)
            page = httpx.get(f"{system.page.where.rstrip('/')}/healthz", timeout=30)
            lines = system.lines()
            grown = {name: max(taken[-10:]) / third[name] for name, taken in system.memory.items() if third.get(name)}
            report.facts |= {
                "seconds": round(sent_s, 1),
                "click to feed, before (s)": round(first_s, 2),
                "click to feed, at the end (s)": round(last_s, 2),
                "processes that ended": len(system.ended),
                "page": page.status_code,
                "records on internal topics": sum(n for topic, n in clients.sent.items() if topic not in COUNTED),
            }
            report.facts |= {f"declined, {what}": count for what, count in sorted(clients.declined.items())}
            for name, taken in system.memory.items():
                report.facts[f"{name}: MB at a third, at the end; log lines"] = (
                    f"{third.get(name, 0):.0f}, {max(taken[-10:]):.0f}; {lines[name]:,}"
                )
            for said in system.ended[:5]:
                report.facts[f"ended: {said}"] = True
            calm = not system.ended and page.status_code == 200 and sum(lines.values()) <= MOST_LINES
            return whole and calm and all(times <= MOST_GROWTH for times in grown.values())


@smoke(messages=3_000)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    messages: Annotated[int, typer.Option(min=10, help="How many records are sent.")] = 100_000,
    rate: Annotated[float, typer.Option(min=1, help="At most so many a second.")] = 500.0,
    seed: Annotated[int, typer.Option(help="Of what is sent.")] = 1,
) -> None:
    """Send hostile records and account for them; about 200 s for 100,000 at 500 a second."""
    logging.getLogger("streams.kafka.guard").setLevel(
        logging.ERROR
    )  # each look at the snapshots meets what was sent there
    report = Report("hostile", messages=messages, rate=rate, seed=seed)
    with tempfile.TemporaryDirectory() as at, Progress(transient=True) as progress:
        task = progress.add_task("sending", total=messages)
        held = live(report, Path(at), messages, rate, seed, lambda: progress.advance(task))
    report.write(json_path)
    if not held:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
