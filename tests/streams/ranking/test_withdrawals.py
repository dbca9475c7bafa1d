"""Taking items out of shelves on a real Redis, as one worker does it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Origin
from streams.catalog.topic_index import TopicIndex
from streams.config import PolicyConfig, RedisConfig, StreamsConfig
from streams.events.shelf import Shelf, ShelfItem, encoder, shelf_decoder
from streams.ranking.withdrawals import Withdrawals
from streams.redis.connection import connect
from streams.redis.store import SHOWN_KEPT, StateStore
from streams.telemetry.meter import Meter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

HELD_S = 120.0
TTL_S = StreamsConfig().shelf.ttl_s


class Shelves:
    """Shelves in Redis, and the worker that sees to them."""

    def __init__(self, url: str, catalogue: Catalog, config: StreamsConfig) -> None:
        self.client = connect(RedisConfig(url=url))
        self.store = StateStore(self.client, config.state)
        self.catalogue, self.topic_index = catalogue, TopicIndex(catalogue.encoder.version)
        self.owned = {0}
        self.meter = Meter("worker", "w", 0)
        self.work = Withdrawals(
            self.store, lambda: (self.catalogue, self.topic_index), lambda: set(self.owned), self.meter, config
        )
        for item in ("hdmi", "usb", "mouse"):
            self.topic_index.put(item, catalogue.encoder.version, Origin(0, 1))

    @asynccontextmanager
    async def seen_to(self) -> AsyncIterator[None]:
        """While the worker runs and after its first pass."""
        running = asyncio.create_task(self.work.run())
        try:
            await self.until(lambda: self.passes(1))
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def passes(self, count: int) -> bool:
        return self.meter._counts["shelves.passes"] >= count

    async def put(self, *keys: str, items: Sequence[str] = ("hdmi", "usb"), noted: bool = True) -> None:
        told = [ShelfItem(item, 0.1, 0.1, 0.1, 0.1, "vector") for item in items]
        shelf = Shelf(shelf_id="s", surface="feed", model="m", arm="champion", made_at=1, event_ts=1, items=told)
        values = [(key, encoder.encode(shelf), 1) for key in keys]
        await self.store.put(values, TTL_S, [items] * len(keys) if noted else ())

    async def shown(self, key: str) -> list[str]:
        value = await self.client.get(key)
        return [] if value is None else [item.item_id for item in shelf_decoder.decode(value).items]

    def delete(self, item: str, partition: int = 0) -> None:
        origin = Origin(partition, 9)
        self.topic_index.delete(item, self.catalogue.encoder.version, origin)
        self.catalogue.apply([Change(item, None, origin)])
        self.work.withdraw([(item, partition)])

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(HELD_S):
            while not await holds():
                await asyncio.sleep(0.02)


def run(
    url: str, catalogue: Catalog, story: Callable[[Shelves], Awaitable[None]], config: StreamsConfig | None = None
) -> None:
    """Tell a story on a worker's shelves."""

    async def main() -> None:
        shelves = Shelves(url, catalogue, config or StreamsConfig())
        try:
            await story(shelves)
        finally:
            await shelves.client.aclose()

    asyncio.run(main())


def test_a_shelf_by_someone_who_did_not_know_loses_the_item_too(redis_db: str, catalogue: Catalog) -> None:
    async def story(shelves: Shelves) -> None:
        async with shelves.seen_to():
            await shelves.put("shelf:feed:u")
            shelves.delete("hdmi")

            async def gone() -> bool:
                return await shelves.shown("shelf:feed:u") == ["usb"]

            await shelves.until(gone)
            await shelves.put("shelf:feed:u")
            assert await shelves.shown("shelf:feed:u") == ["hdmi", "usb"]
            await shelves.until(gone)

    run(redis_db, catalogue, story)


def test_an_item_on_more_shelves_than_are_noted_leaves_all_of_them(redis_db: str, catalogue: Catalog) -> None:
    async def story(shelves: Shelves) -> None:
        async with shelves.seen_to():
            keys = [f"shelf:feed:{n}" for n in range(SHOWN_KEPT + 300)]
            for start in range(0, len(keys), 64):
                await shelves.put(*keys[start : start + 64])
            shelves.delete("hdmi")
            await shelves.until(lambda: shelves.passes(2))
            assert {tuple(await shelves.shown(key)) for key in keys} == {("usb",)}

    run(redis_db, catalogue, story)


def test_what_another_worker_left_undone_is_done_when_its_partitions_come(redis_db: str, catalogue: Catalog) -> None:
    async def story(shelves: Shelves) -> None:
        async with shelves.seen_to():
            await shelves.put("shelf:feed:u", "shelf:popular:tv", noted=False)
            await shelves.put("shelf:popular:tv", items=["hdmi"])
            shelves.delete("hdmi", partition=1)
            await asyncio.sleep(1)
            assert await shelves.shown("shelf:feed:u") == ["hdmi", "usb"], "it is another worker's"
            shelves.owned |= {1}
            await shelves.until(lambda: shelves.passes(2))
            assert await shelves.shown("shelf:feed:u") == ["usb"]
            assert await shelves.client.get("shelf:popular:tv") is None

    run(redis_db, catalogue, story)


def test_a_restock_is_not_hidden_and_sold_out_may_be_allowed(redis_db: str, catalogue: Catalog) -> None:
    slot = catalogue.slot("hdmi")
    assert slot is not None

    async def story(shelves: Shelves) -> None:
        async with shelves.seen_to():
            await shelves.put("shelf:feed:u")
            catalogue.in_stock[slot] = False
            shelves.work.withdraw([("hdmi", 0)])
            catalogue.in_stock[slot] = True
            await asyncio.sleep(3)
            assert await shelves.shown("shelf:feed:u") == ["hdmi", "usb"]

    async def lax(shelves: Shelves) -> None:
        catalogue.in_stock[slot] = False
        await shelves.put("shelf:feed:u")
        async with shelves.seen_to():
            shelves.work.withdraw([("hdmi", 0)])
            await asyncio.sleep(1)
            assert await shelves.shown("shelf:feed:u") == ["hdmi", "usb"]

    run(redis_db, catalogue, story)
    run(redis_db, catalogue, lax, StreamsConfig(policy=PolicyConfig(steps=("diversity",))))


def test_a_catalogue_that_was_lost_empties_no_shelf(redis_db: str, catalogue: Catalog) -> None:
    async def story(shelves: Shelves) -> None:
        shelves.catalogue, shelves.topic_index = Catalog(catalogue.encoder), TopicIndex(catalogue.encoder.version)
        await shelves.put("shelf:feed:u")
        await shelves.work._pass()
        assert await shelves.shown("shelf:feed:u") == ["hdmi", "usb"]

    run(redis_db, catalogue, story)
