"""Is a feed as it lies in Redis what its shopper buys in the next fortnight? The protocol by which peers were measured.

``python -m benchmarks.fortnight --json F``: starts its own Kafka, Redis and worker, sends Online Retail's orders up to
a day as purchases with their own times, and then reads the feeds of shoppers who buy again in the fortnight from that
day, first as they lie, then after a visit that adds nothing to memory. The truth is all that a shopper buys in the
fortnight. Simple systems, and the same ranker over the offline replay, stand beside them.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.progress import Progress

from benchmarks.data import PURCHASES, data_folder
from benchmarks.live_history import (
    PARTITIONS,
    REGULARISATION,
    Asked,
    AsWorker,
    Frontend,
    Offline,
    Shop,
    Version,
    quality,
    running,
    trained,
)
from benchmarks.purchases import History, epoch_ms, read
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.training import from_history
from models.encoder import Encoder
from models.ranker import ease
from models.store import ModelStore
from streams.catalog.embedding import text
from streams.config import PolicyConfig, StreamsConfig, TopicsConfig
from streams.features.history import Order, bought
from streams.features.item_model import ItemModel
from streams.features.items import DAY_MS
from streams.features.pairs import Pairs
from streams.ranking.feeds import FeedRanker
from streams.redis import keys

DAYS = 14
PATIENCE_S = 1_800.0
"""For all feeds that are due to be made again."""


def with_fortnight(history: History, until: int, customers: int) -> tuple[list[Order], list[Order]]:
    """The orders before a time (ms), and for each of some shoppers one order of all that they buy in the fortnight from
    it; seeded."""
    before = [order for order in history.orders if order.ts < until]
    known = {order.shopper for order in before}
    later: dict[str, set[int]] = defaultdict(set)
    for order in history.orders:
        if until <= order.ts < until + DAYS * DAY_MS and order.shopper in known:
            later[order.shopper].update(order.items.tolist())
    names = sorted(later)
    chosen = sorted(np.random.default_rng(0).permutation(len(names))[:customers].tolist())
    items = ((name, np.array(sorted(later[name]))) for name in (names[one] for one in chosen))
    return before, [Order(name, until, some, np.zeros(len(some))) for name, some in items]


def waiting(client: "Redis", config: StreamsConfig, until: int) -> int:
    """Feeds that are due to be made again before a time (ms)."""
    shards = range(config.state.shards)
    return sum(int(client.zcount(keys.own(number, "renewals"), "-inf", f"({until}")) for number in shards)


def ask(frontend: Frontend, live: AsWorker, shop: Shop, first: int, offline: Offline) -> Asked:
    """Read the feeds of all shoppers of the fortnight, whose orders begin at a number; make them by other policies from
    what is in Redis, and rank offline."""
    orders, asked = shop.orders[first:], Asked()
    lying = [frontend.feed(order.shopper) for order in orders]
    live.follow(frontend.on_sale)
    with asyncio.Runner() as runner:
        runner.run(live.refresh())
        for order, feed in zip(orders, lying, strict=True):
            visited = frontend.visit(order.shopper, order.ts)
            old = offline.ask(order, shop.orders[:first], asked)
            asked.add_feeds(feed, visited, runner.run(live.feeds(order)), old)
        runner.run(live.store.client.aclose())
    return asked


@smoke(until=datetime(2011, 3, 1), customers=5)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    until: Annotated[datetime, typer.Option(help="The fortnight's first day.")] = datetime(2011, 9, 16),
    customers: Annotated[int, typer.Option(min=2, help="Shoppers that are asked for.")] = 500,
    version: Annotated[Version, typer.Option(help="The ranker.")] = "packaged",
) -> None:
    """Send, read, compare; half an hour."""
    console, began, cut = Console(stderr=True), time.monotonic(), epoch_ms(until)
    history = read(data or data_folder() / PURCHASES)
    before, fortnight = with_fortnight(history, cut, customers)
    shop = Shop(History([*before, *fortnight], history.ids, history.texts))
    encoder = Encoder()
    vectors = from_history.unit_vectors(encoder, [text(item) for item in shop.items])
    config = StreamsConfig(topics=TopicsConfig(partitions=PARTITIONS), policy=PolicyConfig(exploration=0.0))
    with tempfile.TemporaryDirectory() as name, Progress(console=console, transient=True) as progress:
        folder, feeds = Path(name), FeedRanker.packaged()
        if version == "trained":
            console.print("learning a version")
            feeds = trained(shop, vectors, ModelStore(str(folder / "models")), cut)
        weights = ease(bought(shop.orders[: len(before)], len(shop.ids)), REGULARISATION)
        offline = Offline(shop, vectors, Pairs(), feeds, ItemModel.cut(weights, 100))
        with running(shop, folder, config) as (config, frontend):
            task = progress.add_task("orders", total=len(before))
            for number, order in enumerate(shop.orders[: len(before)]):
                frontend.order(number, order)
                offline.take(order)
                progress.update(task, completed=number + 1)
            frontend.drain(cut)
            sent_s = time.monotonic() - began
            frontend.until(lambda: not waiting(frontend.redis, config, cut), patience_s=PATIENCE_S)
            renewed_s = time.monotonic() - began - sent_s
            live = AsWorker(shop, config, AsyncRedis.from_url(config.redis.url.get_secret_value()), encoder)
            live.rank_by(feeds)
            asked = ask(frontend, live, shop, len(before), offline)
            live.close()
    report = Report("fortnight", version=version, until=f"{until:%Y-%m-%d}", purchases=frontend.sent)
    for system, values in quality(asked):
        report.row(part=f"nDCG@20, {len(asked.truths)} shoppers", system=system, **values)
    report.facts |= {"sent_s": sent_s, "renewed_s": renewed_s, "wall_s": time.monotonic() - began}
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
