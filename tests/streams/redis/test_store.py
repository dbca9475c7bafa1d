"""Memory and shelves on a real Redis: what the scripts promise in any order, and how Redis's faults are survived."""

import asyncio
import itertools
import math
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveshelf.stack.redis import LocalRedis
from models.intents import TREND_WEIGHTS
from streams.clock import wall_ms
from streams.config import BotsConfig, RedisConfig, StateConfig
from streams.events.schema import AnyEvent, Cart, Click, Impression, Purchase, Read, Review, Search, normalise
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.features.click_effects import Counts, Key
from streams.features.items import DAY_MS, HALF_LIVES, NEW_HALF_LIVES, ItemStatistics, forward, visit_weight
from streams.features.own import ROW, Memory
from streams.features.shopper import CODES, SEPARATOR, Shopper, Uncounted, remembered
from streams.ranking.feeds import own_items
from streams.redis.connection import connect
from streams.redis.keys import own
from streams.redis.retry import passing
from streams.redis.store import (
    EFFECTS,
    SHELVES_AT_ONCE,
    SHOPPERS_AT_ONCE,
    SHOWN_KEPT,
    StateStore,
    most_together,
)
from tests.logged import logged
from tests.shop import HANG_S, near
from tests.spoilt_redis import KINDS, Spoil, mixed, spoilt

pytestmark = pytest.mark.integration

SMALL = StateConfig(
    shards=1,
    history_items=4,
    history_queries=2,
    bought_items=2,
    together_items=2,
    counted_items=3,
    trend_bucket_s=10,
    ttl_s=600,
)
ROOMY = SMALL.model_copy(
    update={"history_items": 50, "history_queries": 50, "bought_items": 50, "together_items": 50, "counted_items": 50}
)
fast = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

shoppers = st.sampled_from(["u", "ü {1}:x"])
moments = st.integers(0, 30_000)
things = st.sampled_from(["a", "b", "c", "d:{x}", "é"])
makers: dict[type[AnyEvent], st.SearchStrategy[dict[str, Any]]] = {
    Search: st.fixed_dictionaries({"query": st.sampled_from(["TV", " tv", "usb  cable", "\x1fx"])}),
    Impression: st.just({"shelf_id": "s", "surface": "feed", "items": []}),
    Review: st.fixed_dictionaries({"item_id": things, "rating": st.just(4)}),
    **{kind: st.fixed_dictionaries({"item_id": things}) for kind in (Click, Read, Cart, Purchase)},
}


@st.composite
def stories(draw: st.DrawFn, moments: st.SearchStrategy[int] = moments) -> list[AnyEvent]:
    """Events with ids of their own, in order of nothing."""
    events = []
    for n in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(list(makers)))
        events.append(kind(event_id=f"e{n}", ts=draw(moments), user_id=draw(shoppers), **draw(makers[kind])))
    return events


