"""The worker's feed over a history of orders: its own parts in process, with a real Redis, an untrained head.

Knows the worker's store, catalogue and recommender; nothing of how a feed is measured.
"""

import asyncio
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from redis.asyncio import Redis

from benchmarks.purchases import CANDIDATES, History, Ranked
from liveshelf.stack.redis import LocalRedis
from models.encoder import Encoder
from models.late_interaction import LateInteractionScorer
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Embedding, text
from streams.config import PolicyConfig, StreamsConfig
from streams.events.schema import AnyEvent, Item, Purchase
from streams.features.behaviour import Behaviour
from streams.features.history import Order
from streams.features.trending import Trending
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest, Recommender, anchors, remembered_items
from streams.redis.store import StateStore

BATCH = 32
"""Orders that are remembered in one round trip."""

POLICIES: Mapping[str, PolicyConfig] = {
    "worker's feed": PolicyConfig(exploration=0.0),
    "worker's feed, bought items kept": PolicyConfig(offer_again="always", exploration=0.0),
    "worker's feed, bought items left out": PolicyConfig(offer_again="never", exploration=0.0),
    "worker's candidates, as scored": PolicyConfig(steps=(), length=CANDIDATES),
}


async def read_demand(store: StateStore, trending: Trending, config: StreamsConfig, now_ms: int) -> None:
    """Read all buckets of demand that count at a time."""
    current = trending.bucket(now_ms)
    counts = await store.trend([current - age for age in range(config.state.trend_buckets)])
    for bucket, by_item in counts.items():
        trending.update("all", bucket, by_item)


class Worker:
    """A catalogue, a store, and a recommender for each policy."""

    def __init__(self, history: History, client: "Redis", encoder: Encoder) -> None:
        self.history, self.config = history, StreamsConfig()
        self.store = StateStore(client, self.config.state)
        self.catalogue = Catalog(encoder)
        self.trending = Trending(self.config.state.trend_bucket_s, self.config.state.trend_buckets)
        scorer = LateInteractionScorer(self.catalogue.item_store, encoder_version=encoder.version)
        self.live = LiveBehaviour(self.store, Behaviour(), self.config.state)
        self.recommenders = {
            name: Recommender(
                self.catalogue,
                scorer,
                self.trending,
                self.config.model_copy(update={"policy": policy}),
                behaviour=self.live.behaviour,
            )
            for name, policy in POLICIES.items()
        }
        items = [Item(item_id=str(place), title=title) for place, title in enumerate(history.texts)]
        self.changes = changes(items, encoder)

    async def remember(self, orders: Sequence[tuple[int, Order]]) -> None:
        """Take orders in, by number; items are on sale from their first order on."""
        events: dict[str, list[AnyEvent]] = {}
        new: dict[int, None] = {}
        for number, order in orders:
            mine = events.setdefault(order.shopper, [])
            for item in order.items.tolist():
                mine.append(
                    Purchase(event_id=f"{number}-{item}", ts=order.ts, user_id=order.shopper, item_id=str(item))
                )
                if str(item) not in self.catalogue:
                    new[item] = None
        if events:
            await self.store.remember(events, self.config.worker.recent_items)
        if new:
            self.catalogue.apply([self.changes[place] for place in new])
            self.catalogue.commit()

    async def ask(self, number: int, order: Order) -> dict[str, list[int]]:
        """Rankings of items for a shopper just before an order, by policy."""
        await read_demand(self.store, self.trending, self.config, order.ts)
        past, _ = await self.store.remember({order.shopper: []}, self.config.worker.recent_items)
        request = RankRequest("feed", f"ask-{number}", order.ts, order.shopper, past[order.shopper])
        await self.live.refresh()
        await self.live.read(remembered_items(request), order.ts)
        together = self.live.together(anchors(request), self.config.candidates.together)
        found = {}
        for name, recommender in self.recommenders.items():
            recommender.refresh(order.ts)
            [record] = recommender.recommend([request], together, order.ts).records
            found[name] = [int(item.item_id) for item in record.shelf.items]
        return found


def changes(items: Sequence[Item], encoder: Encoder) -> list[Change]:
    """What puts items into a catalogue, encoded."""
    found: list[Change] = []
    for start in range(0, len(items), 256):
        some = items[start : start + 256]
        for item, encoded in zip(some, encoder.encode_items([text(item) for item in some]), strict=True):
            found.append(Change(item.item_id, Embedding.of(item, encoder.version, encoded), None))
    return found


def feeds(history: History, wanted: Collection[int], old: Mapping[int, np.ndarray]) -> dict[str, list[Ranked]]:
    """Rankings for orders by number, in their order; ``old`` are masks of what each shopper had bought."""
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder), memory_mb=2_048) as server:
        return asyncio.run(_feeds(history, wanted, old, server.address))


async def _feeds(
    history: History, wanted: Collection[int], old: Mapping[int, np.ndarray], url: str
) -> dict[str, list[Ranked]]:
    found: dict[str, list[Ranked]] = {name: [] for name in POLICIES}
    async with Redis.from_url(url) as client:
        worker, waiting = Worker(history, client, Encoder()), list[tuple[int, Order]]()
        for number, order in enumerate(history.orders):
            if number in wanted or len(waiting) == BATCH:
                await worker.remember(waiting)
                waiting = []
            if number in wanted:
                for name, items in (await worker.ask(number, order)).items():
                    places = np.array(items, np.int64)
                    found[name].append(Ranked(places, places[~old[number][places]]))
            waiting.append((number, order))
            if number >= max(wanted):
                break
    return found
