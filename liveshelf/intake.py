"""``liveshelf import items`` and ``liveshelf replay``: a file's items or events, onto the shop's topics.

Reads through ``streams.adapters``, so that nothing is sent that the worker would refuse; keeps pace, counts, and writes
down what was refused. What a line means is the adapters' business.
"""

import json
import lzma
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from liveshelf.outbox import BrokerError, Outbox
from liveshelf.pace import History, Pace, TokenBucket
from streams.adapters.files import Kind, read
from streams.adapters.gate import DUPLICATE, Entry
from streams.adapters.mapping import MappingConfig
from streams.adapters.source import Source
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.decode import Refusal
from streams.events import AnyEvent, Item, encoder
from streams.topics import Topics, create

PROGRESS_EVERY = 256


@dataclass(slots=True)
class Summary:
    """What came of a file. ``sent`` is what the broker has acknowledged; ``read`` counts the file's own records."""

    read: int = 0
    sent: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    error: str = ""
    interrupted: bool = False
    refused_path: Path | None = None

    @property
    def exit_code(self) -> int:
        """0, or 1 when nothing could be sent, the broker failed, or the file is damaged."""
        return int(bool(self.error or self.failed) or (self.sent == 0 and not self.interrupted))

    def table(self) -> Table:
        """For people."""
        table = Table(show_header=False, box=None)
        table.add_row("read", f"{self.read:,}", f"{self.read / max(self.seconds, 1e-9):,.0f}/s")
        table.add_row("sent", f"{self.sent:,}", f"{self.sent / max(self.seconds, 1e-9):,.0f}/s")
        table.add_row("duplicates", f"{self.duplicates:,}", "")
        table.add_row("refused", f"{self.refused.total():,}", str(self.refused_path or ""))
        for reason, count in self.refused.most_common():
            table.add_row(f"  {reason}", f"{count:,}", "")
        for name, count in self.failed.most_common():
            table.add_row("not delivered", f"{count:,}", name)
        if self.error:
            table.add_row("stopped", "", self.error)
        if self.interrupted:
            table.add_row("interrupted", "", "what was on its way has been delivered")
        return table


