"""What does an event cost, and what does an item take in memory, as the catalogue grows from a thousand to a million?

``python -m benchmarks.catalogue --json FILE``: real Icecat items first; beyond them synthetic ones, each spliced from
the words and vectors of two real ones, with noise. No Kafka and no Redis: a catalogue filled directly, and the
recommender's candidates, scoring and policy over it. Then a snapshot of it is written, and further processes map it, as
the workers of a host do: how long they take to start, and what memory each has of its own.
"""

import gc
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import psutil
import typer
from rich.progress import Progress

from benchmarks.data import data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.demo.catalogs import icecat
from models.cpu import limit_threads
from models.encoded import EncodedItem, quantise
from models.encoder import Encoder
from models.late_interaction import LateInteractionScorer
from models.projection import orthogonal
from models.trigrams import trigrams
from streams.batch import Batch, Recent, rank_requests
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Embedding, Origin, text
from streams.catalog.lexical_index import LexicalIndex, link_files
from streams.catalog.snapshot import LAYOUT, Meta, Snapshots, Writer
from streams.catalog.topic_index import TopicIndex
from streams.config import StreamsConfig
from streams.events.schema import AnyEvent, Click, Item, Search
from streams.features.shopper import Asked, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking.recommender import RankRequest, Recommender, anchors

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CHUNK = 1_000
BATCH = 16
SEARCHES = 0.4
SHOPPERS = 500
NOISE = 0.3
"""Length of the random part of a synthetic vector, beside 1 for the real part."""
TOPIC = "benchmark"
OVERHEAD_BYTES = 2_000
"""What an item is taken to need beside its vectors, to judge whether a size fits: facts, names, both indexes."""
MEMORY_SHARE = 0.7
NOW_MS = 1_700_000_000_000
STAGES = ("candidates", "score", "policy", "reasons")
Floats = npt.NDArray[np.float32]


class Goods:
    """Real items, and any number of synthetic ones made of them."""

    def __init__(self, items: Sequence[Item], encoder: Encoder) -> None:
        self.items, self.encoder = items, encoder
        self.encoded = [
            one
            for start in range(0, len(items), 256)
            for one in encoder.encode_items([*map(text, items[start : start + 256])])
        ]
        self.narrow = orthogonal(encoder.dim, encoder.token_dim)
        self.chance, self.offset = np.random.default_rng(0), 0

    def changes(self, start: int, stop: int) -> list[Change]:
        """Items number ``start`` to ``stop``, ready for a catalogue."""
        noise = self.chance.standard_normal((stop - start, self.encoder.dim), np.float32)
        noise = NOISE * _unit(noise)
        return [
            self._real(n) if n < len(self.items) else self._spliced(n, noise[n - start]) for n in range(start, stop)
        ]

    def _real(self, number: int) -> Change:
        return self._change(self.items[number], self.encoded[number])

    def _spliced(self, number: int, noise: Floats) -> Change:
        one, other = (int(n) for n in self.chance.integers(0, len(self.items), 2))
        share = float(self.chance.uniform(0.3, 0.7))
        first, second = self.encoded[one], self.encoded[other]
        head = max(1, round(share * len(first.tokens)))
        tail = round(share * len(second.tokens))
        most = self.encoder.max_item_tokens
        real = np.concatenate([first.restored()[:head], second.restored()[tail:]])[:most]
        tokens, scales = quantise(_unit(real + noise @ self.narrow))
        ids = np.concatenate([first.ids[:head], second.ids[tail:]])[:most]
        pooled = share * first.pooled.astype(np.float32) + (1 - share) * second.pooled.astype(np.float32)
        title = self.items[one].title.split()
        rest = self.items[other].title.split()
        words = title[: max(1, round(share * len(title)))] + rest[round(share * len(rest)) :]
        item = msgspec.structs.replace(
            self.items[one], item_id=f"synthetic-{number}", title=" ".join(words), description="", attributes={}
        )
        return self._change(
            item,
            EncodedItem(
                tokens,
                scales.astype(np.float16),
                _unit(_unit(pooled) + noise).astype(np.float16),
                ids,
                trigrams(" ".join(words)),
            ),
        )

    def _change(self, item: Item, encoded: EncodedItem) -> Change:
        self.offset += 1
        embedding = Embedding.of(item, self.encoder.version, encoded)
        return Change(item.item_id, embedding, Origin(0, self.offset, NOW_MS))


