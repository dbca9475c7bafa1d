"""The evaluator's state on a real Redis: what is committed comes back, once, and only on top of what it came from."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import redis as sync
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from evaluator.attribution.example import ShelfContext
from evaluator.attribution.join import JoinWindow
from evaluator.attribution.partition import HOUR_MS, Commit, Partition, Saved
from evaluator.attribution.shelf_store import OffsetRange
from evaluator.attribution.store import JoinStore, OutpacedError
from evaluator.experiments.canary import CanaryExperiment
from evaluator.experiments.experiment import BLOCK_MS
from evaluator.metrics.impression import MOST_REVENUE
from evaluator.metrics.rates import Slice, Tally
from liveshelf.stack.redis import LocalRedis
from models.store.slots import Promotion, Slot
from streams.config import BotsConfig
from streams.events.schema import AnyEvent, Click, Impression, Purchase, Shown
from streams.ranking.assignment import assign
from tests.spoilt_redis import KINDS, Spoil, mixed, spoilt

pytestmark = pytest.mark.integration

T = TypeVar("T")
RULES = JoinWindow(window_ms=1_000, grace_ms=300)
KNOWN = ShelfContext(model="m", arm="a", query="tv", history=[], items=["i"], propensities=[0.5])


def on(url: str, work: Callable[[JoinStore], Awaitable[T]]) -> T:
    async def run() -> T:
        client = Redis.from_url(url)
        try:
            return await work(JoinStore(client, "g", state_ttl_s=100, rates_ttl_s=100, shelf_ttl_s=100))
        finally:
            await client.aclose()

    return asyncio.run(run())


def events() -> list[tuple[int, object]]:
    shown = [Shown(item_id="i", position=0), Shown(item_id="j", position=1)]
    first = Impression(event_id="1", ts=HOUR_MS, user_id="u␟é", shelf_id="s", surface="feed", items=shown)
    bought = Purchase(event_id="2", ts=HOUR_MS + 5, user_id="u␟é", item_id="i", shelf_id="s", price=1.5)
    return [(10, first), (11, bought)]


def test_what_is_committed_is_loaded_as_it_was(redis_db: str) -> None:
    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, await store.load(3))
        partition.take(events())  # type: ignore[arg-type]
        commit = partition.commit({})
        await store.commit(3, commit)
        saved = await store.load(3)
        assert (saved.offset, saved.watermark) == (11, HOUR_MS + 5) and len(saved.states) == 2
        again = Partition(RULES, saved)
        assert len(again.take([], watermark=2 * HOUR_MS)) == 2
        last = again.commit({"s": KNOWN})
        await store.commit(3, last)
        saved = await store.load(3)
        assert not saved.states and saved.counts == {"closed.buy": 1, "closed.ignore": 1}
        left = await store.examples(3)
        assert sorted(left, key=lambda one: one.item_id) == sorted(last.examples, key=lambda one: one.item_id)
        assert {one.model for one in left} == {"m"}
        await store.sent(3, left[:1])
        assert await store.examples(3) == left[1:]
        rates = await store.rates(3, [0, 1])
        assert rates == last.rates and rates[HOUR_MS, Slice("feed", "a", "m", "1")].revenue == 1.5
        assert await store.load(4) == Saved(), "partitions know nothing of each other"

    on(redis_db, work)
    with sync.Redis.from_url(redis_db) as client:
        for key in client.scan_iter("*rates*"):
            assert 0 < client.ttl(key) <= 100


def test_what_is_known_of_bots_is_loaded_as_it_was_and_forgotten_in_the_end(redis_db: str) -> None:
    bots = BotsConfig(burst=2)

    def page(number: int, who: str, clicked: int) -> list[AnyEvent]:
        ts, about = HOUR_MS + 10 * number, {"user_id": who, "shelf_id": f"{who}{number}"}
        items = [Shown(item_id=f"i{place}", position=place) for place in range(3)]
        shown = Impression(event_id=f"{who}{number}", ts=ts, surface="feed", items=items, **about)
        clicks = [Click(event_id=f"{who}{number}.{n}", ts=ts, item_id=f"i{n}", **about) for n in range(clicked)]
        return [shown, *clicks]

    async def work(store: JoinStore) -> int:
        partition = Partition(RULES, await store.load(0), bots=bots)
        partition.take(enumerate([*page(1, "bot", 2), *page(2, "bot", 2), *page(3, "u", 1)]), HOUR_MS + 5_000)
        await store.commit(0, partition.commit({}))
        assert 0 < await store.client.ttl(store.key(0, "bots")) <= 100
        again = Partition(RULES, await store.load(0), bots=bots)
        assert again.marked() == {"rate": 1}
        assert again.counts().bots == {"rate.impressions": 3, "rate.clicks": 2}
        again.take([(20 + n, event) for n, event in enumerate(page(1_000, "bot", 1))], HOUR_MS + 20_000)
        await store.commit(0, again.commit({}))
        assert again.counts().bots == {"rate.impressions": 6, "rate.clicks": 3}
        size = await store.client.memory_usage(store.key(0, "bots"))
        assert len((await store.load(0)).tracks) == 2
        again.take([], HOUR_MS + 1_000 * (bots.marked_s + 3_600))
        await store.commit(0, again.commit({}))
        assert not (await store.load(0)).tracks
        return int(size or 0)

    assert on(redis_db, work) < 300, "bytes of two shoppers"


def trial(version: str) -> Slot:
    return Slot(Promotion(version, datetime.fromtimestamp(0, UTC), "passed the gate", share=0.5))


def seen(number: int) -> tuple[list[tuple[int, AnyEvent]], int, dict[str, ShelfContext]]:
    """One shopper's view, up to when time has come after it, and its shelf."""
    shelf, ts = f"s{number}", HOUR_MS + 10_000 * number
    event = Impression(
        event_id=shelf, ts=ts, user_id=f"u{number}", shelf_id=shelf, surface="feed",
        items=[Shown(item_id="i", position=0)],
    )  # fmt: skip
    return [(number, event)], ts + 2_000, {shelf: trial_shelf(number)}


