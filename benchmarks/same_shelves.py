"""Does a change of the code leave the shelves as they were?

``python -m benchmarks.same_shelves --record FILE`` keeps every shelf record that a worker makes of a fixed stream of
events: the worker's pipeline in this process, on a real Redis, at times that are given; Kafka is left out. After the
change ``python -m benchmarks.same_shelves --compare FILE`` makes them again and counts what differs: items, scores by
more than 0.001, propensities, reasons, anything else. The shop has variants, categories, brands, prices and sold-out
items; its shoppers search, with filters too, and touch items; the head and the item-to-item model are drawn at random,
so that every part counts.
"""

import asyncio
import gzip
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import msgspec
import numpy as np
import torch
import typer
from redis.asyncio import Redis
from rich.progress import track

from benchmarks.data import products
from benchmarks.report import Report
from benchmarks.smoke import smoke
from benchmarks.worker_feed import changes, read_demand
from liveshelf.stack.redis import LocalRedis
from models.cpu import limit_blas, limit_threads
from models.encoder import Encoder
from models.late_interaction import LateInteraction, LateInteractionScorer
from models.ranker import ItemWeights, packaged
from streams.catalog.catalog import Catalog
from streams.config import ShelfConfig, StreamsConfig
from streams.events.schema import Item
from streams.events.shelf import RankedRows
from streams.features.behaviour import FEATURES
from streams.features.trending import Trending
from streams.kafka.record import Record, Unsent
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.feeds import FeedRanker
from streams.ranking.ranked_rows import features
from streams.ranking.recommender import Recommender
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

SHOPPERS, STEP_MS, BEGIN_MS = 300, 1_700, 1_780_000_000_000
SIZES = (1, 4, 16, 64)
WITHIN = 1e-3

KINDS = {"plain": (False, False), "trained": (False, True), "trained, with variants": (True, True)}
"""Of each kind of worker whether its items have variants, and whether its model is trained."""


def shop(count: int, seed: int) -> list[Item]:
    """Products, some of them variants of one, some sold out, most with a price and a category."""
    chance, found = random.Random(seed), list[Item]()
    for one in products(count):
        group = f"g{chance.randrange(count // 8 + 1)}" if chance.random() < 0.2 else None
        category = " > ".join(["all", f"c{chance.randrange(5)}", f"d{chance.randrange(3)}"][: chance.randint(1, 3)])
        found.append(
            Item(
                item_id=one.id,
                group_id=group,
                title=one.title[:2000],
                brand=one.supplier or "",
                category=category,
                price=round(chance.lognormvariate(3, 1), 2) if chance.random() < 0.9 else None,
                in_stock=chance.random() < 0.93,
            )
        )
    return found


def traffic(items: list[Item], batches: int, seed: int) -> Iterator[tuple[int, list[Record]]]:
    """Batches of events with the time of each, ms."""
    chance, now, offset = random.Random(seed), BEGIN_MS, 0
    popular = [chance.paretovariate(1.1) for _ in items]
    for number in range(batches):
        records = list[Record]()
        for _ in range(SIZES[number % len(SIZES)]):
            now += chance.randrange(STEP_MS)
            offset += 1
            [item] = chance.choices(items, popular)
            user = f"u{chance.randrange(SHOPPERS)}"
            event: dict[str, object] = {"event_id": f"e{offset}", "ts": now, "user_id": user}
            if chance.random() < 0.4:
                words = item.title.split()
                start = chance.randrange(max(1, len(words) - 3))
                event |= {"type": "search", "query": " ".join(words[start : start + chance.randint(2, 4)])[:200]}
                if chance.random() < 0.2:
                    event["filters"] = {"category": item.category, "max_price": 200}
                    if chance.random() < 0.3:
                        event["query"] = None
            else:
                kind = chance.choices(["click", "read", "cart", "purchase"], [6, 3, 2, 2])[0]
                event |= {"type": kind, "item_id": item.item_id}
            records.append(Record("events", 0, offset, now, user.encode(), json.dumps(event).encode()))
        yield now, records


class Worker:
    """A worker's pipeline with a head and an item-to-item model drawn at random."""

    def __init__(self, client: "Redis", items: list[Item], seed: int, *, grouped: bool, trained: bool) -> None:
        config = StreamsConfig(shelf=ShelfConfig(similar_refresh_s=20.0, similar_within_category=trained))
        encoder = Encoder()
        catalogue = Catalog(encoder)
        if not grouped:
            items = [msgspec.structs.replace(one, group_id=None) for one in items]
        catalogue.apply(changes(items, encoder))
        catalogue.commit()
        scorer = LateInteractionScorer(catalogue.item_store, _head(seed) if trained else None)
        feeds = _feeds(items, seed) if trained else None
        trending = Trending(config.state.trend_bucket_s, config.state.trend_buckets)
        meter = Meter("worker", "benchmark", BEGIN_MS)
        self.config, self.made = config, list[dict[str, Any]]()
        self.champion = Recommender(catalogue, scorer, trending, config, feeds=feeds)
        self.store = StateStore(client, config.state)
        self.pipeline = Pipeline(Arms(self.champion, meter), self.store, self._send, meter, config)
        if grouped:
            for one in items:
                self.champion.behaviour.items.assign(one.item_id, one.group_id or "")

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: object = ()) -> Unsent | None:  # noqa: ARG002
        if topic == self.pipeline.topics.shelves and value is not None:
            self.made.append(msgspec.json.decode(value))
        return None

    async def run(self, now: int, records: list[Record], *, refresh: bool) -> list[dict[str, Any]]:
        """The shelves of a batch at a time, ms."""
        if refresh:
            await self.pipeline.behaviour.refresh()
            await read_demand(self.store, self.champion.trending, self.config, now)
            self.champion.refresh(now)
        self.made.clear()
        with patch("streams.pipeline.wall_ms", lambda: now):
            await asyncio.gather(*await self.pipeline.process(records))
        return sorted(self.made, key=lambda one: str(one["key"]))