class Traffic:
    """Batches of asks as the worker makes them: shoppers with a past, some searching and some clicking."""

    def __init__(self, catalogue: Catalog, seed: int) -> None:
        self.catalogue, self.chance, self.count = catalogue, np.random.default_rng(seed), 0
        self.shoppers = {f"u{n}": self._past() for n in range(SHOPPERS)}

    def item(self) -> Item:
        """Any item of the catalogue."""
        return self.catalogue.item(int(self.chance.integers(0, len(self.catalogue))))

    def query(self) -> str:
        """Two to four words of a title that follow each other."""
        words = self.item().title.lower().split()
        start = int(self.chance.integers(0, max(1, len(words) - 3)))
        return " ".join(words[start : start + int(self.chance.integers(2, 5))])[:200]

    def batch(self, size: int) -> list[RankRequest]:
        """The asks that a batch of so many events leads to."""
        batch = Batch()
        for _ in range(size):
            user = f"u{self.chance.integers(0, SHOPPERS)}"
            batch.by_shopper.setdefault(user, []).append(self._event(user))
        return rank_requests(batch, self.shoppers, Recent(0), NOW_MS)

    def search(self) -> list[RankRequest]:
        """One search of someone without a past."""
        self.count += 1
        return [RankRequest("search", f"e{self.count}", NOW_MS, query=self.query())]

    def together(self, wanted: Sequence[RankRequest]) -> dict[str, list[str]]:
        """Ten neighbours for each item that is asked about."""
        return {item: [self.item().item_id for _ in range(10)] for ask in wanted for item in anchors(ask)}

    def _event(self, user: str) -> AnyEvent:
        self.count += 1
        if self.chance.random() < SEARCHES:
            return Search(event_id=f"e{self.count}", ts=NOW_MS, user_id=user, query=self.query())
        return Click(event_id=f"e{self.count}", ts=NOW_MS, user_id=user, item_id=self.item().item_id)

    def _past(self) -> Shopper:
        touched = tuple(Touched(NOW_MS - 60_000 * age, "click", self.item().item_id) for age in range(1, 9))
        asked = tuple(Asked(NOW_MS - 60_000 * age, self.query()) for age in range(1, 3))
        return Shopper(touched, asked)