def trial_shelf(number: int, version: str = "m2") -> ShelfContext:
    arm = "canary" if assign(f"u{number}", version) < 0.5 else "champion"
    return ShelfContext(
        model="m", arm=arm, query="", history=[], items=["i"], propensities=[1.0], made_at=HOUR_MS, shopper=f"u{number}"
    )


def test_what_an_experiment_counts_is_committed_with_what_it_is_of(redis_db: str) -> None:
    """Two processes have the partition at one time: each view counts once, whoever closed it."""

    async def counted(store: JoinStore, version: str = "m2") -> dict[str, float]:
        whole = CanaryExperiment(block_ms=BLOCK_MS)
        whole.hold(trial(version))
        whole.gather(await store.experiments([0, 1]))
        told = [one for one in whole.get() if one.name.split("_")[1] in ("impressions", "shoppers")]
        return {what: sum(one.value for one in told if one.name.endswith(what)) for what in ("impressions", "shoppers")}

    async def fresh(store: JoinStore, version: str = "m2") -> Partition:
        partition = Partition(RULES, await store.load(0))
        partition.canary.hold(trial(version))
        return partition

    async def work(store: JoinStore) -> None:
        one = await fresh(store)
        for number in range(30):
            events, watermark, known = seen(number)
            one.take(events, watermark)
            if number == 20:
                other = await fresh(store)
                other.take(events, watermark)
                await store.commit(0, other.commit(known))
                with pytest.raises(OutpacedError, match="partition 0"):
                    await store.commit(0, one.commit(known))
                one = await fresh(store)
                one.take(events, watermark)
            await store.commit(0, one.commit(known))
            assert await counted(store) == {"impressions": number + 1, "shoppers": number + 1}
        assert 0 < await store.client.ttl(store.key(0, "experiment")) <= 100
        next_one = await fresh(store, "m3")
        events, watermark, _ = seen(30)
        next_one.take(events, watermark)
        await store.commit(0, next_one.commit({"s30": trial_shelf(30, "m3")}))
        assert await counted(store, "m3") == {"impressions": 1, "shoppers": 1}
        assert await store.client.hlen(store.key(0, "experiment")) <= 1 + 4, "nothing is left of the one before"  # type: ignore[misc]

    on(redis_db, work)


def test_the_largest_amounts_there_are_can_be_summed_up(redis_db: str) -> None:
    async def work(store: JoinStore) -> None:
        offset = -1
        for number in range(3):
            partition = Partition(RULES, await store.load(0), await store.rates(0, [0, 1]))
            shown = Impression(
                event_id=f"s{number}", ts=HOUR_MS + number, user_id=f"u{number}", shelf_id="s", surface="feed",
                items=[Shown(item_id="i", position=0)],
            )  # fmt: skip
            bought = [
                Purchase(
                    event_id=f"p{number}.{one}", ts=HOUR_MS + 9, user_id=f"u{number}", item_id="i", shelf_id="s",
                    price=1e12, quantity=10**9,
                )
                for one in range(5)
            ]  # fmt: skip
            partition.take(
                [(offset := offset + 1, event) for event in (shown, *bought)], 2 * HOUR_MS if number == 2 else 0
            )
            await store.commit(0, partition.commit({}))
        [sums] = (await store.rates(0, [0, 1])).values()
        assert (sums.impressions, sums.purchases) == (3, 3)
        assert sums.revenue == pytest.approx(3 * MOST_REVENUE)
        assert sums.revenue_squared == pytest.approx(3 * MOST_REVENUE**2)

    on(redis_db, work)


