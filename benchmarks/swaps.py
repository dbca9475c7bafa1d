"""Whether shoppers notice that the model is changed under them: twenty changes under load, and what is lost by them.

Starts its own Kafka, Redis and worker, and loads the worker to half of what it can do. Versions with other heads are
promoted and rolled back, now and then one with an encoder of its own. ``python -m benchmarks.swaps --json F``
"""

import json
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import typer
from rich.progress import Progress

from benchmarks.end_to_end import Events, Run, goods
from benchmarks.report import Report
from benchmarks.smoke import smoke
from benchmarks.stirred import stirred
from liveshelf.settings import StackConfig
from liveshelf.stack.servers import stack
from models.late_interaction import LateInteraction
from models.store import ModelStore
from models.store.slots import CHAMPION, Slot
from streams import reporting
from streams.clock import wall_ms
from streams.events.shelf import ShelfRecord
from streams.kafka.topic_reader import contents
from streams.serving.announcement import announce_now
from streams.telemetry.meter import Snapshot, quantiles

AFTER_S = 1.0
"""A change is over so long after the new model serves."""
SWITCH_S = 180.0
PATIENCE_S = 60.0
"""How long events are waited for before they count as lost."""

P99_RATIO, ROLLBACK_S = 2.0, 2.0
"""The targets: the 99th percentile during changes beside the usual one, and from a command to its last effect."""


@dataclass(slots=True)
class Version:
    """A version, and how its shelves are known: by its head's fingerprint."""

    id: str
    head: str


@dataclass(slots=True)
class Change:
    """One change: what was done, when (epoch ms), to which model, and when the worker said that it serves it."""

    kind: str
    wanted: str
    called: int
    served: int = 0

    @property
    def over(self) -> float:
        """Its end."""
        return self.served + 1_000 * AFTER_S


@dataclass(slots=True)
class Load:
    """New shoppers who search, at a steady rate, however fast they are answered; one event each."""

    run: Run
    events: Events
    rate: float
    sent: list[str] = field(default_factory=list)

    @contextmanager
    def coming(self) -> Iterator[None]:
        """They come for as long as the block lasts."""
        closing = threading.Event()
        thread = threading.Thread(target=self._come, args=(closing,))
        thread.start()
        try:
            yield
        finally:
            closing.set()
            thread.join()

    def _come(self, closing: threading.Event) -> None:
        chance, began = random.Random(7), time.perf_counter()
        while not closing.wait(0.001):
            while len(self.sent) < (time.perf_counter() - began) * self.rate:
                user = f"s{len(self.sent)}"
                words = chance.choice(self.events.items)[1]["title"].split()
                event = {"event_id": f"e-{user}", "ts": wall_ms(), "user_id": user, "type": "search"}
                event["query"] = " ".join(words[:3])[:200]
                self.run.send(self.run.names.events, user.encode(), json.dumps(event).encode())
                self.sent.append(user)
        self.run.producer.flush()


class Watch:
    """The worker's snapshots as they come, kept."""

    def __init__(self, run: Run) -> None:
        self.run, self.taken = run, list[Snapshot]()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def until(self, holds: Callable[[Snapshot], bool], limit_s: float = SWITCH_S) -> Snapshot:
        """The first snapshot from now on that satisfies."""
        at, deadline = len(self.taken), time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for snapshot in self.taken[at:]:
                if holds(snapshot):
                    return snapshot
                at += 1
            time.sleep(0.02)
        raise SystemExit(f"not in {limit_s:.0f} s; the worker says {self.taken[-1].labels}")

    def _follow(self) -> None:
        for snapshot in reporting.follow(self.run.config):
            if snapshot is not None:
                self.taken.append(snapshot)
            if self._closing.is_set():
                return


def swap(run: Run, watch: Watch, kind: str, wanted: Version, change: Callable[[], Slot]) -> Change:
    """Change the slot and announce it; returns when the worker serves what was wanted."""
    made = Change(kind, wanted.head, wall_ms())
    announce_now(run.config.kafka, run.config.topics, CHAMPION, change())
    made.served = watch.until(lambda snapshot: snapshot.labels["model"] == wanted.id).to_ms
    return made


