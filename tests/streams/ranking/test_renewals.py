"""A feed that lies in Redis is what its shopper would get now: it is made again while the shopper is away."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from models.constant import ConstantScorer
from streams.catalog.catalog import Catalog
from streams.clock import StreamClock
from streams.config import PolicyConfig, RedisConfig, ShelfConfig, StreamsConfig
from streams.events.schema import AnyEvent, Click, Forget, Purchase
from streams.events.shelf import ShelfRecord, encoder
from streams.features.items import DAY_MS
from streams.features.shopper import shard
from streams.features.trending import Trending
from streams.ranking.arms import Arms
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest, Recommender
from streams.ranking.renewals import FIRST_MS, LEASE_MS, Renewals, following, renewals
from streams.redis import keys
from streams.redis.connection import connect
from streams.redis.identity import Identity
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

pytestmark = pytest.mark.integration

START = 1_600_000_000_000


class Worker:
    """The parts of a worker that make feeds, and a stream whose time is set."""

    def __init__(self, client: Any, catalogue: Catalog, **shelf: Any) -> None:
        self.config = StreamsConfig(policy=PolicyConfig(exploration=0.0), shelf=ShelfConfig(**shelf))
        self.store, self.clock = StateStore(client, self.config.state), StreamClock()
        self.identity = Identity(self.store)
        self.meter = Meter("worker", "w", 0)
        champion = Recommender(catalogue, ConstantScorer(), Trending(3_600, 24), self.config)
        self.arms = Arms(champion, self.meter)
        self.live = LiveBehaviour(self.store, champion.behaviour, self.config.state)
        self.records: list[ShelfRecord] = []
        self.renewals = Renewals(
            self.store,
            self.arms,
            self.clock,
            self.together,
            self.write,
            self.identity.drop_feed,
            self.meter,
            self.config,
        )

    async def together(self, *_: Any) -> dict[str, list[str]]:
        await self.live.refresh()
        return {}

    async def write(self, records: Any, due: Any = None) -> None:
        self.records += records
        values = [(one.key, msgspec.json.encode(one.shelf), one.shelf.event_ts) for one in records]
        await self.store.put(values, self.config.shelf.ttl_s, (), {}, due or {})

    async def take(self, *events: AnyEvent) -> None:
        """Make the feed of one shopper's events, and pass their time."""
        name, newest = events[0].shopper, events[-1]
        shoppers, _ = await self.store.remember({name: events}, 10)
        self.pass_until(newest.time_ms)
        request = RankRequest("feed", newest.event_id, newest.time_ms, name, shoppers[name])
        together = await self.together([request], newest.time_ms)
        await self.write(self.arms.recommend([request], together, newest.time_ms).records, renewals([request]))

    def pass_until(self, ms: int) -> None:
        self.clock.update(ms, ms)

    async def turns(self) -> int:
        """Go through all shards; nobody waits for time."""
        return sum([await self.renewals.turn(self.clock.newest_ms) for _ in range(self.config.state.shards)])

    async def feed(self, name: str) -> tuple[int, list[str]]:
        [value] = await self.store.values([keys.feed(name)])
        shelf = json.loads(value or b"{}")
        return shelf["event_ts"], [item["item_id"] for item in shelf["items"]]


def bought(item: str, day: float, shopper: str = "u") -> Purchase:
    return Purchase(event_id=f"{shopper}-{item}-{day}", ts=START + int(day * DAY_MS), user_id=shopper, item_id=item)


def on(url: str, catalogue: Catalog, work: Any, **shelf: Any) -> None:
    async def main() -> None:
        client = connect(RedisConfig(url=url))  # type: ignore[arg-type]
        try:
            await work(Worker(client, catalogue, **shelf))
        finally:
            await client.aclose()

    asyncio.run(main())


