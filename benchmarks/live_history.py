"""Are features the same live as offline, and is a feed as it lies in Redis as good? A history through a real stack.

Starts its own Kafka, Redis and worker process, and sends Online Retail's orders up to the end of September 2011 as
purchases with their own times, as fast as the worker takes them. The worker is killed (-9) on the way. At checkpoints
the candidates and features of sampled shoppers, made from Redis as a worker does it, are held against those of the
offline replay. Feeds of orders of September are read from Redis just before the order.
``python -m benchmarks.live_history --json F``

An item has one price here, that of its first line, live and offline; it enters the catalogue with its first order.
Vectors of texts are those that the worker published: encoded in another batch, a text's vector differs by some 1e-4.
What only looks at the last 24 hours by the wall clock (demand by hour, trending items) is empty: orders are of 2011.
"""

import asyncio
import math
import os
import signal
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import typer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from pydantic import SecretStr
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.progress import Progress

from benchmarks.data import PURCHASES, data_folder
from benchmarks.feeds import Days
from benchmarks.purchases import CANDIDATES, SHELF, History, Ranked, epoch_ms, ranked, read, table
from benchmarks.recommend import figures
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from benchmarks.system import System
from evaluator.offline.resampling import Resampling
from liveshelf.settings import StackConfig
from liveshelf.stack import roles
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.supervisor import Supervisor, restart_backoff
from liveshelf.training import from_history
from liveshelf.training.history import Purchases
from models.encoder import Encoder
from models.late_interaction import LateInteractionScorer
from models.ranker import ease
from models.store import ModelStore
from models.store.parts import Parts
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import parse, text
from streams.config import KafkaConfig, PolicyConfig, RedisConfig, StateConfig, StreamsConfig, TopicsConfig
from streams.events.schema import Item, Purchase, Search
from streams.events.shelf import Shelf, shelf_decoder
from streams.features.behaviour import FEATURES, GROUPS, PAIRED_OWN, Behaviour, Reals, text_matches
from streams.features.history import LIMITS, Order, Replay, bought
from streams.features.item_model import ItemModel
from streams.features.items import Places, log_price
from streams.features.own import OwnItems
from streams.features.pairs import Pairs
from streams.features.trending import Trending
from streams.kafka import topics
from streams.kafka.topics import Topics
from streams.ranking.feeds import FeedRanker, own_items
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest, Recommender, anchors, remembered_items
from streams.redis import keys
from streams.redis.store import StateStore, most_together

SINCE = epoch_ms(datetime(2011, 9, 1))
CHUNK = 2_000
"""Purchases between two waits: so far the worker is behind at most, twice."""

PARTITIONS = 4
PATIENCE_S, AGAIN_S = 300.0, 10.0
CLOSE = 1e-6
"""Of a value, or absolutely for values below one."""

REGULARISATION = 200.0
TRAINED_ON = 2_500
EVERY = 10_000
"""So many neighbours are more than there are items: nothing is cut."""

Version = Literal["packaged", "trained"]