def test_a_batch_computed_from_something_else_changes_nothing(redis_db: str) -> None:
    async def work(store: JoinStore) -> None:
        first, second = Partition(RULES, Saved()), Partition(RULES, Saved())
        first.take(events())  # type: ignore[arg-type]
        second.take(events()[:1])  # type: ignore[arg-type]
        await store.commit(0, first.commit({}))
        before = await store.load(0)
        with pytest.raises(OutpacedError, match="partition 0"):
            await store.commit(0, second.commit({}))
        assert await store.load(0) == before

    on(redis_db, work)


def test_a_commit_whose_answer_was_lost_is_not_made_again_though_it_only_closes(redis_db: str) -> None:
    """Its offset is the one before: as when nothing arrives any more."""

    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, await store.load(0))
        partition.take(events())  # type: ignore[arg-type]
        await store.commit(0, partition.commit({}))
        other = Partition(RULES, await store.load(0))
        for one in (partition, other):
            one.take([], watermark=2 * HOUR_MS)
        commit = partition.commit({})
        assert commit.before == commit.offset and len(commit.examples) == 2
        await store.commit(0, commit)
        for again in (commit, other.commit({})):
            with pytest.raises(OutpacedError, match="partition 0"):
                await store.commit(0, again)
        [sums] = [sums for cut, sums in (await store.rates(0, [0, 1])).items() if cut[1].position == "1"]
        assert (sums.impressions, sums.purchases, sums.revenue) == (1, 1, 1.5)

    on(redis_db, work)


@pytest.mark.parametrize("what", [("examples",), ("bots",), ("rates", "1")], ids=str)
def test_a_key_that_becomes_another_kind_while_running_costs_what_stood_there_alone(
    redis_db: str, what: tuple[str, ...]
) -> None:
    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, await store.load(0))
        partition.take(events())  # type: ignore[arg-type]
        await store.commit(0, partition.commit({}))
        await store.client.set(store.key(0, *what), "x")
        partition.take([], watermark=2 * HOUR_MS)
        await store.commit(0, partition.commit({}))
        assert (await store.load(0)).counts["closed.ignore"] == 1
        assert len(await store.examples(0)) == 2
        assert sum(sums.impressions for sums in (await store.rates(0, [0, 1])).values()) == 2

    on(redis_db, work)


def test_a_commit_on_top_of_one_that_redis_lost_is_refused_though_offset_and_number_are_as_they_were(
    redis_db: str,
) -> None:
    """A replica without the last commit takes over, and another process makes one of its own meanwhile."""

    async def work(store: JoinStore) -> None:
        first = Partition(RULES, await store.load(0), by="first")
        first.take(events())  # type: ignore[arg-type]
        await store.commit(0, first.commit({}))
        replica = await store.client.dump(store.key(0, "state")), await store.client.dump(store.key(0, "meta"))
        first.take([], watermark=HOUR_MS + 1_400)
        await store.commit(0, first.commit({}))
        first.take([], watermark=2 * HOUR_MS)
        late = first.commit({})
        await store.client.flushdb()
        for name, value in zip(("state", "meta"), replica, strict=True):
            await store.client.restore(store.key(0, name), 0, value)
        second = Partition(RULES, await store.load(0), by="second")
        second.take([], watermark=HOUR_MS + 1_500)
        await store.commit(0, second.commit({}))
        before = await store.load(0)
        with pytest.raises(OutpacedError, match="partition 0"):
            await store.commit(0, late)
        assert await store.load(0) == before

    on(redis_db, work)


def test_a_full_redis_is_loaded_from(tmp_path: Path) -> None:
    """Whoever starts then can close what is over, which makes room."""

    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, await store.load(0))
        partition.take(events())  # type: ignore[arg-type]
        await store.commit(0, partition.commit({}))
        await store.client.config_set("maxmemory", 1)
        with pytest.raises(OutOfMemoryError):
            await store.client.set("x", "y")
        again = Partition(RULES, await store.load(0), await store.rates(0, [0, 1]))
        assert again.offset == partition.offset and again.counts() == partition.counts()
        assert await store.examples(0) == []

    with LocalRedis(tmp_path) as server:
        on(server.address, work)


def test_a_redis_that_lost_its_scripts_gets_them_again(redis_db: str) -> None:
    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, Saved())
        for offset in range(3):
            partition.take([(offset, None)])
            await store.commit(0, partition.commit({}))
            await store.client.script_flush()
        assert (await store.load(0)).offset == 2

    on(redis_db, work)