@dataclass
class Model:
    """``remember.lua`` in Python, one shard: the same state by plain lists and dicts."""

    config: StateConfig
    items: dict[str, dict[str, int]] = field(default_factory=dict)
    queries: dict[str, dict[str, int]] = field(default_factory=dict)
    bought: dict[str, dict[str, int]] = field(default_factory=dict)
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    cells: dict[tuple[str, int], dict[str, set[str]]] = field(default_factory=dict)
    trend: dict[int, dict[str, int]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    late: int = 0

    def remember(self, event: AnyEvent) -> None:
        config, who = self.config, event.shopper
        if isinstance(event, Impression):
            return
        self.newest[who] = max(event.time_ms, self.newest.get(who, 0))
        if isinstance(event, Search):
            member = SEPARATOR.join((CODES["search"], normalise(event.query), event.event_id))
            enters(self.queries.setdefault(who, {}), member, event.time_ms, config.history_queries)
            return
        member = SEPARATOR.join((CODES[event.kind], event.item_id, event.event_id))
        enters(self.items.setdefault(who, {}), member, event.time_ms, config.history_items)
        self.demand(who, event)
        if isinstance(event, Purchase):
            bought = self.bought.setdefault(who, {})
            bought[event.item_id] = max(event.time_ms, bought.get(event.item_id, 0))
            cut(bought, config.bought_items)

    def demand(self, who: str, event: Any) -> None:
        bucket = event.time_ms // (self.config.trend_bucket_s * 1000)
        if bucket + 1 + 2 * self.config.trend_buckets <= self.newest[who] / (self.config.trend_bucket_s * 1000):
            self.late += 1
            return
        mine = self.cells.get((who, bucket), {})
        before = mine.get(event.item_id, set())
        if event.kind in before or (not before and len(mine) >= self.config.counted_items):
            return
        self.cells[who, bucket] = mine | {event.item_id: before | {event.kind}}
        for other in [] if before else list(mine):
            self.pair(event.item_id, other, bucket)
            self.pair(other, event.item_id, bucket)
        trend = self.trend.setdefault(bucket, {})
        more = TREND_WEIGHTS[event.kind] - max((TREND_WEIGHTS[kind] for kind in before), default=0)
        trend[event.item_id] = trend.get(event.item_id, 0) + max(more, 0)

    def pair(self, item: str, other: str, bucket: int) -> None:
        counts = self.beside.setdefault(item, {})
        counts[other] = counts.get(other, 0) + visit_weight(self.middle(bucket))
        if len(counts) > most_together(self.config.together_items):
            worth = {name: count / math.sqrt(max(count, self.visits(name))) for name, count in counts.items()}
            order = sorted(counts, key=lambda name: (-worth[name], name.encode()))
            self.beside[item] = {name: counts[name] for name in order[: self.config.together_items]}

    def middle(self, bucket: int) -> int:
        return int((bucket + 0.5) * self.config.trend_bucket_s * 1000)

    def visits(self, item: str) -> float:
        return sum(visit_weight(self.middle(bucket)) for (_, bucket), mine in self.cells.items() if item in mine)

    def statistics(self, item: str) -> list[float]:
        """What the cells say of an item, by definition."""
        touched = [(who, self.middle(bucket), mine[item]) for (who, bucket), mine in self.cells.items() if item in mine]
        bought: dict[str, list[int]] = {}
        for who, at, kinds in touched:
            if "purchase" in kinds:
                bought.setdefault(who, []).append(at)
        demand = [sum(weight(kinds) * grown(at, days) for _, at, kinds in touched) for days in HALF_LIVES]
        new = [sum(grown(min(times), days) for times in bought.values()) for days in NEW_HALF_LIVES]
        repeats = sum(len(times) - 1 for times in bought.values())
        days = sum(max(times) - min(times) for times in bought.values()) / DAY_MS
        first = min(at for _, at, _ in touched)
        return [*demand, *new, self.visits(item), len(bought), repeats, days, first]

    def own(self, who: str) -> dict[str, list[float]]:
        """What the cells say of a shopper's items, by definition."""
        found: dict[str, list[float]] = {}
        for (shopper, bucket), mine in self.cells.items():
            for item, kinds in mine.items() if shopper == who else ():
                at, bought = self.middle(bucket) // 1000, "purchase" in kinds
                one = found.setdefault(item, [0, 0.0, 0, 0, 0])
                one[0] += bought
                one[1] += weight(kinds) * grown(self.middle(bucket), 30)
                one[2:4] = [min(one[2] or at, at), max(one[3], at)] if bought else one[2:4]
                one[4] = max(one[4], at)
        return found


def weight(kinds: set[str]) -> float:
    """The weight of a cell, of which a purchase's is one."""
    return max(TREND_WEIGHTS[kind] for kind in kinds) / TREND_WEIGHTS["purchase"]


def grown(at: int, days: float) -> float:
    """A weight as `streams.features.items.forward`, relative to one of the tests' time; short ones have that origin."""
    return float(forward(at, days, TIME)) if days <= 1 else float(forward(at, days) / forward(TIME, days))


TIME = 15_000


def cut(scored: dict[str, int], cap: int) -> None:
    for name in sorted(scored, key=lambda name: (scored[name], name.encode()))[: max(0, len(scored) - cap)]:
        del scored[name]


def enters(scored: dict[str, int], member: str, time_ms: int, cap: int) -> None:
    scored[member] = min(time_ms, scored.get(member, time_ms))
    cut(scored, cap)


def told(url: str, config: StateConfig, work: Callable[[StateStore], Awaitable[Any]]) -> Any:
    """Run something with a store that is connected to the URL."""

    async def main() -> Any:
        client = connect(RedisConfig(url=url))
        try:
            return await work(StateStore(client, config))
        finally:
            await client.aclose()

    return asyncio.run(main())


def lived(
    url: str, config: StateConfig, batches: Sequence[Sequence[AnyEvent]], late: list[int] | None = None
) -> dict[str, Any]:
    """All state after the batches, from an empty database; and how many acts of each were late."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()

    async def work(store: StateStore) -> None:
        for batch in batches:
            by_shopper: dict[str, list[AnyEvent]] = {}
            for event in batch:
                if remembered(event):
                    by_shopper.setdefault(event.shopper, []).append(event)
            if by_shopper:
                _, uncounted = await store.remember(by_shopper, 10)
                if late is not None:
                    late.append(uncounted.late)

    told(url, config, work)
    return state(url)


def state(url: str) -> dict[str, Any]:
    """All keys with their values, but for clocks, which depend on the time of day; none may be without an end."""
    with redis.Redis.from_url(url, decode_responses=True) as client, redis.Redis.from_url(url) as raw:
        held: dict[str, Any] = {}
        changed: list[str] = []
        for key in client.scan_iter("ls:*"):
            assert client.ttl(key) > 0, key
            if ":searched:" in key:
                continue
            match client.type(key):
                case "hash" if ":own:" in key:
                    held[key] = {name.decode(): own_row(row) for name, row in raw.hgetall(key).items()}
                case "hash":
                    held[key] = {name: int(weight) for name, weight in client.hgetall(key).items()}
                case "zset" if ":with:" in key:
                    rows = client.zrange(key, 0, -1, withscores=True)
                    held[key] = {name: near(score) for name, score in rows}
                case "zset" if key.endswith(":changed"):
                    changed = client.zrange(key, 0, -1)
                case "zset":
                    held[key] = {name: int(score) for name, score in client.zrange(key, 0, -1, withscores=True)}
                case kind:
                    assert kind == "string"
                    if ":stats:" in key:
                        held[key] = item_row(raw.get(key))
                    else:
                        assert ":clock:" in key
        assert sorted(changed) == sorted(key.partition(":stats:")[2] for key in held if ":stats:" in key)
        return held


def own_row(value: bytes) -> list[float]:
    """A shopper's item as held, with demand relative to the tests' time."""
    [row] = np.frombuffer(value, ROW).tolist()
    return [row[0], near(row[1] / float(forward(TIME, 30))), *row[2:]]


def item_row(value: bytes) -> list[float]:
    """An item's statistics as held, relative to the tests' time."""
    row = np.frombuffer(value, "<f8")
    short = [row[n] * grown(row[origin], HALF_LIVES[n]) for n, origin in ((0, 8), (1, 9))]
    long = [row[n] / float(forward(TIME, days)) for n, days in zip((2, 3, 4, 5, 6), LONG, strict=True)]
    return [near(float(one)) for one in (*short, *long, row[7], *row[10:])]


LONG = (*HALF_LIVES[2:], *NEW_HALF_LIVES)


def expected(model: Model) -> dict[str, Any]:
    """The model's state under the store's keys."""
    held: dict[str, Any] = {}
    for kind, by_shopper in (("items", model.items), ("queries", model.queries), ("bought", model.bought)):
        held |= {own(0, kind, who): scored for who, scored in by_shopper.items() if scored}
    for item, counts in model.beside.items():
        held[f"{own(0)}with:{item}"] = {name: near(count) for name, count in counts.items()}
    for item in {item for mine in model.cells.values() for item in mine}:
        held[f"{own(0)}stats:{item}"] = [near(one) for one in model.statistics(item)]
    for who in {who for who, _ in model.cells}:
        rows = model.own(who).items()
        held[own(0, "own", who)] = {item: [near(one) for one in row] for item, row in rows}
        visits = {model.middle(bucket) // 1000 for shopper, bucket in model.cells if shopper == who}
        held[own(0, "visits", who)] = {str(at): at for at in visits}
    held |= {own(0, "trend", str(bucket)): counts for bucket, counts in model.trend.items()}
    for (who, bucket), mine in model.cells.items():
        held[own(0, "cells", who, str(bucket))] = {item: mask(kinds) for item, kinds in mine.items()}
    return held


def grouped(events: Sequence[AnyEvent], size: int) -> list[Sequence[AnyEvent]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


@fast
@given(stories(), st.integers(1, 5), st.data())
def test_the_script_does_what_the_model_says(
    redis_db: str, events: list[AnyEvent], size: int, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=5))
    batches = grouped(events + again, size)
    model = Model(SMALL)
    for batch in batches:
        for who in dict.fromkeys(event.shopper for event in batch):
            for event in batch:
                if event.shopper == who:
                    model.remember(event)
    assert lived(redis_db, SMALL, batches) == expected(model)


@fast
@given(stories(), st.data())
def test_any_order_and_any_repetition_leave_the_same_state(
    redis_db: str, events: list[AnyEvent], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=8))
    shuffled = data.draw(st.permutations(events + again))
    straight = lived(redis_db, ROOMY, [events])
    assert lived(redis_db, ROOMY, grouped(shuffled, data.draw(st.integers(1, 6)))) == straight


@fast
@given(stories())
def test_a_batch_again_changes_nothing_even_beyond_the_caps(redis_db: str, events: list[AnyEvent]) -> None:
    once = lived(redis_db, SMALL, [events])
    assert lived(redis_db, SMALL, [events, events]) == once


@fast
@given(stories(), st.data())
def test_demand_is_an_offline_count_of_shoppers(redis_db: str, events: list[AnyEvent], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=8))
    shuffled = data.draw(st.permutations(events + again))
    roomy = ROOMY.model_copy(update={"history_items": 1})  # what the history forgets counts all the same, and once
    held = lived(redis_db, roomy, grouped(shuffled, data.draw(st.integers(1, 6))))

    cells: dict[tuple[str, str], dict[str, set[str]]] = {}
    for event in events:
        if not isinstance(event, Search | Impression):
            mine = cells.setdefault((event.shopper, str(event.time_ms // 10_000)), {})
            mine.setdefault(event.item_id, set()).add(event.kind)
    trends: dict[str, Counter[str]] = {}
    pairs: dict[str, Counter[str]] = {}
    for (_, hour), mine in cells.items():
        weights = {item: max(TREND_WEIGHTS[kind] for kind in kinds) for item, kinds in mine.items()}
        trends.setdefault(own(0, "trend", hour), Counter()).update(weights)
        for item, other in itertools.permutations(mine, 2):
            pairs.setdefault(f"{own(0)}with:{item}", Counter())[other] += 1
    assert {key: counts for key, counts in held.items() if ":trend:" in key} == trends
    rows = {key: counts for key, counts in held.items() if ":with:" in key}
    assert {key: {name: round(count) for name, count in row.items()} for key, row in rows.items()} == pairs
    told = {key: mine for key, mine in held.items() if ":cells:" in key}
    assert told == {
        own(0, "cells", who, hour): {item: mask(kinds) for item, kinds in mine.items()}
        for (who, hour), mine in cells.items()
    }


def mask(kinds: set[str]) -> int:
    """Kinds of acts as a cell's hash keeps them."""
    return sum(1 << place for place, kind in enumerate(TREND_WEIGHTS) if kind in kinds)


@fast
@given(stories(st.integers(0, 30).map(lambda hour: hour * 3_600_000 + 1_800_000)), st.data())
def test_acts_of_a_closed_hour_are_late_and_all_others_count(
    redis_db: str, events: list[AnyEvent], data: st.DataObject
) -> None:
    """Hours that stay open for six more, acts spread over thirty; in the middle of hours, as the wall clock goes on."""
    config = ROOMY.model_copy(update={"trend_bucket_s": 3_600, "trend_buckets": 3})
    again = data.draw(st.lists(st.sampled_from(events), max_size=8))
    order = data.draw(st.permutations(events + again))
    model = Model(config)
    for event in order:
        model.remember(event)
    late: list[int] = []
    assert lived(redis_db, config, grouped(order, 1), late) == expected(model)
    assert sum(late) == model.late


def test_an_order_of_eighty_lines_counts_whole_in_any_order(redis_db: str) -> None:
    """All of one millisecond, so the history of fifty keeps some by their names alone."""
    lines = [Purchase(event_id=f"e{n:02d}", ts=5_000, user_id="u", item_id=f"i{n:02d}") for n in range(80)]
    ascending = lived(redis_db, StateConfig(shards=1), [lines])
    assert len(ascending["ls:{0}:trend:0"]) == len(ascending["ls:{0}:bought:u"]) == 80
    for batches in (grouped(lines[::-1], 1), grouped(lines[::2] + lines[::-1], 7)):
        held = lived(redis_db, StateConfig(shards=1), batches)
        assert held["ls:{0}:trend:0"] == ascending["ls:{0}:trend:0"] == {line.item_id: 5 for line in lines}
        assert held["ls:{0}:cells:u:0"] == ascending["ls:{0}:cells:u:0"]
        assert held["ls:{0}:bought:u"] == ascending["ls:{0}:bought:u"]


def test_what_comes_again_after_its_hour_was_forgotten_counts_no_second_time(redis_db: str) -> None:
    """No newer act moves the shopper's clock: it is the wall clock that closes the hour."""
    config = StateConfig(shards=1, trend_bucket_s=1, trend_buckets=1)

    async def work(store: StateStore) -> tuple[list[Uncounted], Any, Any]:
        now = wall_ms()
        acts: list[AnyEvent] = [Click(event_id=item, ts=now, user_id="u", item_id=item) for item in "ab"]
        first = msgspec.structs.replace(acts[0], event_id="first", item_id="c")
        _, at_once = await store.remember({"u": acts}, 1)
        async with asyncio.timeout(HANG_S):
            while await store.client.keys("ls:{0}:cells:*"):
                await asyncio.sleep(0.05)
        _, again = await store.remember({"u": [*acts, first]}, 1)
        newer = [Click(event_id=f"new {item}", ts=wall_ms(), user_id="u", item_id=item) for item in "bd"]
        _, fresh = await store.remember({"u": newer}, 1)
        rows = {item: await store.client.zrange(f"ls:{{0}}:with:{item}", 0, -1) for item in "abc"}
        trend = await store.trend([now // 1_000])
        return [at_once, again, fresh], rows, trend[now // 1_000].get("c", 0)

    uncounted, rows, late_item = told(redis_db, config, work)
    assert uncounted == [Uncounted(), Uncounted(late=3), Uncounted()]
    assert rows == {"a": [b"b"], "b": [b"a", b"d"], "c": []} and late_item == 0


@pytest.mark.parametrize("cap", [2, 50, 64, 100, 127])
def test_items_seen_together_are_held_in_few_bytes(redis_db: str, cap: int) -> None:
    """A row stays a listpack however many items come by, so its bytes are in proportion to its cap."""
    config = StateConfig(shards=1, together_items=cap)

    async def work(store: StateStore) -> None:
        for n in range(300):
            pair = [Click(event_id=f"{n}{item}", ts=5, user_id=f"u{n}", item_id=item) for item in ("x", f"{n:08d}")]
            await store.remember({f"u{n}": pair}, 1)
            if n % 10 == 9 or n > 290:
                assert await store.client.zcard("ls:{0}:with:x") <= most_together(cap)
                encoding = await store.client.object("encoding", "ls:{0}:with:x")
                assert encoding in (b"ziplist", b"listpack"), (n, encoding)
        assert await store.client.memory_usage("ls:{0}:with:x") < 200 + 20 * most_together(cap)

    told(redis_db, config, work)


def test_of_one_shopper_no_more_items_count_than_may(redis_db: str) -> None:
    clicks = [Click(event_id=f"e{n}", ts=n, user_id="u", item_id=f"i{n}") for n in range(8)]

    async def work(store: StateStore) -> tuple[Uncounted, Any]:
        _, uncounted = await store.remember({"u": clicks}, 1)
        return uncounted, await store.trend([0])

    uncounted, trend = told(redis_db, SMALL, work)
    assert uncounted == Uncounted(beyond=5) and trend[0].keys() == {"i0", "i1", "i2"}


@fast
@given(st.permutations([Click, Read, Cart, Purchase, Review] * 20), st.integers(1, 30))
def test_one_shopper_adds_no_more_than_the_weightiest_act(
    redis_db: str, kinds: list[type[AnyEvent]], size: int
) -> None:
    rated = {Review: {"rating": 1}}
    events = [
        kind(  # type: ignore[call-arg]
            event_id=f"e{n}", ts=n, user_id="u", item_id="a", **rated.get(kind, {})
        )
        for n, kind in enumerate(kinds)
    ]
    held = lived(redis_db, SMALL, grouped(events, size))
    assert held["ls:{0}:trend:0"] == {"a": max(TREND_WEIGHTS.values())}


def test_three_hundred_clicks_of_one_shopper_weigh_less_than_one_of_each_of_two(redis_db: str) -> None:
    clicks = [Click(event_id=f"e{n}", ts=n, user_id="u", item_id="lifted") for n in range(300)]
    clicks += [Click(event_id=f"e{n}", ts=500, user_id=f"v{n}", item_id="liked") for n in range(2)]

    async def work(store: StateStore) -> Any:
        for click in clicks:
            await store.remember({click.shopper: [click]}, 1)
        return await store.trend([0])

    assert told(redis_db, StateConfig(), work) == {0: {"liked": 2, "lifted": 1}}


def test_what_a_marked_shopper_does_is_remembered_and_makes_no_demand(redis_db: str) -> None:
    def click(number: int, item: str, shopper: str = "bot") -> Click:
        return Click(event_id=f"e{number}", ts=number, user_id=shopper, item_id=item)

    async def work(store: StateStore) -> tuple[Any, Any, int]:
        await store.remember({"bot": [click(1, "a")]}, 1)
        marked, _ = await store.remember({"bot": [click(2, "b"), click(3, "a")], "u": [click(4, "b", "u")]}, 5, {"bot"})
        again, _ = await store.remember({"bot": [click(5, "c")]}, 5)  # as after a restart of whoever marked it
        assert [len(one.touched) for one in (marked["bot"], again["bot"])] == [3, 4]
        return await store.trend([0]), await store.together(["a"]), await store.client.ttl("ls:{0}:bot:bot")

    trend, together, ttl = told(redis_db, StateConfig(shards=1), work)
    assert trend == {0: {"a": 1, "b": 1}} and together == {"a": {}}
    assert 0 < ttl <= BotsConfig().marked_s


def test_what_a_shopper_has_counted_for_takes_few_bytes(redis_db: str) -> None:
    ids = [f"{n:08d}" for n in range(150)]

    async def work(store: StateStore) -> list[int]:
        found = []
        for some in (ids[:1], ids[:13], ids):
            now = [Click(event_id=f"e{n}{len(some)}", ts=1_000, user_id="u", item_id=id) for n, id in enumerate(some)]
            await store.remember({"u": now}, 1)
            found.append(await store.client.memory_usage("ls:{0}:cells:u:0"))
        assert await store.client.hlen("ls:{0}:cells:u:0") == store.config.counted_items == 100
        return found

    few, usual, most = told(redis_db, StateConfig(shards=1), work)
    assert few <= 160 and usual <= 320 and most <= 1_600, (few, usual, most)


def test_what_is_remembered_comes_back_newest_first_and_bounded(redis_db: str) -> None:
    events = [
        Click(event_id="1", ts=1_000, user_id="u", item_id="a"),
        Search(event_id="2", ts=3_000, user_id="u", query="  USB  Cable"),
        Purchase(event_id="3", ts=2_000, user_id="u", item_id="b"),
    ]

    async def work(store: StateStore) -> Shopper:
        await store.remember({"u": events, "v": []}, 10)
        return (await store.remember({"u": []}, 1))[0]["u"]

    shopper = told(redis_db, StateConfig(), work)
    assert [touched.item_id for touched in shopper.touched] == ["b"]
    assert [(asked.query, asked.time_ms) for asked in shopper.asked] == [("usb cable", 3_000)]
    assert shopper.bought == {"b"}
    assert shopper.newest_ms == 3_000


def test_together_and_trend_are_summed_over_shards(redis_db: str) -> None:
    async def work(store: StateStore) -> tuple[Any, Any, Any]:
        for n in range(20):
            pair = [Click(event_id=f"{n}{item}", ts=1_000, user_id=f"u{n}", item_id=item) for item in ("x", "y")]
            await store.remember({f"u{n}": pair}, 1)
        await store.remember({"w": [Cart(event_id=item, ts=1_000, user_id="w", item_id=item) for item in "xz"]}, 1)
        return await store.together(["x", "nobody"]), await store.together([]), await store.trend([0, 1])

    together, nothing, trend = told(redis_db, StateConfig(), work)
    assert {item: list(others) for item, others in together.items()} == {"x": ["y", "z"], "nobody": []}
    assert together["x"]["y"] / together["x"]["z"] == pytest.approx(20)
    assert nothing == {}
    assert trend == {0: {"x": 23, "y": 20, "z": 3}, 1: {}}


@fast
@given(st.permutations(range(8)), st.integers(1, 4))
def test_a_newer_shelf_stays_whatever_the_order(redis_db: str, times: list[int], size: int) -> None:
    async def work(store: StateStore) -> None:
        best = -1
        await store.client.flushdb()
        for group in (times[start : start + size] for start in range(0, len(times), size)):
            written = await store.put([("shelf:feed:u", shelf(time), time) for time in group], 60)
            for time, fresh in zip(group, written, strict=True):
                assert fresh == (time >= best)
                best = max(best, time)
            assert await store.client.get("shelf:feed:u") == shelf(best)
            assert 0 < await store.client.ttl("shelf:feed:u") <= 60

    told(redis_db, SMALL, work)


def shelf(event_ts: int) -> bytes:
    return b'{"shelf_id":"%024d","event_ts":%d,"items":[{"item_id":"\\"event_ts\\":99"}]}' % (event_ts, event_ts)


def test_a_shelf_of_the_same_event_replaces_so_that_a_repetition_heals(redis_db: str) -> None:
    async def work(store: StateStore) -> list[bool]:
        return await store.put([("k", shelf(5), 5), ("k", shelf(5), 5), ("k", shelf(4), 4)], 60)

    assert told(redis_db, SMALL, work) == [True, True, False]


def test_more_shoppers_and_shelves_than_one_script_takes_are_all_remembered_and_written(redis_db: str) -> None:
    names = [f"ü {{{number}}}:x" for number in range(2 * SHOPPERS_AT_ONCE + 1)]
    keys = [f"shelf:feed:{number}" for number in range(2 * SHELVES_AT_ONCE + 1)]

    async def work(store: StateStore) -> None:
        events = {
            name: [Click(event_id=name, ts=wall_ms(), user_id=name, item_id=f"i{at}")] for at, name in enumerate(names)
        }
        shoppers, _ = await store.remember(events, 10)
        assert list(shoppers) == names
        assert [[one.item_id for one in mine.touched] for mine in shoppers.values()] == [
            [f"i{at}"] for at in range(len(names))
        ]
        statistics = await store.statistics([f"i{at}" for at in range(len(names) + 1)])
        assert [len(parts) for parts in statistics.values()] == [1] * len(names) + [0]
        await store.put([(keys[-1], shelf(9), 9)], 60)
        assert await store.put([(key, shelf(at % 8), at % 8) for at, key in enumerate(keys)], 60) == [
            *[True] * (len(keys) - 1),
            False,
        ]
        assert await store.values(keys) == [*[shelf(at % 8) for at in range(len(keys) - 1)], shelf(9)]

    told(redis_db, ROOMY.model_copy(update={"shards": 2, "items": 1_000}), work)


def test_a_shelf_from_the_far_future_is_replaced(redis_db: str) -> None:
    """It is another's: events so far ahead are refused."""
    ahead = wall_ms() + 3_600_000

    async def work(store: StateStore) -> list[bool]:
        far = [("far", shelf(10**15), 10**15), ("far", shelf(5), 5)]
        return await store.put([*far, ("near", shelf(ahead), ahead), ("near", shelf(5), 5)], 60)

    assert told(redis_db, SMALL, work) == [True, True, True, False]


CLICK = Click(event_id="e", ts=1_000, user_id="u", item_id="i")


def test_scripts_come_back_after_a_flush(redis_db: str) -> None:
    async def work(store: StateStore) -> Shopper:
        await store.remember({"u": [CLICK]}, 1)
        await store.client.script_flush()
        await store.put([("k", shelf(1), 1)], 60)
        await store.client.script_flush()
        return (await store.remember({"u": [CLICK]}, 1))[0]["u"]

    assert told(redis_db, SMALL, work).touched[0].item_id == "i"
    assert state(redis_db)["ls:{0}:trend:0"] == {"i": 1}


def test_a_restart_of_redis_is_a_pause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalRedis(tmp_path) as server:

        async def work(store: StateStore) -> None:
            await store.remember({"u": [CLICK]}, 1)
            server.stop()
            waiting = asyncio.create_task(store.remember({"u": [msgspec.structs.replace(CLICK, event_id="e2")]}, 5))
            while not store.retry.paused:
                await asyncio.sleep(0.05)
            assert not waiting.done()
            server.start()  # here and not in a thread: the server would end with the thread that started it
            shopper = (await asyncio.wait_for(waiting, HANG_S))[0]["u"]
            assert not store.retry.paused
            assert len(shopper.touched) == 2, "what was acknowledged before is still there"

        told(server.address, SMALL, work)
        assert state(server.address)["ls:{0}:trend:0"] == {"i": 1}, "one shopper"
    assert logged(caplog, "streams.redis.retry")[-1] == "Redis is back"


def test_full_memory_is_a_pause_and_takes_nothing_away(tmp_path: Path) -> None:
    with LocalRedis(tmp_path, memory_mb=64) as server:

        async def work(store: StateStore) -> None:
            await store.put([("old", shelf(1), 1)], 60)
            await store.client.config_set("maxmemory", 1)
            waiting = asyncio.create_task(store.put([("new", shelf(2), 2)], 60))
            remembering = asyncio.create_task(store.remember({"u": [CLICK]}, 1))
            while not store.retry.paused:
                await asyncio.sleep(0.05)
            assert not waiting.done() and not remembering.done()
            assert await store.client.get("old") == shelf(1)
            await store.client.config_set("maxmemory", 64_000_000)
            assert await asyncio.wait_for(waiting, HANG_S) == [True]
            assert len((await asyncio.wait_for(remembering, HANG_S))[0]["u"].touched) == 1
            assert not store.retry.paused

        told(server.address, SMALL, work)


def test_a_defect_is_raised_not_waited_for(redis_db: str) -> None:
    async def work(store: StateStore) -> None:
        await store.put([("k", shelf(1), 1)], -1)

    with pytest.raises(redis.ResponseError, match="invalid expire"):
        told(redis_db, SMALL, work)


@pytest.mark.parametrize(
    "error, waits",
    [
        (redis.exceptions.OutOfMemoryError("command not allowed"), True),
        (redis.exceptions.NoPermissionError("this user has no permissions"), True),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), True),
        (redis.ResponseError("Command # 1 (EVALSHA 1 k) of pipeline caused error: BUSY Redis is busy"), True),
        (redis.ResponseError("Command # 1 (GET MISCONF x) of pipeline caused error: WRONGTYPE Operation"), False),
        (redis.DataError("OOMPH"), False),
    ],
)
def test_only_what_passes_is_waited_for(error: redis.RedisError, waits: bool) -> None:
    assert passing(error) == waits


ids = st.text(st.sampled_from('ab"\\{},:[]é\u2028 '), min_size=1, max_size=6)


def made(items: Sequence[str]) -> Shelf:
    told = [ShelfItem(item, 0.06553, 0.1, 2e-05, 0.3, "vector+lexical") for item in items]
    return Shelf(shelf_id="s" * 24, surface="feed", model="m", arm="champion", made_at=7, event_ts=5, items=told)


@fast
@given(st.lists(ids, min_size=1, max_size=8, unique=True), st.lists(ids, max_size=4), st.data())
def test_items_are_taken_out_of_a_shelf_and_nothing_else_changes(
    redis_db: str, items: list[str], strangers: list[str], data: st.DataObject
) -> None:
    gone = [*data.draw(st.lists(st.sampled_from(items), unique=True)), *strangers]
    left = [item for item in items if item not in gone]

    async def work(store: StateStore) -> None:
        await store.client.flushdb()
        await store.put([("shelf:feed:u", encoder.encode(made(items)), 5)], 60)
        assert await store.take_out({"shelf:feed:u": gone, "shelf:feed:nobody": gone}) == len(items) - len(left)
        value = await store.client.get("shelf:feed:u")
        assert value == (encoder.encode(made(left)) if left else None)
        if left:
            assert 0 < await store.client.ttl("shelf:feed:u") <= 60
            assert await store.put([("shelf:feed:u", b"{}", 4)], 60) == [False], "still a shelf of its event"

    told(redis_db, SMALL, work)


def test_the_index_finds_each_shelf_once_and_is_emptied_by_reading(redis_db: str) -> None:
    keys = [f"shelf:feed:ü{n}" for n in range(50)]
    shown = [[f"i{n % 5}", "all", 'odd "id"'] for n in range(50)]

    async def work(store: StateStore) -> None:
        await store.put([(key, shelf(1), 1) for key in keys], 600, shown)
        await store.put([(key, shelf(2), 2) for key in keys], 600, shown)
        found, everywhere = await store.take_shown(["i3", "all", "nobody"], 600)
        assert not everywhere and found.keys() == set(keys)
        assert {key for key, items in found.items() if "i3" in items} == set(keys[3::5])
        assert await store.take_shown(["i3", "all"], 600) == ({}, set())
        await store.put([(keys[0], shelf(3), 3)], 600, [["i3"]])
        assert await store.take_shown(["i3"], 600) == ({keys[0]: ["i3"]}, set())
        assert (await store.take_shown(['odd "id"'], 600))[0].keys() == set(keys)
        async for name in store.client.scan_iter("ls:*"):
            assert 0 < await store.client.ttl(name) <= 1_200

    told(redis_db, StateConfig(), work)


def test_the_index_is_bounded_and_says_so(redis_db: str) -> None:
    async def work(store: StateStore) -> None:
        keys = [f"shelf:feed:{n}" for n in range(2 * SHOWN_KEPT)]
        for start in range(0, len(keys), 64):
            some = keys[start : start + 64]
            await store.put([(key, shelf(1), 1) for key in some], 600, [["hit"]] * len(some))
        names = [name async for name in store.client.scan_iter("ls:*:shown:*")]
        assert [await store.client.scard(name) for name in names] == [SHOWN_KEPT]
        assert await store.client.object("encoding", names[0]) == b"intset"
        found, everywhere = await store.take_shown(["hit"], 600)
        assert len(found) == SHOWN_KEPT and everywhere == {"hit"}
        seen = [key async for shelves in store.every_shelf(100) for key in shelves]
        assert sorted(seen) == sorted(keys)

    told(redis_db, StateConfig(), work)


SPOILS = {**KINDS, "what is not ours beside what is": None}


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_own_items_are_cut_alike_however_events_are_batched_and_as_offline(redis_db: str, size: int) -> None:
    chance, memory, events = np.random.default_rng(0), Memory(), list[AnyEvent]()
    for visit in range(14):
        places = chance.permutation(1_200)[:80]
        memory.add(places, visit * DAY_MS + DAY_MS // 48)
        events += [
            Purchase(event_id=f"{visit}-{place}", ts=visit * DAY_MS, user_id="u", item_id=f"{place:04}")
            for place in places.tolist()
        ]

    async def work(store: StateStore) -> Shopper:
        for some in grouped(events, size):
            await store.remember({"u": some}, 10)
        return (await store.remember({"u": []}, 10))[0]["u"]

    items = ItemStatistics()
    items.places([f"{place:04}" for place in range(1_200)])
    live, offline = own_items(items, [told(redis_db, StateConfig(), work)])[0], memory.get()
    assert 400 <= len(live.places) <= 500
    assert live.places.tolist() == offline.places.tolist()
    for name in ("times", "demand", "first_ms", "last_ms", "visits_ms"):
        np.testing.assert_allclose(getattr(live, name), getattr(offline, name), rtol=1e-12)


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_whatever_others_put_under_its_keys_it_goes_on(redis_db: str, spoil: Spoil | None) -> None:
    """Every key that a worker makes is of another kind, or holds what is not ours: then all is done once more."""
    config = StateConfig(shards=2)

    async def all_of(store: StateStore, turn: int) -> tuple[Any, ...]:
        some = [("u1", "i1"), ("u1", "i2"), ("u2", "i1"), ("u2", "i3")]
        events: dict[str, list[AnyEvent]] = {"u1": [], "u2": []}
        for number, (who, item) in enumerate(some):
            at = {"ts": 1_000 * turn + number, "user_id": who}
            events[who].append(Click(event_id=f"c{turn}.{number}", item_id=item, **at))
            events[who].append(Search(event_id=f"s{turn}.{number}", query="red lamp", **at))
            events[who].append(Purchase(event_id=f"p{turn}.{number}", item_id=item, price=1.0, **at))
        known, _ = await store.remember(events, 10, {"u3"})
        shelf = b'{"event_ts":%d,"items":[{"item_id":"i1","x":1}]}' % turn
        shelves = [(f"shelf:feed:{who}", shelf, turn) for who in events]
        await store.limit_filtered([("u1", f"shelf:feed:u1:n={turn}"), ("u2", f"shelf:feed:u2:n={turn}")], 1, 600)
        written = await store.put(shelves, 600, [["i1"], ["i1"]])
        together, trend = await store.together(["i1", "i2"]), await store.trend([0])
        passed = [key async for some in store.every_shelf() for key in some]
        shown, _ = await store.take_shown(["i1"], 600)
        taken = await store.take_out(shown)
        return known, written, together, trend, passed, shown, taken

    def spoil_all() -> None:
        with redis.Redis.from_url(redis_db) as client:
            done = list(mixed(client)) if spoil is None else spoilt(client, spoil)
            assert len(done) > 10

    async def work(store: StateStore) -> tuple[Any, ...]:
        await all_of(store, 1)
        spoil_all()
        await all_of(store, 2)
        return await all_of(store, 3)

    known, written, together, trend, _, shown, taken = told(redis_db, config, work)
    assert [touch.item_id for touch in known["u1"].touched][:2] == ["i2", "i2"] and written == [True, True]
    assert "i2" in together["i1"] and trend[0]["i1"] > 0
    assert set(shown) == {"shelf:feed:u1", "shelf:feed:u2"} and taken == 2


@pytest.mark.parametrize("score", ["inf", "-inf", "1e300"])
def test_a_change_from_no_time_hides_no_other(redis_db: str, score: str) -> None:
    async def work(store: StateStore) -> list[str]:
        since = [0] * SMALL.shards
        for number in range(SMALL.shards):
            await store.client.zadd(f"ls:{{{number}}}:changed", {"zz": score})
        _, since = await store.changed(since)
        await store.remember({"u": [CLICK]}, 1)
        return (await store.changed(since))[0]

    assert "i" in told(redis_db, SMALL, work)


def test_click_effects_come_back_as_they_were_written_and_junk_is_left_out(redis_db: str) -> None:
    mine = {Key("item", "a b {x}:é"): Counts(1.25, 3.0, 17), Key("place", "feed.0"): Counts(9.0, 0.0, 18)}

    async def work(store: StateStore) -> tuple[Any, ...]:
        await store.put_effects(3, mine, [])
        await store.put_effects(31, {Key("brand", "B"): Counts(2.0, 1.0, 5)}, [])
        for name, value in ((b"3 item x", b"short"), (b"x item y", b"8" * 24), (b"3", b"8" * 24), (b"\xff", b"")):
            await store.client.hset(EFFECTS, name, value)
        later = wall_ms() + 2 * 86_400_000
        for number, junk in enumerate(((math.nan, 1.0, 1), (1.0, 1e300, 1), (1e300, 1.0, 1), (1.0, 1.0, later))):
            await store.client.hset(EFFECTS, f"3 item junk{number}", struct.pack("<ddq", *junk))
        await store.client.hset(EFFECTS, f"{'3' * 5_000} item x", struct.pack("<ddq", 1.0, 1.0, 1))
        every, one = await store.effects(), await store.effects(3)
        await store.put_effects(3, {}, [Key("item", "a b {x}:é")])
        left = await store.effects(3)
        await store.client.delete(EFFECTS)
        await store.client.set(EFFECTS, "of another kind")
        broken = await store.effects()
        await store.client.set(EFFECTS, "of another kind")
        await store.put_effects(3, mine, [])
        return every, one, left, broken, await store.effects()

    every, one, left, broken, healed = told(redis_db, SMALL, work)
    assert every == {3: mine, 31: {Key("brand", "B"): Counts(2.0, 1.0, 5)}} and one == {3: mine}
    assert left == {3: {Key("place", "feed.0"): Counts(9.0, 0.0, 18)}} and broken == {} and healed == {3: mine}