def _head(seed: int) -> LateInteraction:
    head = LateInteraction()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for weight in head.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    return head


def _feeds(items: list[Item], seed: int) -> FeedRanker:
    chance = np.random.default_rng(seed)
    ids = [one.item_id for one in items]
    slots = np.stack([chance.choice(len(ids), min(20, len(ids)), replace=False) for _ in ids]).astype(np.int32)
    weights = chance.random(slots.shape).astype(np.float16)
    return FeedRanker(packaged(FEATURES), weights=ItemWeights(tuple(ids), slots, weights), trained=True)


async def shelves(url: str, items: int, batches: int, seed: int, *, grouped: bool, trained: bool) -> list[list[Any]]:
    """All shelf records of a stream, by batch."""
    goods = shop(items, seed)
    async with Redis.from_url(url) as client:
        await client.flushdb()
        worker = Worker(client, goods, seed, grouped=grouped, trained=trained)
        found = []
        for number, (now, records) in enumerate(
            track(list(traffic(goods, batches, seed)), "making shelves", transient=True)
        ):
            made = await worker.run(now, records, refresh=number % 10 == 5)
            found.append(made)
    return found


def differences(before: list[list[Any]], after: list[list[Any]]) -> Counter[str]:
    """How many shelves there are, and how many differ in what."""
    counts = Counter[str](shelves=0)
    for old_batch, new_batch in zip(before, after, strict=True):
        counts["shelves"] += len(old_batch)
        counts["missing or new"] += len({one["key"] for one in old_batch} ^ {one["key"] for one in new_batch})
        now = {one["key"]: one for one in new_batch}
        for old in old_batch:
            if (new := now.get(old["key"])) is not None:
                counts.update(_different(old, new))
    return counts


def _different(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """In what a shelf differs from another one of the same key."""
    before, after = old["shelf"]["items"], new["shelf"]["items"]
    if [one["item_id"] for one in before] != [one["item_id"] for one in after]:
        same = {one["item_id"] for one in before} == {one["item_id"] for one in after}
        return ["order of items" if same else "items"]
    found = []
    for name in ("score", "buy", "read", "look"):
        if any(abs(a[name] - b[name]) > WITHIN * max(1.0, abs(a[name])) for a, b in zip(before, after, strict=True)):
            found.append(name)
    if [one["reason"] for one in before] != [one["reason"] for one in after]:
        found.append("reasons")
    rest = {name for name in old if name not in {"shelf", "vector", "ranked"}}
    found += sorted(name for name in rest if old[name] != new[name])
    told = {name for name in old["shelf"] if name != "items"}
    found += sorted(f"shelf's {name}" for name in told if old["shelf"][name] != new["shelf"][name])
    if (old["ranked"] is None) != (new["ranked"] is None):
        found.append("ranked")
    elif old["ranked"] is not None:
        before, after = (msgspec.convert(one["ranked"], RankedRows) for one in (old, new))
        values = features(before), features(after)
        if not np.allclose(*values, rtol=2 * WITHIN, atol=WITHIN, equal_nan=True):  # type: ignore[arg-type]
            found.append("ranked values")
        if msgspec.structs.replace(before, values=b"") != msgspec.structs.replace(after, values=b""):
            found.append("ranked rows")
    return found


def _all(items: int, batches: int, seed: int) -> dict[str, list[list[Any]]]:
    limit_threads(1)
    limit_blas(1)
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder), memory_mb=1_024) as server:
        return {
            kind: asyncio.run(shelves(server.address, items, batches, seed, grouped=grouped, trained=trained))
            for kind, (grouped, trained) in KINDS.items()
        }


@smoke(items=40, batches=4)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    record: Annotated[Path | None, typer.Option(help="Keep the shelves of the code as it is in this file.")] = None,
    compare: Annotated[Path | None, typer.Option(help="Make a file's shelves again and count what differs.")] = None,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 2_000,
    batches: Annotated[int, typer.Option(help="Of events, for each kind of worker.")] = 168,
    seed: Annotated[int, typer.Option(help="Of the shop, its traffic and the weights.")] = 1,
) -> None:
    """Record, compare, or both; about two minutes each."""
    if compare is None:
        kept: dict[str, Any] = {"items": items, "batches": batches, "seed": seed}
        kept["shelves"] = _all(items, batches, seed)
    else:
        kept = msgspec.msgpack.decode(gzip.decompress(compare.read_bytes()))
    if record is not None:
        record.write_bytes(gzip.compress(msgspec.msgpack.encode(kept), 1))
        return
    report = Report("same_shelves", items=kept["items"], batches=len(KINDS) * kept["batches"], within=WITHIN)
    made = _all(kept["items"], kept["batches"], kept["seed"])
    for kind, before in kept["shelves"].items():
        counts = differences(before, made[kind])
        report.row(worker=kind, **{name: count for name, count in counts.items() if count or name == "shelves"})
    report.write(json_path)


if __name__ == "__main__":
    typer.run(main)