def test_what_is_watched_is_kept_by_one_alone_and_references_stay(redis_db: str) -> None:
    async def work(store: JoinStore) -> None:
        assert await store.kept(1) == (b"", {}, {})
        assert await store.keep(1, b"", b"a1", {"a": 1.5}, {"x": ["v", [b"\x00", 2]]})
        assert await store.keep(1, b"a1", b"a2", {"a": 2.5}, {})
        kept = b"a2", {"a": 2.5}, {"x": ["v", [b"\x00", 2]]}
        for before in (b"", b"a1", b"b1"):
            with pytest.raises(OutpacedError, match="partition 1"):
                await store.keep(1, before, b"b2", {"a": 9}, {"y": []})
        assert await store.kept(1) == kept
        assert await store.kept(2) == (b"", {}, {})
        await store.client.flushdb()
        assert not await store.keep(1, b"a2", b"a3", {"a": 3.5}, {}), "who goes on is told that references are lost"
        assert await store.kept(1) == (b"a3", {"a": 3.5}, {})

    on(redis_db, work)


def test_bytes_per_open_impression(redis_db: str) -> None:
    """What ``docs/evaluator.md`` says an open impression costs."""

    async def work(store: JoinStore) -> None:
        partition = Partition(RULES, Saved())
        shown = [Shown(item_id=f"item-{number:08d}", position=number) for number in range(20)]
        for offset in range(250):
            impression = Impression(
                event_id=f"{offset:036d}",
                ts=offset,
                user_id=f"user-{offset:08d}",
                shelf_id=f"{offset:024x}",
                surface="feed",
                items=shown,
            )
            partition.take([(offset, impression)])
            await store.commit(0, partition.commit({}))
        size = await store.client.memory_usage(store.key(0, "state"), samples=0)
        assert size is not None and 150 < size / 5_000 < 260

    on(redis_db, work)


@pytest.mark.parametrize("junk", ["junk", "", "inf", "nan", "1e999"])
def test_a_sum_that_is_none_begins_anew(redis_db: str, junk: str) -> None:
    key = (HOUR_MS, Slice("feed", "a", "m", "1"))

    async def work(store: JoinStore) -> None:
        for number in range(3):
            names = [b"%d" % one if one else b"" for one in (number, number + 1)]
            rates = {key: Tally(impressions=2, clicks=1)}
            await store.commit(0, Commit(number - 1, names[0], names[1], number, 5, {}, [], {}, [], rates))
            if not number:
                kept = store.key(0, "rates", "1")
                for field in await store.client.hkeys(kept):  # type: ignore[misc]
                    await store.client.hset(kept, field, junk)  # type: ignore[misc]
        assert await store.rates(0, [1]) == {key: Tally(impressions=4, clicks=2)}
        assert (await store.load(0)).offset == 2

    on(redis_db, work)


SPOILS = {**KINDS, "what is not ours beside what is": None}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_whatever_others_put_under_its_keys_it_goes_on(redis_db: str, spoil: Spoil | None) -> None:
    """Every key is of another kind, or holds what is not ours: it is read as far as it can be, and written again."""

    async def all_of(store: JoinStore, turn: int) -> None:
        partition = Partition(RULES, await store.load(3), await store.rates(3, [0, 1, 2]), BotsConfig(burst=2))
        at = turn * HOUR_MS
        for number in range(6):
            shown = [Shown(item_id="i", position=0), Shown(item_id="j", position=1)]
            about = {"user_id": "u", "shelf_id": f"s{number}"}
            offset = max(partition.offset, 10) + 1
            one = Impression(event_id=f"{turn}.{number}", ts=at + number, surface="feed", items=shown, **about)
            partition.take([(offset, one), (offset + 1, None)])
        partition.take([], watermark=at + 500 if turn < 3 else at + HOUR_MS)
        await store.commit(3, partition.commit({"s": KNOWN}))
        await store.shelves.begin(0, 5)
        await store.shelves.remember({"s1": KNOWN}, [OffsetRange(0, 5, 9, at)])
        assert await store.shelves.lowest([0]) == {0: 9}
        assert await store.shelves.known(["s1", "s2"], at - 1, 1) == {"s1": KNOWN, "s2": None}
        name, _, _ = await store.kept(3)
        await store.keep(3, name, b"%d" % turn, {"watches": {"turn": turn}}, {"r": [turn]})
        assert await store.kept(3) == (b"%d" % turn, {"watches": {"turn": turn}}, {"r": [turn]})
        await store.experiments([2, 3])
        for example in await store.examples(3):
            await store.sent(3, [example])

    def spoil_all() -> None:
        with sync.Redis.from_url(redis_db) as client:
            done = list(mixed(client)) if spoil is None else spoilt(client, spoil)
            assert len(done) > 5

    async def work(store: JoinStore) -> Saved:
        await all_of(store, 1)
        spoil_all()
        await store.examples(3), await store.kept(3)
        await all_of(store, 2)
        await all_of(store, 3)
        return await store.load(3)

    saved = on(redis_db, work)
    assert saved.watermark == 4 * HOUR_MS and saved.offset > 10 and not saved.states