class RefusedFile:
    """The lines that were refused, whole, as JSON lines; made with the first of them.

    ``source`` holds the line as text, or, where it is no UTF-8, in base64 with ``"encoding": "base64"`` beside it.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def write(self, entry: Entry, refusal: Refusal) -> None:
        """Add a line."""
        if self.path is None:
            return
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        told = {"line": entry.line.number, "reason": refusal.reason, "detail": refusal.detail}
        try:
            told["source"] = entry.line.raw.decode()
        except UnicodeDecodeError:
            told |= {"source": b64encode(entry.line.raw).decode(), "encoding": "base64"}
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()


def import_items(
    path: Path,
    *,
    kafka: KafkaConfig,
    topics: TopicsConfig,
    events: EventsConfig,
    mapping: MappingConfig | None = None,
    limit: int | None = None,
    rate: float | None = None,
    refused_path: Path | None = None,
    console: Console | None = None,
) -> Summary:
    """Send a catalogue to ``shop.items``, keyed by item.

    Parameters
    ----------
    mapping
        What the file's columns mean (`streams.adapters.mapping.load`); none for JSON lines in our own shape.
    limit
        Items to send at most.
    rate
        Items a second at most.
    refused_path
        Where refused lines go; none to only count them.

    Raises
    ------
    MappingError
        When the mapping does not fit the file.
    OSError
        When the file or ``refused_path`` cannot be opened.
    """
    job = _Job(path, "items", mapping or MappingConfig(), events, limit, TokenBucket(rate) if rate else None)
    return job.run(kafka, topics, refused_path, console, lambda _: job.entries())


def replay(
    path: Path,
    *,
    kafka: KafkaConfig,
    topics: TopicsConfig,
    events: EventsConfig,
    mapping: MappingConfig | None = None,
    limit: int | None = None,
    rate: float | None = None,
    speed: float | None = None,
    loop: bool = False,
    now: bool = False,
    refused_path: Path | None = None,
    console: Console | None = None,
) -> Summary:
    """Send a history to ``shop.events``, keyed by shopper; parameters and errors beyond these as for `import_items`.

    Parameters
    ----------
    rate, speed
        Events a second at most; or as it happened, ``speed`` times as fast. Neither: as fast as it goes.
    loop
        Start again at the end, with new event ids, until interrupted or ``limit`` is reached.
    now
        Move all times by the same amount, so that the newest event happens now (at the start of each round).

    Raises
    ------
    ValueError
        When both ``rate`` and ``speed`` are given.
    """
    if rate and speed:
        raise ValueError("give a rate or a speed, not both")
    job = _Job(path, "events", mapping or MappingConfig(), events, limit)

    def rounds(summary: Summary) -> Iterator[Entry]:
        number = 0
        while True:
            job.pace = TokenBucket(rate) if rate else History(speed) if speed else None
            before = summary.read
            shift = int(time.time() * 1000) - job.newest_ms() if now else 0
            for entry in job.entries():
                yield entry if isinstance(entry.outcome, Refusal) else _moved(entry, shift, number)
            number += 1
            if not loop or summary.read == before:
                return

    return job.run(kafka, topics, refused_path, console, rounds)


class _Job:
    """One file on its way to one topic."""

    def __init__(
        self,
        path: Path,
        kind: Kind,
        mapping: MappingConfig,
        events: EventsConfig,
        limit: int | None,
        pace: Pace | None = None,
    ) -> None:
        self.path, self.kind, self.mapping, self.events = path, kind, mapping, events
        self.limit, self.pace = limit, pace
        self.position, self.size = 0, max(1, path.stat().st_size)

    def entries(self) -> Iterator[Entry]:
        with Source(self.path) as source:
            for entry in read(source, self.kind, self.mapping, int(time.time() * 1000), self.events):
                self.position = source.position
                yield entry

    def newest_ms(self) -> int:
        newest = count = 0
        for entry in self.entries():
            if not isinstance(entry.outcome, Refusal | Item):
                newest, count = max(newest, entry.outcome.time_ms), count + 1
                if count == self.limit:
                    break
        return newest

    def run(
        self,
        kafka: KafkaConfig,
        topics: TopicsConfig,
        refused_path: Path | None,
        console: Console | None,
        source: Callable[[Summary], Iterator[Entry]],
    ) -> Summary:
        summary = Summary(refused_path=refused_path)
        started = time.monotonic()
        names = Topics(topics.prefix)
        with ExitStack() as stack:
            refused = stack.enter_context(RefusedFile(refused_path))
            bar = stack.enter_context(_bar(console or Console(stderr=True)))
            outbox: Outbox | None = None
            try:
                outbox = Outbox(kafka, names.items if self.kind == "items" else names.events, topics.max_message_bytes)
                create(kafka, topics)
                self._send_all(source(summary), outbox, refused, summary, bar)
            except KeyboardInterrupt:
                summary.interrupted = True
            except (KafkaError, BrokerError) as error:
                summary.error = f"Kafka at {kafka.bootstrap_servers}: {type(error).__name__}: {error}"
            except (EOFError, lzma.LZMAError, OSError) as error:
                summary.error = f"{self.path}: {type(error).__name__}: {error}"
            finally:
                if outbox is not None:
                    outbox.close()
                    summary.sent, summary.failed = outbox.delivered, outbox.failed
        summary.seconds = time.monotonic() - started
        return summary

    def _send_all(
        self, entries: Iterator[Entry], outbox: Outbox, refused: RefusedFile, summary: Summary, bar: Progress
    ) -> None:
        task = bar.add_task(self.path.name, total=self.size, rate="", counts="")
        started, handed = time.monotonic(), 0
        for number, entry in enumerate(entries):
            summary.read += entry.records
            outcome = entry.outcome
            if not isinstance(outcome, Refusal):
                self._wait(outcome)
                outbox.send(_key(outcome), encoder.encode(outcome))
                handed += 1
            elif outcome.reason == DUPLICATE:
                summary.duplicates += 1
            else:
                summary.refused[outcome.reason] += 1
                refused.write(entry, outcome)
            if number % PROGRESS_EVERY == 0 or self.pace:
                per_second = handed / max(time.monotonic() - started, 1e-3)
                counts = f"{handed:,} sent, {summary.refused.total():,} refused"
                bar.update(task, completed=self.position, rate=f"{per_second:,.0f}/s", counts=counts)
            if handed == self.limit:
                break
        bar.update(task, completed=self.size)

    def _wait(self, outcome: AnyEvent | Item) -> None:
        if self.pace is None:
            return
        time_ms = 0 if isinstance(outcome, Item) else outcome.time_ms
        if (delay := self.pace.delay(time.monotonic(), time_ms)) > 0:
            time.sleep(delay)


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


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=console,
    )