class Killed(System):
    """A worker that is killed when it is asked for, and started again."""

    def __init__(self, servers: Servers, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(servers, folder, roles.worker_roles(1), settings, backoff=lambda: restart_backoff(0.2, 1.0))
        self.kills = 0
        self._wanted = threading.Event()

    def kill(self) -> None:
        """Kill it now, or as soon as it is there."""
        self._wanted.set()

    def turn(self, supervisor: Supervisor) -> None:
        """Kill if wanted."""
        [worker] = supervisor.roles
        if self._wanted.is_set() and worker.running and worker.pid:
            os.kill(worker.pid, signal.SIGKILL)
            self.kills += 1
            self._wanted.clear()


class Shop:
    """A history whose items have ids in the order of their places, and one price each."""

    def __init__(self, history: History) -> None:
        first: dict[int, float] = {}
        for order in history.orders:
            for place, price in zip(order.items.tolist(), order.prices.tolist(), strict=True):
                first.setdefault(place, round(math.exp(price) - 0.01, 4))
        self.items = [
            Item(item_id=f"{place:05}", title=title, price=max(0.0, first.get(place, 0.0)))
            for place, title in enumerate(history.texts)
        ]
        self.ids = [item.item_id for item in self.items]
        self.prices = np.array([log_price(item.price or 0.0) for item in self.items])
        self.orders = [Order(one.shopper, one.ts, one.items, self.prices[one.items]) for one in history.orders]

    def known(self) -> list[int]:
        """Orders of September of shoppers who had bought before, by number."""
        seen, found = set[str](), list[int]()
        for number, order in enumerate(self.orders):
            if order.ts >= SINCE and order.shopper in seen:
                found.append(number)
            seen.add(order.shopper)
        return found


class Frontend:
    """What sends the shop's events and reads its feeds."""

    def __init__(self, shop: Shop, config: StreamsConfig, system: Killed) -> None:
        self.shop, self.config, self.system = shop, config, system
        self.names = Topics(config.topics.prefix)
        self.redis = Redis.from_url(config.redis.url.get_secret_value())
        self.producer = KafkaProducer(**config.kafka.client(), acks="all", linger_ms=5)
        self.sent, self._barriers, self._on_sale = 0, [0], np.zeros(len(shop.items), bool)
        self._newest = 0

    @property
    def on_sale(self) -> int:
        """Items sent so far."""
        return int(self._on_sale.sum())

    def order(self, number: int, order: Order) -> None:
        """Send an order; items that are new come first. Waits when the worker is too far behind."""
        self.sell(order)
        for place in order.items.tolist():
            event = Purchase(
                event_id=f"{number}-{place}", ts=order.ts, user_id=order.shopper, item_id=self.shop.ids[place]
            )
            self.producer.send(self.names.events, key=order.shopper.encode(), value=msgspec.json.encode(event))
        before, self.sent, self._newest = self.sent, self.sent + len(order.items), order.ts
        if before // CHUNK != self.sent // CHUNK:
            self._barrier()
            self._until_barrier(self._barriers[-2])

    def sell(self, order: Order) -> None:
        """Put the items of an order on sale that are not yet."""
        for place in order.items[~self._on_sale[order.items]].tolist():
            item = self.shop.items[place]
            self.producer.send(self.names.items, key=item.item_id.encode(), value=msgspec.json.encode(item))
            self._on_sale[place] = True

    def drain(self, ts: int = 0) -> None:
        """Wait until all that was sent is processed; the stream's time is then a given one (ms), if that is later."""
        self._newest = max(self._newest, ts)
        self._barrier()
        self._until_barrier(self._barriers[-1])

    def _barrier(self) -> None:
        """Visits of somebody else, one in each partition; once their feeds are there, all before is processed."""
        self._barriers.append(max(self._newest, self._barriers[-1] + 1))
        self._visits()

    def _visits(self) -> None:
        ts = self._barriers[-1]
        for partition in range(PARTITIONS):
            who = f"barrier-{partition}"
            value = msgspec.json.encode(visit(f"{who}-{ts}", who, ts))
            self.producer.send(self.names.events, partition=partition, key=who.encode(), value=value)
        self.producer.flush()

    def _until_barrier(self, ts: int) -> None:
        def passed() -> bool:
            found = [self.feed(f"barrier-{partition}") for partition in range(PARTITIONS)]
            return all(one is not None and one.event_ts >= ts for one in found)

        self.until(passed, self._visits)

    def feed(self, shopper: str) -> Shelf | None:
        """A feed as it lies."""
        value: Any = self.redis.get(keys.feed(shopper))
        return None if value is None else shelf_decoder.decode(value)

    def visit(self, shopper: str, ts: int) -> Shelf:
        """The feed that a page of filters alone makes: it adds nothing to memory, and counts for nothing."""
        before = self.feed(shopper)
        event = visit(f"visit-{shopper}-{ts}", shopper, ts)
        self.producer.send(self.names.events, key=shopper.encode(), value=msgspec.json.encode(event))
        self.producer.flush()
        self.until(lambda: (now := self.feed(shopper)) is not None and (not before or now.shelf_id != before.shelf_id))
        found = self.feed(shopper)
        assert found is not None
        return found

    def until(
        self, holds: Callable[[], bool], again: Callable[[], None] = lambda: None, patience_s: float = PATIENCE_S
    ) -> None:
        """Wait; the worker may be starting again meanwhile. What is asked ``again`` may have come before any item was
        there to be shown."""
        deadline, asked = time.monotonic() + patience_s, time.monotonic()
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing in {patience_s:.0f} s:\n{self.system.logs(20)}")
            if time.monotonic() - asked > AGAIN_S:
                again()
                asked = time.monotonic()
            time.sleep(0.01)

    def close(self) -> None:
        """Close all connections."""
        self.producer.close()
        self.redis.close()


def visit(event_id: str, shopper: str, ts: int) -> Search:
    """A page of filters alone."""
    return Search(event_id=event_id, ts=ts, user_id=shopper, filters={"in_stock": True})


class AsWorker:
    """What a worker knows: the catalogue of the topic of embeddings, and statistics from Redis.

    Items have the places that they have offline, so that equal ones are taken in the same order.
    """

    def __init__(self, shop: Shop, config: StreamsConfig, client: "AsyncRedis", encoder: Encoder) -> None:
        self.shop, self.config = shop, config
        self.store = StateStore(client, config.state)
        self.live = LiveBehaviour(self.store, Behaviour(), config.state)
        self.behaviour = self.live.behaviour
        self.behaviour.items.places(shop.ids)
        self.catalogue = Catalog(encoder)
        self.vectors: Reals = np.zeros((len(shop.ids), encoder.dim), np.float32)
        self._scorer = LateInteractionScorer(self.catalogue.item_store, encoder_version=encoder.version)
        self._embeddings = KafkaConsumer(**config.kafka.client(), group_id=None, auto_offset_reset="earliest")
        topic = Topics(config.topics.prefix).embeddings
        self._embeddings.assign([TopicPartition(topic, one) for one in range(config.topics.compacted_partitions)])
        self._now = 0
        self.recommenders: dict[str, Recommender] = {}

    def rank_by(self, feeds: FeedRanker) -> None:
        """Make the recommenders whose feeds are taken apart."""
        whole = self.config.policy
        without = tuple(step for step in whole.steps if step != "diversity")
        bare = whole.model_copy(update={"steps": (), "length": CANDIDATES})
        policies: dict[str, tuple[PolicyConfig, FeedRanker]] = {
            "fresh": (whole, feeds),
            "fresh, bought items always": (whole.model_copy(update={"offer_again": "always"}), feeds),
            "fresh, bought items never": (whole.model_copy(update={"offer_again": "never"}), feeds),
            "fresh, without diversity": (whole.model_copy(update={"steps": without}), feeds),
            "fresh, no policy": (bare, feeds),
            "fresh, no policy, no utilities": (bare, ByBehaviour(feeds.ranker, feeds.first, feeds.weights)),
        }
        trending = Trending(self.config.state.trend_bucket_s, self.config.state.trend_buckets)
        self.recommenders = {
            name: Recommender(
                self.catalogue,
                self._scorer,
                trending,
                self.config.model_copy(update={"policy": policy}),
                behaviour=self.behaviour,
                feeds=by,
            )
            for name, (policy, by) in policies.items()
        }

    async def refresh(self) -> None:
        """Read what changed; all rows count as old."""
        self._now += 1_000_000
        await self.live.refresh()

    def follow(self, count: int) -> None:
        """Read the topic of embeddings until so many items are held."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.catalogue) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self.catalogue)} of {count} items are in the catalogue")
            for messages in self._embeddings.poll(timeout_ms=200, max_records=2_000).values():
                entries = [parse(message, 0) for message in messages]
                self.catalogue.apply([Change(one.place.item_id, one.embedding, one.place.origin) for one in entries])
                self.catalogue.commit()
        for place in self.behaviour.items.find(self.shop.ids).tolist():
            slot = self.catalogue.slot(self.shop.ids[place])
            if slot is not None and np.isnan(self.behaviour.items.prices[place]):
                self.behaviour.items.prices[place] = log_price(self.catalogue.item(slot).price or 0.0)
                self.vectors[place] = self.catalogue.item_store.pooled(np.array([slot]))[0]

    async def own(self, shopper: str) -> OwnItems:
        """What is remembered of a shopper; the rows that a feed needs are read too."""
        past, _ = await self.store.remember({shopper: []}, self.config.worker.recent_items)
        request = RankRequest("feed", "", 0, shopper, past[shopper])
        await self.live.read(remembered_items(request), self._now)
        [found] = own_items(self.behaviour.items, [past[shopper]])
        return found

    async def feeds(self, order: Order) -> dict[str, list[str]]:
        """Feeds just before an order, by recommender."""
        past, _ = await self.store.remember({order.shopper: []}, self.config.worker.recent_items)
        request = RankRequest("feed", f"ask-{order.ts}", order.ts - 1, order.shopper, past[order.shopper])
        await self.live.read(remembered_items(request), self._now)
        together = self.live.together(anchors(request), self.config.candidates.together)
        return {
            name: [item.item_id for item in one.recommend([request], together, order.ts).records[0].shelf.items]
            for name, one in self.recommenders.items()
        }

    def close(self) -> None:
        """Close the consumer."""
        self._embeddings.close()


class ByBehaviour(FeedRanker):
    """A ranker that leaves out what the scorer says."""

    def order(
        self,
        by_behaviour: Reals,
        utilities: Reals,  # noqa: ARG002
        bought: Sequence[int],  # noqa: ARG002
        sizes: Sequence[int],  # noqa: ARG002
        counts: Reals | None = None,  # noqa: ARG002
    ) -> tuple[Reals, Reals]:
        """As by behaviour."""
        return by_behaviour, np.zeros_like(by_behaviour)


@dataclass
class Differences:
    """What live and offline values have apart.

    Attributes
    ----------
    absolute, relative, unequal, values
        By group of features: the greatest differences, how many values are not close, and how many there are. Relative
        ones are of values from one on.
    sets, apart
        By source of candidates, how many sets there are, and how many are not equal.
    """

    rankings: int = 0
    absolute: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    relative: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    unequal: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    values: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sets: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    apart: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    first: str = ""

    def add(self, live: Reals, offline: Reals, where: str) -> None:
        """The features of one shopper's candidates, float32 [n, F] each."""
        self.rankings += 1
        one, other = live.astype(np.float64), offline.astype(np.float64)
        absent = np.isnan(one) != np.isnan(other)
        apart = np.where(np.isnan(one) | np.isnan(other), 0.0, np.abs(one - other))
        size = np.maximum(1.0, np.abs(np.nan_to_num(other)))
        unequal = absent | (apart > CLOSE * size)
        start = 0
        for group, names in GROUPS.items():
            columns = slice(start, start := start + len(names))
            self.absolute[group] = max(self.absolute[group], float(apart[:, columns].max(initial=0.0)))
            self.relative[group] = max(self.relative[group], float((apart / size)[:, columns].max(initial=0.0)))
            self.unequal[group] += int(unequal[:, columns].sum())
            self.values[group] += unequal[:, columns].size
        if unequal.any() and not self.first:
            row, column = np.argwhere(unequal)[0]
            self.first = f"{where}: {FEATURES[column]} {live[row, column]} live, {offline[row, column]} offline"

    def candidates(self, live: Mapping[str, Places], offline: Mapping[str, Places], where: str) -> None:
        """The candidates of one shopper by source."""
        for source in LIMITS:
            one, other = (set(found.get(source, np.zeros(0, np.int64)).tolist()) for found in (live, offline))
            self.sets[source] += 1
            self.apart[source] += one != other
            if one != other and not self.first:
                self.first = f"{where}: {source} has {len(one - other)} items live only, {len(other - one)} offline"

    def failed(self, cut: bool) -> bool:
        """Whether anything is not equal; what comes from rows that were cut depends on the order of visits."""
        kinds = [*self.unequal.items(), *self.apart.items()]
        return any(count for name, count in kinds if not (cut and name == "together"))


def compare(
    shoppers: Sequence[str], ts: int, replay: Replay, live: AsWorker, run: Callable[[Any], Any], found: Differences
) -> None:
    """Hold candidates and features of some shoppers at a time against each other."""
    model = replay.model
    for shopper in shoppers:
        where = f"shopper {shopper} at {datetime.fromtimestamp(ts / 1_000):%Y-%m-%d %H:%M}"
        behaviours = (live.behaviour, replay.behaviour)
        owned = (run(live.own(shopper)), replay.past.shoppers[shopper].get())
        scores = [one.scores([own], [ts], model) for one, own in zip(behaviours, owned, strict=True)]
        brought = [one.candidates(some, LIMITS)[0] for one, some in zip(behaviours, scores, strict=True)]
        found.candidates(brought[0], brought[1], where)
        places = np.unique(np.concatenate([some for one in brought for some in one.values()]))
        places = places[replay.past.items.known[places]]  # the linear model knows items that are not on sale yet
        features = []
        for one, own, some in zip(behaviours, owned, scores, strict=True):
            mine = own.places[:PAIRED_OWN]
            since = some.since[0][: len(mine)]
            texts = text_matches([live.vectors[places]], [live.vectors[mine]], [since], len(places))
            features.append(one.features(some, [places], texts.features))
        found.add(features[0], features[1], where)


@dataclass
class Asked:
    """Orders of September that were asked for: rankings by system, what was bought, and the age of lying feeds."""

    shoppers: list[str] = field(default_factory=list)
    rankings: dict[str, list[Ranked]] = field(default_factory=lambda: defaultdict(list))
    truths: list[tuple[Places, Places]] = field(default_factory=list)
    ages_h: list[float] = field(default_factory=list)

    def add(self, name: str, places: Places, old: np.ndarray) -> None:
        """A feed's items, best first."""
        self.rankings[name].append(Ranked(places, places[~old[places]]))

    def add_feeds(
        self, lying: Shelf | None, visited: Shelf, made: Mapping[str, Sequence[str]], old: np.ndarray
    ) -> None:
        """A shopper's feeds as they were read from Redis, and others that were made from it, by name."""
        feeds = {
            "live, as it lies": [item.item_id for item in lying.items] if lying else [],
            "live, after a visit": [item.item_id for item in visited.items],
            **made,
        }
        for name, items in feeds.items():
            self.add(name, np.array([int(item) for item in items], np.int64), old)


class Offline:
    """The offline replay, and what it and simple systems say to orders that are asked for."""

    def __init__(self, shop: Shop, vectors: Reals, pairs: Pairs, feeds: FeedRanker, model: ItemModel) -> None:
        self.shop, self.feeds = shop, feeds
        self.replay = Replay(shop.orders, vectors, REGULARISATION, pairs)
        self.replay.model = model
        self.model = None if feeds.weights is None else model
        self.days = Days(shop.orders, len(shop.ids))
        self.before: dict[str, set[int]] = defaultdict(set)
        self._learned, self._linear = 0, np.zeros((0, 0), np.float32)

    def take(self, order: Order) -> None:
        """Take an order in."""
        self.days.add(order)
        self.replay.update(order)
        self.before[order.shopper].update(order.items.tolist())

    def ask(self, order: Order, before: Sequence[Order], asked: Asked) -> np.ndarray:
        """Rank for an order, given all before it; returns what the shopper had bought, by place."""
        replay = self.replay
        old = np.zeros(len(self.shop.ids), bool)
        old[list(self.before[order.shopper])] = True
        own = replay.past.shoppers[order.shopper].get()
        replay.behaviour.refresh()
        kept, replay.model = replay.model, self.model
        one, scores = replay.ask(order, own)
        replay.model = kept
        first = (self.feeds.first or self.feeds.ranker).scores(one.features)
        shortlist = np.argsort(-first, kind="stable")[:CANDIDATES]
        best = self.feeds.ranker.scores(one.features[shortlist])
        asked.add("offline, all candidates", ranked(first, one.places, old[one.places]).every, old)
        found = one.places[shortlist[np.argsort(-best, kind="stable")]]
        asked.add("offline", found, old)
        asked.add("offline, 20 shown", found[:SHELF], old)
        if order.ts - self._learned >= 7 * 86_400_000:
            self._linear = ease(bought(before, len(old)), REGULARISATION)
            self._learned = order.ts
        week, times = self.days.sold(order.ts, 7), np.zeros(len(old))
        times[own.places] = own.times + 1 / (2 + scores.since[0])
        simple = {
            "own purchases, then best sellers": times + 0.5 * week / max(1.0, week.max()),
            "best sellers of 7 days": week,
            "EASE": self._linear[list(self.before[order.shopper])].sum(0).astype(np.float64),
        }
        known = replay.known
        for name, values in simple.items():
            asked.rankings[name].append(ranked(values[known], known, old[known]))
        asked.shoppers.append(order.shopper)
        asked.truths.append((order.items, order.items[~old[order.items]]))
        return old


def trained(shop: Shop, vectors: Reals, store: ModelStore, until: int = SINCE) -> FeedRanker:
    """Learn a version from the orders before a time (ms), and make it the champion."""
    before = [order for order in shop.orders if order.ts < until]
    purchases = Purchases(before, tuple(shop.ids), tuple(text(item) for item in shop.items))
    learned = from_history.learn(purchases, vectors, "trees", TRAINED_ON)
    made = from_history.put(store, Parts(), learned, purchases, PURCHASES.name)
    store.slots.promote(made.id, "learned from the history")
    return FeedRanker(learned.ranker, learned.first, learned.weights)


@contextmanager
def running(shop: Shop, folder: Path, config: StreamsConfig) -> Iterator[tuple[StreamsConfig, Frontend]]:
    """Servers and the worker, with the model store in the folder."""
    with stack(StackConfig(folder=folder / "stack", redis_memory_mb=8_192), say=lambda _: None) as servers:
        config = config.model_copy(
            update={
                "kafka": KafkaConfig(bootstrap_servers=servers.bootstrap_servers),
                "redis": RedisConfig(url=SecretStr(servers.redis_url)),
            }
        )
        topics.create(config.kafka, config.topics)
        settings = {
            "LIVESHELF_STATE__TOGETHER_ITEMS": str(config.state.together_items),
            "LIVESHELF_STATE__TREND_REFRESH_S": str(config.state.trend_refresh_s),
            "LIVESHELF_POLICY__EXPLORATION": "0",
            "LIVESHELF_SHELF__SIMILAR_REFRESH_S": "86400",
            "LIVESHELF_WORKER__BATCH_EVENTS": "512",  # a history waits for throughput alone
        }
        with Killed(servers, folder, settings).running() as system:
            frontend = Frontend(shop, config, system)
            try:
                yield config, frontend
            finally:
                frontend.close()


@dataclass
class Plan:
    """At which orders what is done, by number."""

    asks: set[int]
    checkpoints: set[int]
    kills: set[int]

    @classmethod
    def of(cls, shop: Shop, orders: int, checkpoints: int, kills: int) -> "Plan":
        """Seeded; the last checkpoint is at the end."""
        chance, count, known = np.random.default_rng(0), len(shop.orders), shop.known()
        asks = chance.permutation(known)[:orders].tolist()
        some = chance.choice(np.arange(count // 10, count - 1), checkpoints - 1, replace=False).tolist()
        return cls(
            set(asks), {*some, count - 1}, set(chance.choice(np.arange(count // 20, count), kills, False).tolist())
        )


class Course:
    """The history, sent and replayed side by side."""

    def __init__(
        self,
        shop: Shop,
        plan: Plan,
        rankings: int,
        offline: Offline,
        live: AsWorker,
        frontend: Frontend,
        tell: Callable[[str], None],
    ) -> None:
        self.shop, self.plan, self.rankings, self.tell = shop, plan, rankings, tell
        self.offline, self.live, self.frontend = offline, live, frontend
        self.found, self.asked = Differences(), Asked()
        self._checkpoints, self._chance = 0, np.random.default_rng(1)

    def run(self, say: Callable[[int], None]) -> None:
        """All of it; ``say`` is told how many orders are gone."""
        self.frontend.sell(self.shop.orders[0])
        self.live.follow(self.frontend.on_sale)
        with asyncio.Runner() as runner:
            for number, order in enumerate(self.shop.orders):
                if number in self.plan.checkpoints:
                    self._compare(order.ts, runner.run)
                if number in self.plan.asks:
                    self._ask(number, runner.run)
                self.frontend.order(number, order)
                if number in self.plan.kills:
                    self.frontend.producer.flush()
                    self.frontend.system.kill()
                self.offline.take(order)
                say(number + 1)
            self.frontend.drain()
            runner.run(self.live.store.client.aclose())

    def _compare(self, ts: int, run: Callable[[Any], Any]) -> None:
        self._checkpoints += 1
        self.frontend.drain()
        self.live.follow(self.frontend.on_sale)
        run(self.live.refresh())
        replay = self.offline.replay
        replay.behaviour.refresh()
        due = self.rankings * self._checkpoints // len(self.plan.checkpoints) - self.found.rankings
        shoppers = sorted(replay.past.shoppers)
        some = self._chance.permutation(len(shoppers))[:due]
        compare([shoppers[one] for one in some], ts, replay, self.live, run, self.found)
        self.tell(
            f"{datetime.fromtimestamp(ts / 1_000):%Y-%m-%d}: {self.found.rankings} rankings, {self.frontend.sent} "
            f"purchases, {self.frontend.system.kills} kills, first difference: {self.found.first or 'none'}"
        )

    def _ask(self, number: int, run: Callable[[Any], Any]) -> None:
        order = self.shop.orders[number]
        self.frontend.drain()
        lying = self.frontend.feed(order.shopper)
        visited = self.frontend.visit(order.shopper, order.ts - 1)
        self.live.follow(self.frontend.on_sale)
        run(self.live.refresh())
        old = self.offline.ask(order, self.shop.orders[:number], self.asked)
        self.asked.add_feeds(lying, visited, run(self.live.feeds(order)), old)
        if lying is not None:
            self.asked.ages_h.append((order.ts - lying.event_ts) / 3_600_000)


def quality(asked: Asked) -> Iterator[tuple[str, dict[str, Value]]]:
    """Of each system its nDCG@20 on all and on new items, with intervals over shoppers."""
    draws = Resampling.of(asked.shoppers)
    for name, rankings in asked.rankings.items():
        values = table(rankings, asked.truths)
        yield name, figures({measure: some for measure, some in values.items() if measure.endswith("ndcg_20")}, draws)


def conclude(report: Report, course: Course, cut: bool) -> bool:
    """Rows of equality and of quality; returns whether anything is not equal."""
    found, asked = course.found, course.asked
    for group in GROUPS:
        report.row(
            part="features, live and offline",
            group=group,
            values=found.values[group],
            greatest_absolute=found.absolute[group],
            greatest_relative=found.relative[group],
            unequal=found.unequal[group],
        )
    for source in LIMITS:
        report.row(part="candidates", source=source, sets=found.sets[source], unequal=found.apart[source])
    for name, values in quality(asked):
        report.row(part=f"nDCG@20, {len(asked.truths)} orders", system=name, **values)
    failed = found.failed(cut)
    report.facts |= {
        "rankings": found.rankings,
        "kills": course.frontend.system.kills,
        "equal": not failed,
        "first_difference": found.first or "none",
        "age_of_lying_feeds_h": float(np.median(asked.ages_h)) if asked.ages_h else None,
        "without_a_lying_feed": len(asked.truths) - len(asked.ages_h),
    }
    return failed


@smoke(orders=6, rankings=40, checkpoints=3, kills=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    shoppers: Annotated[int, typer.Option(help="Of the history, a sample; 0: all.")] = 0,
    orders: Annotated[int, typer.Option(help="Orders of September whose feed is read.")] = 500,
    rankings: Annotated[int, typer.Option(help="Shoppers whose features are compared, at all checkpoints.")] = 10_000,
    checkpoints: Annotated[int, typer.Option(help="Pauses in which features are compared.")] = 20,
    kills: Annotated[int, typer.Option(help="How often the worker is killed.")] = 5,
    together: Annotated[int, typer.Option(help="state.together_items; 0: no row is cut, all must be equal.")] = 0,
    version: Annotated[Version, typer.Option(help="The ranker.")] = "packaged",
) -> None:
    """Send, replay, compare; half an hour."""
    console, began = Console(stderr=True), time.monotonic()
    history = read(data or data_folder() / PURCHASES)
    if shoppers:
        every = sorted({order.shopper for order in history.orders})
        chosen = {every[one] for one in np.random.default_rng(2).permutation(len(every))[:shoppers]}
        history = History([one for one in history.orders if one.shopper in chosen], history.ids, history.texts)
    shop = Shop(history)
    encoder = Encoder()
    vectors = from_history.unit_vectors(encoder, [text(item) for item in shop.items])
    config = StreamsConfig(
        topics=TopicsConfig(partitions=PARTITIONS),
        state=StateConfig(together_items=together or EVERY, trend_refresh_s=0.5),
        policy=PolicyConfig(exploration=0.0),
    )
    pairs = Pairs(together, most_together(together)) if together else Pairs(EVERY, EVERY)
    with tempfile.TemporaryDirectory() as name, Progress(console=console, transient=True) as progress:
        folder = Path(name)
        feeds = FeedRanker.packaged()
        if version == "trained":
            console.print("learning a version")
            feeds = trained(shop, vectors, ModelStore(str(folder / "models")))
        weights = ease(bought([one for one in shop.orders if one.ts < SINCE], len(shop.ids)), REGULARISATION)
        model = ItemModel.cut(weights, 100)
        offline = Offline(shop, vectors, pairs, feeds, model)
        with running(shop, folder, config) as (config, frontend):
            live = AsWorker(shop, config, AsyncRedis.from_url(config.redis.url.get_secret_value()), encoder)
            live.rank_by(feeds)
            offline.replay.vectors = live.vectors
            course = Course(
                shop, Plan.of(shop, orders, checkpoints, kills), rankings, offline, live, frontend, console.print
            )
            task = progress.add_task("orders", total=len(shop.orders))
            course.run(lambda gone: progress.update(task, completed=gone))
            live.close()
    report = Report("live_history", version=version, orders=len(shop.orders), purchases=frontend.sent)
    failed = conclude(report, course, cut=bool(together))
    report.facts |= {"rows_cut_to": together or None, "wall_s": time.monotonic() - began}
    report.write(json)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
