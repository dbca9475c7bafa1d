"""``liveshelf import items`` and ``liveshelf replay``: send a file's items or events to the shop's topics.

Reads through ``streams.events.adapters``, so that it sends nothing that the worker would refuse. Limits the rate,
counts, and writes refused lines to a file. The adapters interpret the lines; ``time_profile`` compares the times in a
history with the present.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path

import msgspec
from rich.console import Console

from evaluator.config import EvaluatorConfig
from liveshelf.ingest.batch_producer import BatchProducer, BrokerError
from liveshelf.ingest.progress import Bar
from liveshelf.ingest.rate_limit import RateLimit, ReplayClock, TokenBucket
from liveshelf.ingest.removals import Verdict, delete, item_states, missing
from liveshelf.ingest.summary import HeavyHitters, ImportSummary, RefusedFile
from liveshelf.ingest.time_profile import Plan, TimeProfile, warnings
from liveshelf.terminal import make_console, progress
from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.adapters.files import Kind, read
from streams.events.adapters.gate import DUPLICATE, Entry, Omission, wire
from streams.events.adapters.mapping import MappingConfig
from streams.events.adapters.source import Source, SourceError
from streams.events.cleaning import Notes
from streams.events.decode import Refusal
from streams.events.schema import AnyEvent, Item
from streams.kafka.admin import behind
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.topics import Topics, create


def import_items(
    path: Path | str,
    *,
    kafka: KafkaConfig,
    topics: TopicsConfig,
    events: EventsConfig,
    mapping: MappingConfig | None = None,
    limit: int | None = None,
    rate: float | None = None,
    refused_path: Path | None = None,
    console: Console | None = None,
    sync: float | None = None,
    dry_run: bool = False,
) -> ImportSummary:
    """Send a catalogue to ``shop.items``, keyed by item.

    Parameters
    ----------
    mapping
        What the file's columns mean (`streams.events.adapters.mapping.load`); None for our own names.
    limit
        The most items to send.
    rate
        The most items a second.
    refused_path
        The file for refused lines; None only counts them.
    sync
        After the whole file is sent, delete the items that were on the topic before and are not in the file. The value
        is the largest share of the live items to delete, 0 to 1 (`liveshelf.ingest.removals.missing`).
    dry_run
        Send and delete nothing; only report what would be.

    Raises
    ------
    MappingError
        When the mapping does not fit the file.
    OSError
        When the file or ``refused_path`` cannot be opened; of it SourceError, when an URL or encoding cannot be used.
    ValueError
        When both ``sync`` and ``limit`` are given.
    kafka.errors.KafkaError
        With ``sync``, when the broker is out of reach before anything is sent.
    """
    if sync is not None and limit is not None:
        raise ValueError("with a limit only part of a file is known, so sync could delete items of the rest")
    job = _Job(path, "items", mapping or MappingConfig(), events, limit)
    job.rate_limit = TokenBucket(rate) if rate and not dry_run else None
    job.dry_run = dry_run
    if sync is None:
        return job.run(kafka, topics, refused_path, console, lambda _: job.entries())
    with progress("reading what is there") as step:
        before = item_states(StreamsConfig(kafka=kafka, topics=topics), step)
    job.ids = set()
    summary = job.run(kafka, topics, refused_path, console, lambda _: job.entries())
    if summary.incomplete:
        summary.verdict = Verdict((), sum(one.live for one in before.values()), summary.incomplete)
        return summary
    summary.verdict = missing(before, job.ids, sync)
    if not (summary.verdict.why_not or dry_run):
        with progress("deleting") as step:
            summary.removal = delete({one: before[one] for one in summary.verdict.gone}, kafka, topics, step)
    return summary


def wait_for_workers(
    kafka: KafkaConfig,
    topics: TopicsConfig,
    group: str,
    step: Callable[[int, int | None], None],
    told: Callable[[str], None],
    every_s: float = 1.0,
) -> None:
    """Wait until workers have taken all items that the topic holds now: encoded them, or kept their vectors.

    Parameters
    ----------
    group
        The workers' consumer group.
    step
        Called with how many items are taken and of how many, every so many seconds.
    told
        Called with a sentence where no worker takes any.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach.
    """
    with closing(behind(kafka, group, Topics(topics.prefix).items)) as counts:
        total = before = next(counts)
        moved = time.monotonic()
        for left in counts:
            step(total - left, total)
            if left < before:
                before, moved = left, time.monotonic()
            elif time.monotonic() - moved > IDLE_S and left:
                told(f"No item was taken for {IDLE_S} s, {left:,} wait: does a worker of the group {group} run?")
                moved = math.inf
            if not left:
                return
            time.sleep(every_s)


IDLE_S = 30
"""After so long without progress a sentence asks for a worker."""


def replay(
    path: Path | str,
    *,
    kafka: KafkaConfig,
    topics: TopicsConfig,
    events: EventsConfig,
    evaluator: EvaluatorConfig | None = None,
    mapping: MappingConfig | None = None,
    limit: int | None = None,
    rate: float | None = None,
    speed: float | None = None,
    loop: bool = False,
    now: bool = False,
    refused_path: Path | None = None,
    console: Console | None = None,
    dry_run: bool = False,
) -> ImportSummary:
    """Send a history to ``shop.events``, keyed by shopper; parameters and errors beyond these as for `import_items`.

    Parameters
    ----------
    evaluator
        The settings of the evaluator; events that it would count as late are reported before anything is sent.
    rate, speed
        The most events a second; or ``speed`` times as fast as it happened. With neither, as fast as possible.
    loop
        Start again at the end, with new event ids, until interrupted or ``limit`` is reached.
    now
        Move all times of a round by the same amount: the newest event gets the time when it is sent, and no event a
        later time than it is sent (`TimeProfile.shift_ms`).

    Raises
    ------
    ValueError
        When both ``rate`` and ``speed`` are given.
    """
    if rate and speed:
        raise ValueError("give a rate or a speed, not both")
    job = _Job(path, "events", mapping or MappingConfig(), events, limit)
    job.dry_run = dry_run
    plan = Plan(now, speed, loop)
    console = console or make_console(stderr=True)

    def rounds(profile: TimeProfile | None) -> Iterator[Entry]:
        number = 0
        while True:
            job.rate_limit = TokenBucket(rate) if rate else ReplayClock(speed) if speed else None
            job.shift_ms = profile.shift_ms(wall_ms(), speed) if profile and now else 0
            sent = False
            for entry in job.entries():
                if isinstance(entry.outcome, Refusal | Item):
                    yield entry
                    continue
                if not (number or sent):
                    for text in warnings(
                        entry.outcome.time_ms, profile, plan, wall_ms(), evaluator or EvaluatorConfig()
                    ):
                        console.print(text, style="yellow", highlight=False)
                sent = True
                yield _moved(entry, job.shift_ms, number)
            number += 1
            if not (loop and sent):
                return

    return job.run(kafka, topics, refused_path, console, rounds, plan)


class _Job:
    """Sends one file to one topic."""

    def __init__(
        self, path: Path | str, kind: Kind, mapping: MappingConfig, events: EventsConfig, limit: int | None
    ) -> None:
        self.path, self.kind, self.mapping, self.events, self.limit = path, kind, mapping, events, limit
        self.rate_limit: RateLimit | None = None
        with Source(path, mapping.encoding) as source:
            self.name, self.size = source.name, source.size
        self.position, self.shift_ms = 0, 0
        self.notes, self.shoppers = Notes(), HeavyHitters()
        self.dry_run = False
        self.ids: set[str] | None = None

    def entries(self) -> Iterator[Entry]:
        self.notes = Notes()
        with Source(self.path, self.mapping.encoding) as source:
            for entry in read(source, self.kind, self.mapping, wall_ms(), self.events, self.notes):
                self.position = source.position
                yield entry

    def time_profile(self, partitions: int, bar: Bar) -> TimeProfile:
        found = TimeProfile(partitions)
        for entry in self.entries():
            bar.look(self.position)
            if not isinstance(entry.outcome, Refusal | Item):
                found.update(_key(entry.outcome), entry.outcome.time_ms)
                if found.count == self.limit:
                    break
        return found

    def run(
        self,
        kafka: KafkaConfig,
        topics: TopicsConfig,
        refused_path: Path | None,
        console: Console | None,
        source: Callable[[TimeProfile | None], Iterator[Entry]],
        plan: Plan | None = None,
    ) -> ImportSummary:
        summary = ImportSummary(refused_path=refused_path, dry_run=self.dry_run)
        started = time.monotonic()
        names = Topics(topics.prefix)
        with ExitStack() as stack:
            refused = stack.enter_context(RefusedFile(refused_path))
            bar = stack.enter_context(Bar(console or make_console(stderr=True), self.name, self.size, self.limit))
            producer: BatchProducer | None = None
            try:
                if not self.dry_run:
                    topic = names.items if self.kind == "items" else names.events
                    producer = BatchProducer(kafka, topic, topics.max_message_bytes)
                    create(kafka, topics)
                profile = self.time_profile(topics.partitions, bar) if plan and (plan.now or plan.speed) else None
                started = time.monotonic()
                bar.begin(profile, plan.speed if plan else None)
                self._send_all(source(profile), producer, refused, summary, bar)
            except KeyboardInterrupt:
                summary.interrupted = True
            except (*KAFKA_ERRORS, BrokerError) as error:
                summary.error = f"Kafka at {kafka.bootstrap_servers}: {type(error).__name__}: {error}"
            except SourceError as error:
                summary.error = str(error)
            except OSError as error:
                summary.error = f"{self.path}: {type(error).__name__}: {error}"
            finally:
                if producer is not None:
                    producer.close()
                    summary.sent, summary.failed = producer.delivered, producer.failed
        summary.notes, summary.far_more = self.notes, self.shoppers.far_more()
        summary.seconds = time.monotonic() - started
        return summary

    def _send_all(
        self,
        entries: Iterator[Entry],
        producer: BatchProducer | None,
        refused: RefusedFile,
        summary: ImportSummary,
        bar: Bar,
    ) -> None:
        handed = 0
        for entry in entries:
            summary.count(entry)
            outcome = entry.outcome
            if not isinstance(outcome, Refusal):
                self._wait(outcome, lambda s: self._show(bar, summary, handed, outcome, s))  # noqa: B023
                if producer is not None:
                    producer.send(_key(outcome), wire(outcome, self.events))
                else:
                    summary.sent += 1
                if not isinstance(outcome, Item):
                    self.shoppers.add(outcome.shopper)
                elif self.ids is not None:
                    self.ids.add(outcome.item_id)
                handed += 1
                self._show(bar, summary, handed, outcome)
            elif not (outcome.reason == DUPLICATE or isinstance(outcome, Omission)):
                refused.write(entry, outcome)
            if handed == self.limit:
                break
        bar.end(handed, summary.refused.total())

    def _wait(self, outcome: AnyEvent | Item, quiet: Callable[[float], None]) -> None:
        if self.rate_limit is None:
            return
        time_ms = 0 if isinstance(outcome, Item) else outcome.time_ms
        due = time.monotonic() + self.rate_limit.delay(time.monotonic(), time_ms)
        while (left := due - time.monotonic()) > 0:
            quiet(left)
            time.sleep(min(left, 0.5))

    def _show(
        self, bar: Bar, summary: ImportSummary, handed: int, outcome: AnyEvent | Item, quiet_s: float = 0.0
    ) -> None:
        time_ms = 0 if isinstance(outcome, Item) else outcome.time_ms - self.shift_ms
        bar.update(self.position, handed, summary.refused.total(), time_ms, quiet_s)


def _key(outcome: AnyEvent | Item) -> bytes:
    return (outcome.item_id if isinstance(outcome, Item) else outcome.shopper).encode()


def _moved(entry: Entry, shift_ms: int, round_number: int) -> Entry:
    event = entry.outcome
    assert not isinstance(event, Refusal | Item)
    if round_number:
        event_id = f"{round_number}~{event.event_id}"
        if len(event_id) > 256:
            event_id = blake2b(event_id.encode()).hexdigest()
        event = msgspec.structs.replace(event, event_id=event_id)
    if shift_ms:
        event = msgspec.structs.replace(event, ts=max(0, event.time_ms + shift_ms))
    return Entry(entry.line, event, entry.records)


def refused_path(file: Path | str) -> Path:
    """The default file for refused lines: in the working directory.

    Examples
    --------
    >>> str(refused_path("s3://shop/data/events.csv.xz"))
    'events.csv.xz.refused.jsonl'
    """
    return Path(f"{str(file).rpartition('/')[2]}.refused.jsonl")