def changes(
    run: Run, watch: Watch, store: ModelStore, versions: list[Version], count: int, quiet_s: float
) -> Iterator[Change]:
    """Promotions and rollbacks by turns; of four promotions one is of the version with an encoder of its own."""
    first, second, own = versions
    seen = {first.id}
    for number in range(count // 2):
        other = own if number % 4 == 2 else second
        about = "another encoder" if other is own else "another head"
        kind = f"{about}, {'again' if other.id in seen else 'the first time'}"
        seen.add(other.id)
        time.sleep(quiet_s)
        yield swap(run, watch, kind, other, lambda id=other.id: store.slots.promote(id, "a benchmark"))  # type: ignore[misc]
        time.sleep(quiet_s)
        yield swap(run, watch, f"rollback from {about}", first, lambda: store.slots.rollback("a benchmark"))


def effect_s(shelves: list[tuple[int, str]], change: Change, end: float) -> float:
    """Seconds from the command to the first shelf from which on all are of the wanted model."""
    made = [(at, change.wanted in model) for at, model in shelves if change.called < at < end]
    others = max((at for at, right in made if not right), default=change.called)
    return (min(at for at, right in made if right and at >= others) - change.called) / 1_000


def tell(report: Report, made: list[Change], taken: list[Snapshot], shelves: list[tuple[int, str]]) -> None:
    """A row a kind of change and one of the quiet time between them, and what it comes to."""

    def during(some: list[Change]) -> list[Snapshot]:
        return [one for one in taken if any(one.to_ms > it.called and one.from_ms < it.over for it in some)]

    calm = [one for one in taken if all(one.to_ms <= it.called or one.from_ms >= it.over for it in made)]
    usual = quantiles(calm, "end_to_end", (0.99,))[0]
    ends = [*(one.called for one in made[1:]), float("inf")]
    effects = {one.called: effect_s(shelves, one, end) for one, end in zip(made, ends, strict=True)}
    groups = {kind: [one for one in made if one.kind == kind] for kind in dict.fromkeys(one.kind for one in made)}
    for kind, some in {"none": [], **groups, "all of them": made}.items():
        p50, p99, longest = quantiles(during(some) if some else calm, "end_to_end", (0.5, 0.99, 1.0))
        took = [effects[one.called] for one in some]
        report.row(
            change=kind,
            count=len(some),
            p50_ms=round(p50, 1),
            p99_ms=round(p99, 1),
            longest_ms=round(longest, 1),
            p99_beside_usual=round(p99 / usual, 2),
            effect_s=round(statistics.median(took), 2) if took else None,
            longest_effect_s=round(max(took), 2) if took else None,
        )
    ratio = quantiles(during(made), "end_to_end", (0.99,))[0] / usual
    back = max(effects[one.called] for one in made if one.kind.startswith("rollback"))
    for name, value, most in (("p99_during_changes", ratio, P99_RATIO), ("rollback_s", back, ROLLBACK_S)):
        report.facts[f"target_{name}"] = f"{'met' if value <= most else 'missed'}: {value:.2f} of {most:g} allowed"


@smoke(swaps=2, items=40, warm_up=10, backlog=60, quiet=1.5)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    swaps: Annotated[int, typer.Option(min=2, help="How many changes.")] = 20,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 1_000,
    warm_up: Annotated[int, typer.Option(help="Events before any that counts.")] = 500,
    backlog: Annotated[int, typer.Option(help="Events by which it is measured what the worker can do.")] = 2_000,
    quiet: Annotated[float, typer.Option(help="Seconds before each change.")] = 5.0,
    share: Annotated[float, typer.Option(help="Load, as a share of what the worker can do.")] = 0.5,
) -> None:
    """Measure; about six minutes."""
    catalogue = goods(items)
    report = Report("swaps", items=items, load_average_before=round(psutil.getloadavg()[0], 2))
    with (
        tempfile.TemporaryDirectory() as folder,
        stack(StackConfig(folder=Path(folder)), say=print) as servers,
        Progress(transient=True) as progress,
    ):
        store = ModelStore(f"{folder}/models")
        versions = []
        for name, seed, own in (("first", 1, False), ("second", 2, False), ("own", 3, True)):
            put = stirred(store, Path(folder) / name, seed, own)
            versions.append(Version(put.id, LateInteraction.load(Path(folder) / name / "head").fingerprint()))
        store.slots.promote(versions[0].id, "a benchmark")
        run = Run((servers.bootstrap_servers, servers.redis_url), "swaps", 1, "late_interaction")
        run.env |= {"LIVESHELF_MODEL__STORE": f"{folder}/models", "LIVESHELF_MODEL__VERSION": CHAMPION}
        task = progress.add_task("encoding the catalogue", total=swaps + 1)
        with run.worker(catalogue) as process, Watch(run) as watch:
            events = Events(catalogue, 1)
            progress.update(task, description="what the worker can do", advance=1)
            run.backlog([process], events, warm_up)
            most = 1_000 / run.backlog([process], events, backlog).ms
            load, made, began = Load(run, events, share * most), list[Change](), wall_ms()
            progress.update(task, description="changes under load")
            with load.coming():
                time.sleep(2 * quiet)
                loaded = wall_ms() - int(1_000 * quiet)
                for change in changes(run, watch, store, versions, swaps, quiet):
                    made.append(change)
                    progress.advance(task)
                time.sleep(quiet)
                ended = wall_ms()
            deadline = time.monotonic() + PATIENCE_S
            while True:  # a worker that says that nothing is left may not have heard of the last of it
                found, shelves = answered(run, began)
                if all(found[user] for user in load.sent) or time.monotonic() > deadline:
                    break
                time.sleep(AFTER_S)
        taken = [one for one in watch.taken if loaded <= one.from_ms and one.to_ms <= ended]
        tell(report, made, taken, shelves)
    lost, doubled = [user for user in load.sent if not found[user]], [user for user in load.sent if found[user] > 1]
    report.facts |= {
        "events_per_s": round(load.rate, 1),
        "share_of_what_it_can_do": share,
        "events": len(load.sent),
        "events_without_a_shelf": len(lost),
        "events_with_two": len(doubled),
        "refused": sum(one.counts.get("model.refused", 0) for one in watch.taken),
    }
    report.write(json_path)


def answered(run: Run, since: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How many feeds each shopper of the load got, and of all shelves when each was made and by which model."""
    decode = msgspec.json.Decoder(ShelfRecord).decode
    found, shelves = Counter[str](), list[tuple[int, str]]()
    for message in contents(run.config, run.names.shelves, since_ms=since):
        record = decode(message.value)
        shelves.append((record.shelf.made_at, record.shelf.model))
        if record.shelf.surface == "feed" and record.shopper:
            found[record.shopper] += 1
    return found, sorted(shelves)


if __name__ == "__main__":
    typer.run(main)
