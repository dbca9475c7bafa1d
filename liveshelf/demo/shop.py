"""A shop of simulated people: sends the catalogue, lets them in, and keeps a tape of what they do.

Reads and produces as a shop's backend and frontend would; knows nothing of the screen or of who runs the servers.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from redis.exceptions import RedisError

from liveshelf.demo.environment import SnapshotListener
from liveshelf.demo.recorder import Recorder
from liveshelf.demo.terminal_ui import Moment
from liveshelf.ingest.rate_limit import TokenBucket
from liveshelf.settings import Settings
from liveshelf.simulation.drift import Drift
from liveshelf.simulation.world import SEARCHES, World
from streams.clock import wall_ms
from streams.events.schema import AnyEvent, Click, Impression, Item, encoder
from streams.events.shelf import Shelf
from streams.kafka import admin
from streams.kafka.topics import Topics
from streams.redis.client import ShelfClient

SHOPPERS = 60
VISITS_PER_S = 25.0
FOLLOWED_EVERY_S = 4.0
"""Seconds between a click of the followed shopper and their next visit, so that people can read."""

SHELF_S = 20.0
"""How long to wait for the shelf that a click leads to."""

SAMPLED = 4
"""What could be expected is worked out for one visit in so many: it takes longer than the visit."""


class Shop:
    """The shop and those in it: sends the catalogue, lets shoppers act, and keeps what there is to show.

    Runs in two threads, `shop` and the watching; others read the public attributes, each replaced whole.

    Parameters
    ----------
    shoppers, per_s
        How many there are, and their visits a second, all together.
    drifts
        What changes; times are seconds since the shop has opened.
    searches
        Probability that a session goes on with a search.
    """

    def __init__(
        self,
        settings: Settings,
        items: Sequence[Item],
        seed: int,
        *,
        shoppers: int = SHOPPERS,
        per_s: float = VISITS_PER_S,
        drifts: Sequence[Drift] = (),
        searches: float = SEARCHES,
    ) -> None:
        self.settings, self.per_s = settings, per_s
        self.world = World(items, seed, shoppers, drifts, searches=searches)
        self.watching = SnapshotListener(settings)
        self.tape = Recorder()
        self.moment: Moment | None = None
        self.first_shelf_at: float | None = None
        self.sent: Counter[str] = Counter()
        self.took_ms: deque[float] = deque(maxlen=1000)
        self._open = threading.Event()
        self._followed = self.world.ids[0]
        self._topics = Topics(settings.topics.prefix)
        self._closing = threading.Event()
        self._threads: list[Future[None]] = []

    @contextmanager
    def staffed(self) -> Iterator[None]:
        """Run the threads for as long as the block lasts."""
        with ThreadPoolExecutor(2, thread_name_prefix="shop") as pool:
            self._threads = [pool.submit(self.watching.run, self._closing), pool.submit(self.shop)]
            try:
                yield
            finally:
                self._closing.set()
                self._open.set()

    def check(self) -> None:
        """Raise what a thread has died of."""
        for thread in self._threads:
            if thread.done():
                thread.result()

    @property
    def is_open(self) -> bool:
        """Whether shoppers come."""
        return self._open.is_set()

    def open(self) -> None:
        """Let shoppers in; the shop's seconds count from now."""
        self.world.start_ms = wall_ms()
        self._open.set()

    @property
    def second(self) -> float:
        """Seconds since the shop has opened."""
        return (wall_ms() - self.world.start_ms) / 1000 if self.is_open else 0.0

    def drift(self, number: int) -> None:
        """Let a drift begin now."""
        self.world.begin(number, wall_ms())

    def shop(self) -> None:
        """Send the catalogue, then, once open, let one shopper after the other act."""
        producer = admin.producer(self.settings.kafka)
        client = ShelfClient.from_url(self.settings.redis.url.get_secret_value())
        try:
            for item in self.world.on_sale(self.world.start_ms).values():
                producer.send(self._topics.items, key=item.item_id.encode(), value=encoder.encode(item))
            producer.flush()
            self._open.wait()
            visits = self.world.visits(self.per_s, self.world.start_ms)
            others = (name for _, name in visits if name != self._followed)
            pace, due, number = TokenBucket(self.per_s), 0.0, 0
            while not self._closing.wait(pace.delay(time.monotonic())):
                with suppress(RedisError):  # the supervisor brings it back
                    if time.monotonic() >= due:
                        clicked = self._followed_visit(producer, client)
                        due = time.monotonic() + (FOLLOWED_EVERY_S if clicked else 1.0)
                    else:
                        number += 1
                        shopper = next(others)
                        shelf = self._look(client, shopper)
                        self._send(producer, self._visit(shopper, shelf, expect=number % SAMPLED == 0))
        finally:
            producer.close(timeout=5)
            client.redis.close()

    def _look(self, client: ShelfClient, shopper: str) -> Shelf | None:
        """What a frontend would show: results of what was asked for, things like the one just opened, else the feed."""
        aim = self.world.aim(shopper)
        if aim.query:
            shelf = client.search(aim.query, shopper)
        else:
            shelf = client.similar(aim.about) if aim.about is not None else client.feed(shopper)
        if shelf is not None and shelf.surface != "popular" and self.first_shelf_at is None:
            self.first_shelf_at = time.monotonic()
        return shelf

    def _visit(self, shopper: str, shelf: Shelf | None, *, expect: bool) -> list[AnyEvent]:
        """A visit, put on the tape."""
        now, at_s = wall_ms(), self.second
        if expect and shelf is not None and shelf.items:
            self.tape.expect(at_s, self.world.rates([item.item_id for item in shelf.items], shopper, now))
        events = self.world.act(shopper, shelf, now)
        shown = sum(len(event.items) for event in events if isinstance(event, Impression))
        clicks = sum(isinstance(event, Click) for event in events)
        self.tape.visit(at_s, shelf.surface if shelf is not None else "", shown, clicks)
        return events

    def _send(self, producer: Any, events: Sequence[AnyEvent]) -> None:
        for event in events:
            producer.send(self._topics.events, key=event.shopper.encode(), value=encoder.encode(event))
            self.sent[event.kind] += 1

    def _followed_visit(self, producer: Any, client: ShelfClient) -> bool:
        """A visit that is watched from click to new feed; returns whether there was a click."""
        shopper = self._followed
        before, shelf = client.feed(shopper), self._look(client, shopper)
        events = self._visit(shopper, shelf, expect=False)
        click = next((event for event in events if isinstance(event, Click)), None)
        self._send(producer, events)
        sent = time.perf_counter()
        while click is not None and time.perf_counter() - sent < SHELF_S and not self._closing.wait(0.001):
            after = client.feed(shopper)
            if after is not None and after.surface == "feed" and after.event_ts >= click.time_ms:
                took_ms = (time.perf_counter() - sent) * 1000
                self.took_ms.append(took_ms)
                item = self.world.items[click.item_id]
                self.moment = Moment(shopper, item.title, before, after, took_ms)
                return True
        return False
