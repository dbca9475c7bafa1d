"""What does each stage of an event cost, by the size of the batch?

``python -m benchmarks.stages --json F``: the worker's pipeline in this process, on a real Redis; Kafka is left out.
Searches in words of products' titles and touches of products come from shoppers who have a past. Milliseconds an event,
medians over batches; ``all`` is the time of the whole batch. ``--profile`` says where the time of the largest batches
goes, by function.
"""

import asyncio
import cProfile
import gc
import pstats
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer
from redis.asyncio import Redis
from rich.progress import track

from benchmarks.end_to_end import SHOPPERS, Events, goods
from benchmarks.report import Report
from benchmarks.smoke import smoke
from benchmarks.worker_feed import changes, read_demand
from liveshelf.stack.redis import LocalRedis
from models.cpu import limit_blas, limit_threads
from models.encoder import Encoder
from models.late_interaction import LateInteractionScorer
from streams.catalog.catalog import Catalog
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events.schema import Item
from streams.features.trending import Trending
from streams.kafka.record import Record, Unsent
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.recommender import Recommender
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter, quantiles

SIZES = (1, 4, 16, 64)
PAST_BATCH = 64
STAGES = ("state", "encode", "candidates", "score", "policy", "reasons", "write")


async def _at_once(topic: str, key: bytes | None, value: bytes | None, headers: object = ()) -> Unsent | None:  # noqa: ARG001
    return None


class Worker:
    """A worker's pipeline over so many products, and the traffic that it is given."""

    def __init__(self, client: "Redis", items: int) -> None:
        self.config = StreamsConfig()
        made, encoder = goods(items), Encoder()
        catalogue = Catalog(encoder)
        catalogue.apply(changes([msgspec.convert(fields, Item) for _, fields in made], encoder))
        catalogue.commit()
        trending = Trending(self.config.state.trend_bucket_s, self.config.state.trend_buckets)
        scorer = LateInteractionScorer(catalogue.item_store, encoder_version=encoder.version)
        self.meter = Meter("worker", "benchmark", wall_ms())
        self.champion = Recommender(catalogue, scorer, trending, self.config)
        self.store = StateStore(client, self.config.state)
        arms = Arms(self.champion, self.meter)
        self.pipeline = Pipeline(arms, self.store, _at_once, self.meter, self.config)
        self._events, self._offset = Events(made, seed=1), 0
        gc.collect()
        gc.freeze()  # as a worker does

    def batch(self, size: int) -> list[Record]:
        """The next events."""
        now, records = wall_ms(), list[Record]()
        for _ in range(size):
            key, value = self._events.next()
            records.append(Record("events", 0, self._offset, now, key, value))
            self._offset += 1
        return records

    async def refresh(self) -> None:
        """Read what a worker reads now and then, beside its batches."""
        now = wall_ms()
        await self.pipeline.behaviour.refresh()
        await read_demand(self.store, self.champion.trending, self.config, now)
        self.champion.refresh(now)

    async def run(self, size: int) -> dict[str, float]:
        """Process one batch: milliseconds an event by stage, of all, and of the processor."""
        records = self.batch(size)
        self.meter.snapshot(wall_ms())
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*await self.pipeline.process(records))
        whole, busy = time.perf_counter() - began, time.process_time() - cpu
        taken = [self.meter.snapshot(wall_ms())]
        spent = {stage: quantiles(taken, stage, (0.5,))[0] for stage in STAGES}
        return {name: ms / size for name, ms in (spent | {"all": whole * 1000, "processor": busy * 1000}).items()}


async def measure(url: str, items: int, past: int, sizes: tuple[int, ...], batches: int, profile: bool) -> Report:
    """Rows by size of the batch, after some events that make the shoppers' past."""
    report = Report("stages", items=items, shoppers=SHOPPERS, past=past, batches=batches)
    async with Redis.from_url(url) as client:
        worker = Worker(client, items)
        for number in track(range(past // PAST_BATCH), "making the shoppers' past", transient=True):
            await worker.run(PAST_BATCH)
            if number % 10 == 0:
                await worker.refresh()
        for size in sizes:
            await worker.refresh()
            taken = [await worker.run(size) for _ in track(range(batches), f"batches of {size}", transient=True)]
            medians = {name: round(median(one[name] for one in taken), 3) for name in taken[0]}
            report.row(events_in_a_batch=size, **medians)
        if profile:
            with cProfile.Profile() as profiler:
                for _ in range(batches):
                    await worker.run(sizes[-1])
            pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
    return report


@smoke(items=40, past=64, batches=1)
def main(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 2_000,
    past: Annotated[int, typer.Option(help="Events before any that counts.")] = 6_400,
    batches: Annotated[int, typer.Option(help="Of each size.")] = 30,
    profile: Annotated[bool, typer.Option(help="Say where the time of the largest batches goes.")] = False,
) -> None:
    """Measure; about two minutes."""
    limit_threads(1)
    limit_blas(1)
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder), memory_mb=1_024) as server:
        asyncio.run(measure(server.address, items, past, SIZES, batches, profile)).write(json_path)


if __name__ == "__main__":
    typer.run(main)