class Served:
    """A catalogue, and what ranks its items."""

    def __init__(self, encoder: Encoder) -> None:
        self.catalogue, self.topic_index = Catalog(encoder), TopicIndex(encoder.version)
        self.config = StreamsConfig()
        self.trending = Trending(self.config.state.trend_bucket_s, self.config.state.trend_buckets)
        scorer = LateInteractionScorer(self.catalogue.item_store, encoder_version=encoder.version)
        self.recommender = Recommender(self.catalogue, scorer, self.trending, self.config)

    def rounds(self, traffic: Traffic, batches: int) -> list[dict[str, float]]:
        """Milliseconds of each stage, by batch."""
        self.trending.update("all", self.trending.bucket(NOW_MS), {traffic.item().item_id: n + 1 for n in range(300)})
        self.recommender.refresh(NOW_MS)
        made = []
        for _ in range(batches):
            asked = traffic.batch(BATCH)
            made.append(self.recommender.recommend(asked, traffic.together(asked), NOW_MS).stages)
        return made[batches // 10 :]  # the first meet cold caches


def ms_per_event(rounds: Sequence[dict[str, float]]) -> float:
    """The median over batches."""
    return statistics.median(sum(one[stage] for stage in STAGES) for one in rounds) / BATCH


def further(root: Path, item_tokens: int, batches: int, pipe: Connection) -> None:
    """A further worker's process: map the newest snapshot, rank some batches, and say what it takes when asked."""
    limit_threads(1)
    encoder, process = Encoder(max_item_tokens=item_tokens), psutil.Process()
    encoder.warm_up(BATCH)
    gc.collect()
    before, own_before = process.memory_full_info(), anonymous_bytes()
    begin, worked = time.perf_counter(), time.process_time()
    snapshots = Snapshots(root, encoder.version, TOPIC)
    own, lock = snapshots.own_folder()
    snapshot = snapshots.newest()
    assert snapshot is not None
    served = Served(encoder)
    (own / "words").mkdir()
    link_files(snapshot.folder / "words", own / "words")
    served.catalogue.restore(snapshot, LexicalIndex(own / "words"))
    served.topic_index.restore(snapshot)
    start_s, start_cpu_s = time.perf_counter() - begin, time.process_time() - worked
    cost = ms_per_event(served.rounds(Traffic(served.catalogue, seed=1), batches))
    gc.collect()
    pipe.send({"start_s": start_s, "start_cpu_s": start_cpu_s, "ms_per_event": cost})
    pipe.recv()  # until all others are as far
    now = process.memory_full_info()
    kb = {f"{name}_kb_per_item": getattr(now, name) - getattr(before, name) for name in ("rss", "pss")}
    kb["own_kb_per_item"] = anonymous_bytes() - own_before
    pipe.send({name: value / len(served.catalogue) / 1_000 for name, value in kb.items()})
    pipe.recv()
    lock.close()


def anonymous_bytes() -> int:
    """Memory of this process that is no file's page: its own, and what it changed of mapped files. Linux only."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("Anonymous:"))


class Bench(Served):
    """One catalogue that grows from size to size; with a folder, snapshots of it can be written there."""

    def __init__(self, goods: Goods, progress: Progress, root: Path | None = None) -> None:
        self.goods, self.progress, self.root = goods, progress, root
        self.process = psutil.Process()
        gc.collect()
        self.empty_rss = self.process.memory_info().rss
        super().__init__(goods.encoder)
        if root is not None:
            (root / "own").mkdir()
            self.catalogue.lexical = LexicalIndex(root / "own")
        self.build_s = 0.0

    def needed(self, size: int) -> int:
        """Bytes that growing to a size is expected to take."""
        return (size - len(self.catalogue)) * (self.catalogue.item_store.bytes_per_item + OVERHEAD_BYTES)

    def grow(self, size: int) -> None:
        """Fill the catalogue up to a size; only its own work is timed, not the making of items."""
        task = self.progress.add_task(f"filling to {size:,}", total=size, completed=len(self.catalogue))
        for start in range(len(self.catalogue), size, CHUNK):
            changes = self.goods.changes(start, min(start + CHUNK, size))
            begin = time.perf_counter()
            for change in changes:
                assert change.embedding is not None and change.origin is not None
                self.topic_index.put(change.item_id, change.embedding.encoder, change.origin)
            self.catalogue.apply(changes)
            self.build_s += time.perf_counter() - begin
            self.progress.update(task, completed=len(self.catalogue))
        begin = time.perf_counter()
        self.catalogue.commit()
        self.build_s += time.perf_counter() - begin
        self.progress.remove_task(task)

    def measure(self, batches: int) -> dict[str, float]:
        """Median milliseconds per event and stage in batches, the quantiles of one search alone, memory per item."""
        traffic = Traffic(self.catalogue, seed=len(self.catalogue))
        task = self.progress.add_task(f"measuring {len(self.catalogue):,}", total=None)
        rounds = self.rounds(traffic, batches)
        alone: list[float] = []
        for _ in range(batches):
            stages = self.recommender.recommend(traffic.search(), {}, NOW_MS).stages
            alone.append(sum(stages[stage] for stage in STAGES))
        self.progress.remove_task(task)
        gc.collect()
        count = len(self.catalogue)
        cost = {f"{stage}_ms": statistics.median(one[stage] for one in rounds) / BATCH for stage in STAGES}
        return cost | {
            "ms_per_event": ms_per_event(rounds),
            "search_p50_ms": float(np.quantile(alone, 0.5)),
            "search_p99_ms": float(np.quantile(alone, 0.99)),
            "nearest_found": self._recall(traffic),
            "build_s": self.build_s,
            "rss_kb_per_item": (self.process.memory_info().rss - self.empty_rss) / count / 1000,
            "item_memory_kb": self.catalogue.item_store.nbytes / count / 1000,
            "vector_index_kb": self.catalogue.vectors.nbytes / count / 1000,
        }

    def write(self) -> dict[str, float]:
        """Write a snapshot in a process beside this one; seconds that took, and its bytes an item on the disk."""
        assert self.root is not None
        snapshots = Snapshots(self.root, self.goods.encoder.version, TOPIC)
        meta = Meta(LAYOUT, snapshots.encoder, TOPIC, len(self.catalogue), int(time.time() * 1_000), {}, {})
        begin = time.perf_counter()
        snapshots.write(meta, lambda to: self.catalogue.lexical.copy_files(to / "words"), self._save)
        paused_s = time.perf_counter() - begin
        while not snapshots.written():
            time.sleep(0.05)
        newest = snapshots.newest()
        assert newest is not None
        stored = sum(512 * path.stat().st_blocks for path in newest.folder.rglob("*"))
        newest.close()
        count = len(self.catalogue)
        return {"pause_s": paused_s, "write_s": time.perf_counter() - begin, "disk_kb": stored / count / 1_000}

    def _save(self, writer: Writer) -> None:
        self.catalogue.save(writer)
        self.topic_index.save(writer)

    def further(self, count: int, item_tokens: int, batches: int) -> list[dict[str, float]]:
        """What each of so many further workers takes, all at the same time."""
        spawn = multiprocessing.get_context("spawn")
        pipes, processes = [], []
        for _ in range(count):
            here, there = spawn.Pipe()
            process = spawn.Process(target=further, args=(self.root, item_tokens, batches, there))
            process.start()
            pipes.append(here)
            processes.append(process)
        started = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send("now")
        rows = [one | pipe.recv() for one, pipe in zip(started, pipes, strict=True)]
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send("end")
            process.join()
        return rows

    def _recall(self, traffic: Traffic, probes: int = 50) -> float:
        """Share of the true nearest ten that the vector index brings among its candidates."""
        queries = [traffic.query() for _ in range(probes)]
        wanted = np.stack([query.pooled for query in self.goods.encoder.encode_queries(queries)])
        best = np.empty((probes, 0), np.float32)
        where = np.empty((probes, 0), np.int64)
        for start in range(0, len(self.catalogue), 50_000):
            slots = np.arange(start, min(start + 50_000, len(self.catalogue)))
            best = np.concatenate([best, wanted @ self.catalogue.item_store.pooled(slots).T], axis=1)
            where = np.concatenate([where, np.broadcast_to(slots, (probes, len(slots)))], axis=1)
            top = np.argpartition(-best, 10, axis=1)[:, :10]
            best, where = np.take_along_axis(best, top, 1), np.take_along_axis(where, top, 1)
        found = self.catalogue.vectors.search(wanted, self.config.candidates.vector)
        return float(np.mean([np.isin(true, near).mean() for true, near in zip(where, found, strict=True)]))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


@smoke(largest=300, reals=40, batches=3, workers=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    largest: Annotated[
        int, typer.Option(help="Largest catalogue: 1000000 needs 7 GB, and as much on the disk.")
    ] = 100_000,
    reals: Annotated[int, typer.Option("--real", help="Real items; all others are made of them.")] = 1_500,
    item_tokens: Annotated[int, typer.Option(help="Tokens kept of an item: what memory mostly goes into.")] = 32,
    batches: Annotated[int, typer.Option(help="Batches measured at each size.")] = 100,
    workers: Annotated[int, typer.Option(help="Further workers that map the largest catalogue.")] = 2,
    threads: Annotated[int, typer.Option(help="Cores one model call may use; 0 leaves it to torch.")] = 1,
) -> None:
    """Measure and print; two minutes up to 100,000 items."""
    limit_threads(threads)
    report = Report("catalogue", real_items=reals, item_tokens=item_tokens, batch=BATCH, searches=SEARCHES)
    with Progress(transient=True) as progress, tempfile.TemporaryDirectory() as folder:
        waiting = progress.add_task("encoding real items", total=None)
        bench = Bench(Goods(icecat(data_folder(), reals), Encoder(max_item_tokens=item_tokens)), progress, Path(folder))
        progress.remove_task(waiting)
        for size in sorted({largest, *(size for size in SIZES if size <= largest)}):
            needed, free = bench.needed(size), psutil.virtual_memory().available
            if needed > MEMORY_SHARE * free:
                told = f"{size:,} items need {needed / 1e9:.1f} GB more; of {free / 1e9:.1f} GB free that is too much"
                report.facts["stopped"] = told
                progress.console.print(told)
                break
            bench.grow(size)
            report.row(part="one worker", items=size, **bench.measure(batches))
            progress.console.print(f"{size:,} items: {report.rows[-1]['ms_per_event']:.2f} ms an event")
        if workers:
            report.facts |= bench.write()
            for row in bench.further(workers, item_tokens, batches):
                report.row(part="further workers", items=len(bench.catalogue), **row)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