def test_what_was_bought_is_back_once_it_is_due_though_nothing_happens(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        for day in (0, 40, 80, 120):  # who comes back for it comes every forty days: after two it is due
            await worker.take(bought("toner", day, "v"))
        await worker.take(bought("toner", 120))
        first, shown = await worker.feed("u")
        assert "toner" not in shown
        worker.pass_until(START + 121 * DAY_MS - 1)
        assert await worker.turns() == 0, "nobody has been away for a day"
        for day, due in ((121.5, False), (125, True)):
            worker.pass_until(START + int(day * DAY_MS))
            await worker.turns()
            again, shown = await worker.feed("u")
            assert again == first, "no event is newer"
            assert ("toner" in shown) is due
        assert len({one.shelf.shelf_id for one in worker.records}) == len(worker.records)

    on(redis_db, catalogue, work)


def test_a_feed_is_made_again_at_twice_its_age_until_its_shopper_is_gone_for_good(
    redis_db: str, catalogue: Catalog
) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        made = []
        for hour in range(0, 24 * 20, 6):
            worker.pass_until(START + hour * 3_600_000)
            if await worker.turns():
                made.append(hour / 24)
        assert made == [1, 2, 4, 7.5, 11, 14.5]
        assert not await worker.store.client.exists(*(keys.own(n, "renewals") for n in range(8)))

    on(redis_db, catalogue, work, renewed_s=15 * 86_400)


def test_who_returns_has_a_feed_of_the_newest_event_and_who_bought_nothing_is_not_waited_for(
    redis_db: str, catalogue: Catalog
) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        await worker.take(Click(event_id="c", ts=START, user_id="w", item_id="mouse"))
        await worker.take(Click(event_id="d", ts=START + DAY_MS // 2, user_id="u", item_id="pad"))
        worker.pass_until(START + DAY_MS)
        assert await worker.turns() == 0, "a day after the click"
        worker.pass_until(START + 2 * DAY_MS)
        assert await worker.turns() == 1
        assert (await worker.feed("u"))[0] == START + DAY_MS // 2

    on(redis_db, catalogue, work)


def test_an_event_that_comes_while_a_feed_is_made_again_stays(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        worker.pass_until(START + 2 * DAY_MS)
        together, click = worker.together, Click(event_id="c", ts=START + 2 * DAY_MS, user_id="u", item_id="pad")

        async def meanwhile(requests: Any, now_ms: int) -> dict[str, list[str]]:
            worker.renewals.together = together
            await worker.take(click)
            return {}

        worker.renewals.together = meanwhile
        assert await worker.turns() == 1
        assert (await worker.feed("u"))[0] == click.ts
        worker.pass_until(click.ts + FIRST_MS)
        assert await worker.turns() == 1, "what the click noted was not replaced"

    on(redis_db, catalogue, work)


def test_a_feed_whose_taker_died_is_taken_again_and_one_that_is_forgotten_never(
    redis_db: str, catalogue: Catalog
) -> None:
    async def work(worker: Worker) -> None:
        for shopper in ("u", "v"):
            await worker.take(bought("mouse", 0, shopper))
        worker.pass_until(START + DAY_MS)
        clock, shards = worker.clock.newest_ms, range(worker.config.state.shards)
        taken = [await worker.store.take_due(number, clock, clock + LEASE_MS, 4) for number in shards]
        assert sorted(name for one in taken for name in one) == ["u", "v"]
        assert await worker.turns() == 0
        await worker.identity.forget(Forget(event_id="f", ts=clock, user_id="v"))
        worker.pass_until(clock + LEASE_MS)
        assert await worker.turns() == 1

    on(redis_db, catalogue, work)


def test_lives_of_what_is_remembered_do_not_go_on_by_reading(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        key = keys.own(shard("u", worker.config.state.shards), "items", "u")
        await worker.store.client.expire(key, 100)
        worker.pass_until(START + DAY_MS)
        assert await worker.turns() == 1
        assert await worker.store.client.ttl(key) <= 100

    on(redis_db, catalogue, work)


def test_a_renewed_feed_is_a_record_like_others(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        worker.pass_until(START + DAY_MS)
        await worker.turns()
        first, again = worker.records
        assert (first.renewed, again.renewed) == (False, True)
        assert len(again.propensities) == len(again.shelf.items) and again.shelf.arm == first.shelf.arm
        assert json.loads(encoder.encode(again))["renewed"] is True

    on(redis_db, catalogue, work)


def test_a_short_life_of_shelves_makes_no_more_feeds() -> None:
    assert following(0, DAY_MS, 60) == 2 * DAY_MS


def test_who_is_forgotten_while_the_feed_is_made_has_none(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        worker.pass_until(START + DAY_MS)

        async def meanwhile(*_: Any) -> dict[str, list[str]]:
            await worker.identity.forget(Forget(event_id="f", ts=START + DAY_MS, user_id="u"))
            return {}

        worker.renewals.together = meanwhile
        assert await worker.turns() == 1
        left = [key async for key in worker.store.client.scan_iter("*") if b":forgotten:" not in key]
        assert left == [] or not any(key.split(b":")[-1] == b"u" for key in left), left
        assert not await worker.store.client.exists(keys.feed("u"))

    on(redis_db, catalogue, work)


@pytest.mark.parametrize("lying", [b'{"event_ts":' + b"9" * 400 + b"}", b'{"a":' + b"[" * 100_000, b"\xff", b"{}"])
def test_whatever_lies_where_a_feed_should_the_feed_is_made_again(
    redis_db: str, catalogue: Catalog, lying: bytes
) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        await worker.store.client.set(keys.feed("u"), lying)
        worker.pass_until(START + 2 * DAY_MS)
        assert await worker.turns() == 1
        assert (await worker.feed("u"))[0] > START - DAY_MS

    on(redis_db, catalogue, work)


def test_state_that_is_not_ours_ends_no_worker_and_is_not_taken_again(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        client, shards = worker.store.client, worker.config.state.shards
        for shopper in ("u", "v"):
            await worker.take(bought("mouse", 0, shopper))
        await client.hset(keys.own(shard("v", shards), "forgotten", "v"), "at", "nan")
        mine = keys.own(shard("u", shards), "renewals")
        await client.zadd(mine, {b"u": "-inf", b"\xff": 5, b"of another shard": 5})
        worker.pass_until(START + 2 * DAY_MS)
        await worker.turns()
        await worker.turns()
        assert [name for name, _ in await client.zrange(mine, 0, -1, withscores=True)] in ([b"u"], [b"u", b"v"])
        assert worker.renewals.meter.snapshot(START).counts["renewed"] >= 1

    on(redis_db, catalogue, work)


def test_forgetting_what_was_before_keeps_what_comes_after(redis_db: str, catalogue: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(bought("mouse", 0))
        await worker.take(bought("pad", 2))
        await worker.identity.forget(Forget(event_id="f", ts=START + DAY_MS, user_id="u"))
        worker.pass_until(START + 3 * DAY_MS)
        assert await worker.turns() == 1

    on(redis_db, catalogue, work)
