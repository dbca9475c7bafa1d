"""A shop with simulated shoppers: sends the catalogue, lets shoppers act, and records what they do.

Reads and produces as a shop's backend and frontend do; knows nothing of the screen or of the servers' supervisor.
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
from liveshelf.simulation.preferences import TEXT_ONLY, Preferences
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
"""Seconds between a click of the followed shopper and their next visit, so that the output can be read."""

SHELF_S = 20.0
"""How long to wait for the shelf after a click."""

SAMPLED = 4
"""Expected click rates are computed for one visit in this many: that takes longer than the visit."""


class Shop:
    """A shop and its shoppers: sends the catalogue, lets shoppers act, and records what there is to show.

    Runs in two threads, `shop` and the listener; other threads read the public attributes, each replaced as a whole.

    Parameters
    ----------
    shoppers, per_s
        The number of shoppers, and their visits a second in total.
    drifts
        What changes; times are seconds since the shop opened.
    searches
        The probability that a session goes on with a search.
    preferences
        The weights of tastes that text does not say.
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
        preferences: Preferences = TEXT_ONLY,
    ) -> None:
        self.settings, self.per_s = settings, per_s
        self.world = World(items, seed, shoppers, drifts, searches=searches, preferences=preferences)
        self.listener = SnapshotListener(settings)
        self.recorder = Recorder()
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
    def running(self) -> Iterator[None]:
        """Run the threads until the block ends."""
        with ThreadPoolExecutor(2, thread_name_prefix="shop") as pool:
            self._threads = [pool.submit(self.listener.run, self._closing), pool.submit(self.shop)]
            try:
                yield
            finally:
                self._closing.set()
                self._open.set()

    def check(self) -> None:
        """Raise the error of a thread that has failed."""
        for thread in self._threads:
            if thread.done():
                thread.result()

    @property
    def is_open(self) -> bool:
        """Whether the shop is open."""
        return self._open.is_set()

    def open(self) -> None:
        """Open the shop; its seconds count from now."""
        self.world.start_ms = wall_ms()
        self._open.set()

    @property
    def second(self) -> float:
        """Seconds since the shop opened."""
        return (wall_ms() - self.world.start_ms) / 1000 if self.is_open else 0.0

    def drift(self, number: int) -> None:
        """Start a drift now."""
        self.world.begin(number, wall_ms())

    def shop(self) -> None:
        """Send the catalogue; once open, let one shopper after another act."""
        producer = admin.producer(self.settings.kafka)
        client = ShelfClient.from_url(self.settings.redis.url.get_secret_value())
        try:
            for item in self.world.on_sale(self.world.start_ms).values():
                producer.send(self._topics.items, key=item.item_id.encode(), value=encoder.encode(item))
            producer.flush()
            self._open.wait()
            visits = self.world.visits(self.per_s, self.world.start_ms)
            others = (name for _, name in visits if name != self._followed)
            rate_limit, due, number = TokenBucket(self.per_s), 0.0, 0
            while not self._closing.wait(rate_limit.delay(time.monotonic())):
                with suppress(RedisError):  # the supervisor restarts it
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
        """What a frontend shows: the results of a query, items similar to the one just opened, or the feed."""
        aim = self.world.aim(shopper)
        if aim.query:
            shelf = client.search(aim.query, shopper)
        else:
            shelf = client.similar(aim.about) if aim.about is not None else client.feed(shopper)
        if shelf is not None and shelf.surface != "popular" and self.first_shelf_at is None:
            self.first_shelf_at = time.monotonic()
        return shelf

    def _visit(self, shopper: str, shelf: Shelf | None, *, expect: bool) -> list[AnyEvent]:
        """Make a visit and record it."""
        now, at_s = wall_ms(), self.second
        if expect and shelf is not None and shelf.items:
            rates = self.world.rates([item.item_id for item in shelf.items], shopper, now)
            self.recorder.expect(at_s, rates, self.world.aim(shopper).surface)
        events = self.world.act(shopper, shelf, now)
        shown = sum(len(event.items) for event in events if isinstance(event, Impression))
        clicks = sum(isinstance(event, Click) for event in events)
        self.recorder.visit(at_s, shelf.surface if shelf is not None else "", shown, clicks)
        return events

    def _send(self, producer: Any, events: Sequence[AnyEvent]) -> None:
        for event in events:
            producer.send(self._topics.events, key=event.shopper.encode(), value=encoder.encode(event))
            self.sent[event.kind] += 1

    def _followed_visit(self, producer: Any, client: ShelfClient) -> bool:
        """Make a visit, and time it from click to new feed; returns whether there was a click."""
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
