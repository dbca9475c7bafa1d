"""What is known of shelves on a real Redis: a bucket that lost something says so, and is not believed meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from evaluator.attribution.example import ShelfContext
from evaluator.attribution.shelf_store import BUCKETS, OffsetRange, ShelfStore, bucket

pytestmark = pytest.mark.integration

KNOWN = ShelfContext(model="m", arm="a", query="tv", history=[], items=["i"], propensities=[0.5])
SHELVES = {f"s{number}": KNOWN for number in range(50)}


def on(url: str, work: Callable[[ShelfStore], Awaitable[None]]) -> None:
    async def run() -> None:
        client = Redis.from_url(url)
        try:
            await work(ShelfStore(client, "g", 100))
        finally:
            await client.aclose()

    asyncio.run(run())


def test_shelves_are_known_up_to_where_the_slowest_partition_is(redis_db: str) -> None:
    async def work(store: ShelfStore) -> None:
        assert await store.lowest([0, 1]) == {0: -1, 1: -1} and await store.lowest([]) == {}
        for partition in (0, 1):
            await store.begin(partition, 0)
        assert await store.remember(SHELVES, [OffsetRange(0, 0, 50, 900)]) == {0: 50}
        assert await store.known(["s1"], 1, 2) == {}, "nothing is told of one partition"
        assert await store.remember({}, [OffsetRange(0, 50, 50), OffsetRange(1, 0, 7, 700)]) == {0: 50, 1: 7}
        assert await store.known(["s1", "s2", "none", "s1"], 700, 2) == {"s1": KNOWN, "s2": KNOWN, "none": None}
        assert await store.known(["s1"], 701, 2) == {} and await store.known(["s1"], 900, 1) == {"s1": KNOWN}
        assert await store.known(["s1"], 1, 3) == {} and await store.known(["s1"], 0, 0) == {}
        assert await store.lowest([1, 0]) == {1: 7, 0: 50}
        keys = [key async for key in store.client.scan_iter("*:shelf:*")]
        assert len(keys) == 50 and all([0 < await store.client.ttl(key) <= 100 for key in keys])

    on(redis_db, work)


def test_a_bucket_that_lost_something_says_so_and_is_not_believed_until_it_has_all_again(redis_db: str) -> None:
    async def work(store: ShelfStore) -> None:
        early, late = dict(list(SHELVES.items())[:10]), dict(list(SHELVES.items())[10:])
        await store.begin(0, 0)
        await store.remember(early, [OffsetRange(0, 0, 10, 100)])
        mine = store.marks(bucket("s20"))
        told = await store.client.dump(mine)
        await store.remember(late, [OffsetRange(0, 10, 50, 500)])
        assert (await store.known(SHELVES, 500, 1)) == SHELVES
        await store.client.restore(mine, 0, told, replace=True)
        for shelf_id in (one for one in late if bucket(one) == bucket("s20")):
            await store.client.delete(mine.replace("marks", f"shelf:{shelf_id}"))
        assert (await store.known(SHELVES, 500, 1)).keys() == {one for one in SHELVES if bucket(one) != bucket("s20")}
        for _ in range(2):  # a batch later on changes nothing about it
            assert await store.remember({"s50": KNOWN}, [OffsetRange(0, 50, 51, 510)]) == {0: 10}
            assert "s20" not in await store.known(SHELVES, 500, 1)
        assert await store.lowest([0]) == {0: 10}
        assert await store.remember(late, [OffsetRange(0, 10, 50, 500)]) == {0: 50}
        assert await store.known(SHELVES, 500, 1) == SHELVES
        assert await store.remember({"s50": KNOWN}, [OffsetRange(0, 50, 51, 510)]) == {0: 51}

    on(redis_db, work)


def test_offsets_that_begin_anew_take_the_place_of_higher_ones(redis_db: str) -> None:
    async def work(store: ShelfStore) -> None:
        await store.begin(0, 0)
        await store.remember({}, [OffsetRange(0, 0, 1_000, 900)])
        await store.begin(0, 0)
        assert await store.known(["s1"], 1, 1) == {}, "up to when it is known is not told any more"
        assert await store.remember({"s1": KNOWN}, [OffsetRange(0, 0, 3, 950)]) == {0: 3}
        assert await store.known(["s1"], 950, 1) == {"s1": KNOWN}

    on(redis_db, work)


def test_a_redis_that_lost_its_scripts_gets_them_again(redis_db: str) -> None:
    async def work(store: ShelfStore) -> None:
        await store.begin(0, 0)
        for offset in range(3):
            assert await store.remember(SHELVES, [OffsetRange(0, offset, offset + 1, 5)]) == {0: offset + 1}
            await store.client.script_flush()
            assert await store.known(["s1"], 5, 1) == {"s1": KNOWN}
            await store.client.script_flush()

    on(redis_db, work)


def test_every_bucket_is_used_and_ids_may_be_anything() -> None:
    assert {bucket(f"{number:024x}") for number in range(500)} == set(range(BUCKETS))
    assert 0 <= bucket("{é}\ud800 ") < BUCKETS
