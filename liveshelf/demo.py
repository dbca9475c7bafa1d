"""The demo: a local stack, a made-up catalogue, simulated shoppers, and one shopper whose shelf is followed live."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kafka import KafkaProducer
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from liveshelf.roles import worker_roles
from liveshelf.sample import catalogue
from liveshelf.settings import Settings
from liveshelf.shoppers import Shoppers
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.supervisor import Supervisor
from streams import status, topics
from streams.client import ShelfClient
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events import Click, Item, encoder
from streams.meter import Snapshot, quantiles, total
from streams.shelf import Shelf
from streams.topics import Topics

FOLLOWED = "you"
VISITS_PER_S = 12.0
FOLLOW_EVERY_S = 6.0
PLACES = 8


@dataclass
class Scene:
    """What there is to see now."""

    chapter: str = "starting"
    started: float = field(default_factory=time.monotonic)
    first_shelf_s: float | None = None
    snapshots: deque[Snapshot] = field(default_factory=lambda: deque(maxlen=300))
    produced: int = 0
    clicked: str = ""
    change_ms: list[float] = field(default_factory=list)
    before: Shelf | None = None
    after: Shelf | None = None


def run_demo(settings: Settings, *, minutes: float, keep: bool, seed: int, console: Console) -> int:
    """Run the demo; what ``liveshelf demo`` does.

    Returns
    -------
    int
        0 when it ran to its end or was stopped, 1 when no shelf was ever seen.
    """
    scene = Scene()
    config = settings.stack.model_copy(update={"folder": settings.stack.folder / "demo", "workers": 1})
    quiet: Callable[[str], None] = console.log if console.is_terminal else console.print
    items = list(catalogue(seed=seed))
    try:
        with (
            stack(config, bootstrap_servers=settings.own_kafka(), redis_url=settings.own_redis(), say=quiet) as servers,
            Supervisor(servers, worker_roles(1), say=quiet, echo=lambda *_: None, stop_timeout_s=10) as supervisor,
        ):
            here = settings.at(servers.bootstrap_servers, servers.redis_url).streams()
            _Play(scene, here, servers, supervisor, items, seed).run(None if keep else minutes * 60, console)
    except KeyboardInterrupt:
        pass
    console.print(_summary(scene))
    return 0 if scene.first_shelf_s is not None else 1


class _Play:
    """The demo while its stack runs."""

    def __init__(
        self,
        scene: Scene,
        config: StreamsConfig,
        servers: Servers,
        supervisor: Supervisor,
        items: list[Item],
        seed: int,
    ) -> None:
        self.scene, self.config, self.servers, self.supervisor = scene, config, servers, supervisor
        self.items = {item.item_id: item for item in items}
        self.crowd = Shoppers(items, seed)
        self.names = Topics(config.topics.prefix)
        topics.create(config.kafka, config.topics)
        self.client = ShelfClient.from_url(servers.redis_url)
        self.producer = KafkaProducer(**config.kafka.client(), acks="all")
        self.stop = threading.Event()

    def run(self, seconds: float | None, console: Console) -> None:
        """Play until the time is over; None plays until interrupted."""
        listening = threading.Thread(target=self._listen, name="metrics", daemon=True)
        listening.start()
        self.scene.chapter = f"encoding {len(self.items)} items with BERT"
        for item in self.items.values():
            self.producer.send(self.names.items, key=item.item_id.encode(), value=encoder.encode(item))
        self.producer.flush()
        try:
            if console.is_terminal:
                with Live(console=console, refresh_per_second=8, screen=False) as live:
                    self._act(seconds, lambda: live.update(self.view()))
            else:
                said = [0.0]

                def say() -> None:
                    if time.monotonic() - said[0] > 3:
                        said[0] = time.monotonic()
                        console.print(self.line())

                self._act(seconds, say)
        finally:
            self.stop.set()
            listening.join(timeout=2)
            self.producer.close(timeout=5)

    def _act(self, seconds: float | None, show: Callable[[], None]) -> None:
        next_visit = next_follow = 0.0
        end: float | None = None
        while end is None or time.monotonic() < end:
            now = time.monotonic()
            self.supervisor.tick()
            show()
            if not self._encoded():
                time.sleep(0.1)
                continue
            if self.scene.first_shelf_s is not None and seconds is not None and end is None:
                end = now + seconds
            self.scene.chapter = "shoppers search, look and buy; yours clicks every few seconds"
            if now >= next_follow:
                self._follow()
                next_follow = now + FOLLOW_EVERY_S
            if now >= next_visit:
                shopper = self.crowd.pick()
                for event in self.crowd.act(shopper, self.client.feed(shopper.name), wall_ms()):
                    self.send(shopper.name, encoder.encode(event))
                next_visit = now + 1 / VISITS_PER_S
            time.sleep(0.01)

    def send(self, shopper: str, value: bytes) -> None:
        """Produce one event."""
        self.producer.send(self.names.events, key=shopper.encode(), value=value)
        self.scene.produced += 1

    def _encoded(self) -> bool:
        taken = self.scene.snapshots
        return bool(taken) and taken[-1].gauges.get("items", 0) >= len(self.items)

    def _follow(self) -> None:
        """Let the followed shopper click, and wait for the shelf to change."""
        scene = self.scene
        shopper = self.crowd.people[0]
        scene.before = scene.after or self.client.feed(FOLLOWED)
        loved = [item for item in self.items.values() if shopper.likes[item.category] > 0.2]
        chosen = loved[(len(scene.change_ms) * 7) % len(loved)]
        now = wall_ms()
        click = Click(event_id=f"{FOLLOWED}-{now}", ts=now, user_id=FOLLOWED, item_id=chosen.item_id)
        began = time.perf_counter()
        self.send(FOLLOWED, encoder.encode(click))
        self.producer.flush()
        scene.clicked = chosen.title
        while time.perf_counter() - began < 5:
            shelf = self.client.feed(FOLLOWED)
            if shelf is not None and shelf.surface == "feed" and shelf.event_ts >= now:
                scene.after = shelf
                scene.change_ms.append((time.perf_counter() - began) * 1000)
                if scene.first_shelf_s is None:
                    scene.first_shelf_s = time.monotonic() - scene.started
                return
            time.sleep(0.002)

    def _listen(self) -> None:
        for snapshot in status.follow(self.config):
            if self.stop.is_set():
                return
            if snapshot is not None:
                self.scene.snapshots.append(snapshot)

    def line(self) -> str:
        """The scene in one line, for output that is no terminal."""
        events, shelves, p50, p99 = _rates(self.scene)
        changed = f"{self.scene.change_ms[-1]:.0f} ms from click to shelf" if self.scene.change_ms else "no shelf yet"
        return (
            f"{self.scene.chapter}: {events:.0f} events/s, {shelves:.0f} shelves/s, "
            f"end to end p50 {p50:.0f} ms, p99 {p99:.0f} ms; {changed}"
        )

    def view(self) -> RenderableType:
        """The scene for a terminal."""
        events, shelves, p50, p99 = _rates(self.scene)
        rates = Table("items", "events/s", "shelves/s", "p50 ms", "p99 ms", box=None)
        held = self.scene.snapshots[-1].gauges.get("items", 0) if self.scene.snapshots else 0
        rates.add_row(f"{held:.0f}", f"{events:.0f}", f"{shelves:.0f}", f"{p50:.0f}", f"{p99:.0f}")
        parts: list[RenderableType] = [Text(self.scene.chapter, style="bold"), rates]
        if self.scene.after is not None:
            fresh = {item.item_id for item in self.scene.before.items} if self.scene.before else set()
            parts += [
                Text(f"you clicked {self.scene.clicked}; the shelf followed in {self.scene.change_ms[-1]:.0f} ms"),
                Columns(
                    [self._shelf("before", self.scene.before, set()), self._shelf("after", self.scene.after, fresh)]
                ),
            ]
        return Group(*parts)

    def _shelf(self, title: str, shelf: Shelf | None, known: set[str]) -> Table:
        table = Table("item", "score", "why", title=title)
        for item in shelf.items[:PLACES] if shelf else ():
            new = known and item.item_id not in known
            name = self.items[item.item_id].title if item.item_id in self.items else item.item_id
            table.add_row(Text(name[:44], style="green" if new else ""), f"{item.score:.3f}", item.reason)
        return table


def _rates(scene: Scene) -> tuple[float, float, float, float]:
    taken = list(scene.snapshots)[-5:]
    span = max(1e-3, (taken[-1].to_ms - taken[0].from_ms) / 1000) if taken else 1.0
    p50, p99 = quantiles(taken, "end_to_end", (0.5, 0.99))
    return total(taken, "events") / span, total(taken, "shelves") / span, p50, p99


def _summary(scene: Scene) -> Table:
    taken = list(scene.snapshots)
    p50, p99 = quantiles(taken, "end_to_end", (0.5, 0.99))
    changes = sorted(scene.change_ms)
    table = Table(title="What happened", show_header=False)
    seconds = "never" if scene.first_shelf_s is None else f"{scene.first_shelf_s:.1f} s after the start"
    table.add_row("first shelf", seconds)
    table.add_row("events produced", f"{scene.produced:,}")
    table.add_row("events processed", f"{total(taken, 'events'):,}")
    table.add_row("shelves written", f"{total(taken, 'shelves'):,}")
    table.add_row("end to end", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    table.add_row("click to new shelf", f"median {changes[len(changes) // 2]:.0f} ms" if changes else "never")
    return table
