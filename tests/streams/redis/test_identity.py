"""Sessions that log in, profiles and forgetting on a real Redis: in any order, killed anywhere, the same state."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.config import RedisConfig, StateConfig
from streams.events.receipt import Receipt
from streams.events.schema import AnyEvent, Cart, Click, Forget, Impression, Profile, Purchase, Search, Shown
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.features.items import ItemStatistics
from streams.features.own import ROW
from streams.features.shopper import MOST_SEEN, Page, Shopper, remembered, shard
from streams.redis import keys
from streams.redis.connection import connect
from streams.redis.identity import SESSIONS_KEPT, Identity, logins
from streams.redis.keys import own
from streams.redis.store import StateStore

pytestmark = pytest.mark.integration

CONFIG = StateConfig(shards=4, trend_bucket_s=10, ttl_s=600, forgotten_s=900)
fast = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SESSION, FIRST, SECOND = "s {1}:x", "u1", "ü2"
WHO: dict[str, dict[str, str]] = {
    "session": {"session_id": SESSION},
    "first": {"user_id": FIRST, "session_id": SESSION},
    "first alone": {"user_id": FIRST},
    "second": {"user_id": SECOND, "session_id": SESSION},
    "second alone": {"user_id": SECOND},
}


class KilledError(Exception):
    """The process is killed here."""


class Mortal(Identity):
    """Is killed before its n-th call to Redis."""

    def __init__(self, store: StateStore, lives: int) -> None:
        super().__init__(store)
        self.lives = lives
        self._remember, store.remember = store.remember, self._counted  # type: ignore[method-assign]

    async def _counted(self, *arguments: Any) -> Any:
        self._live()
        return await self._remember(*arguments)

    async def _run(self, fill: Callable[[Any], Any], last: int = 0) -> list[Any]:
        self._live()
        return await super()._run(fill, last)

    def _live(self) -> None:
        self.lives -= 1
        if not self.lives:
            raise KilledError


def told(url: str, work: Callable[[StateStore], Awaitable[Any]], config: StateConfig = CONFIG) -> Any:
    async def main() -> Any:
        client = connect(RedisConfig(url=url))  # type: ignore[arg-type]
        try:
            return await work(StateStore(client, config))
        finally:
            await client.aclose()

    return asyncio.run(main())


async def take(identity: Identity, batch: Sequence[AnyEvent]) -> dict[str, Shopper]:
    """A batch as the pipeline takes it."""
    by_shopper: dict[str, list[AnyEvent]] = {}
    for event in batch:
        if isinstance(event, Forget):
            await identity.forget(event)
        if remembered(event):
            by_shopper.setdefault(event.shopper, []).append(event)
    if profiles := [event for event in batch if isinstance(event, Profile)]:
        await identity.update_profiles(profiles)
    if seen := [event for event in batch if isinstance(event, Impression)]:
        await identity.see(seen)
    return (await identity.remember(by_shopper, logins(batch), 10))[0]


def lived(url: str, batches: Sequence[Sequence[AnyEvent]], kills: Sequence[int] = ()) -> dict[str, Any]:
    """The state after batches; before the n-th call of each kill the process dies, and the batch comes again."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    left = list(kills)

    async def work(store: StateStore) -> None:
        identity: Identity = Identity(store)
        for batch in batches:
            while True:
                if left:
                    store = StateStore(store.client, CONFIG)
                    identity = Mortal(store, left.pop())
                try:
                    await take(identity, batch)
                    break
                except KilledError:
                    identity = Identity(StateStore(store.client, CONFIG))

    told(url, work)
    return state(url)


def state(url: str) -> dict[str, Any]:
    """Memory by key, and demand summed over shards: which shard counts is nobody's business."""
    demand: Counter[tuple[str, str]] = Counter()
    rows: dict[str, list[Any]] = {}
    held: dict[str, Any] = {}
    with redis.Redis.from_url(url) as client:
        for raw in client.scan_iter("ls:*"):
            key = raw.decode()
            assert client.ttl(raw) > 0, key
            kind, what = key.split(":")[2], key.partition("}:")[2]
            if kind in ("trend", "with"):
                for item, count in client.zrange(raw, 0, -1, withscores=True):
                    assert count > 0
                    demand[what, item.decode()] += count
            elif kind == "stats":
                rows.setdefault(what, []).append(np.frombuffer(client.get(raw), "<f8"))
            elif kind == "own":
                values = {item: np.frombuffer(value, ROW)[0].tolist() for item, value in client.hgetall(raw).items()}
                held |= {f"{key} {item}": rounded(value) for item, value in values.items()}
            elif client.type(raw) == b"zset" and kind not in ("sessions", "changed", "visits"):
                held[key] = dict(client.zrange(raw, 0, -1, withscores=True))
            elif client.type(raw) == b"hash":
                held[key] = client.hgetall(raw)
    items = ItemStatistics()
    for what in sorted(rows):
        items.put(what, rows[what])
    held["statistics"] = {
        name: rounded([*row[2:8], *row[10:], *demand_now])
        for name, row, demand_now in zip(items.ids, items.values, items.demand(100_000), strict=True)
    }
    return held | {"demand": dict(zip(demand, rounded(demand.values()), strict=True))}


def rounded(values: Iterable[float]) -> list[float]:
    """Equal for values that differ by how they were added up."""
    return [float(f"{value:.6g}") for value in values]


@st.composite
def stories(draw: st.DrawFn) -> list[AnyEvent]:
    """What a session and two users do, in order of nothing."""
    events: list[AnyEvent] = []
    for n in range(draw(st.integers(2, 12))):
        common = {"event_id": f"e{n}", "ts": draw(st.integers(1, 30_000)), **WHO[draw(st.sampled_from(list(WHO)))]}
        kind = draw(st.sampled_from([Click, Click, Cart, Purchase, Search, Impression]))
        what: dict[str, Any] = {"item_id": draw(items)}
        if kind is Search:
            what = {"query": draw(st.sampled_from(["tv", "usb"]))}
        elif kind is Impression:
            shown = [Shown(item_id=item, position=0) for item in draw(st.lists(items, min_size=1, max_size=3))]
            what = {"shelf_id": "s", "surface": "feed", "items": shown}
        events.append(kind(**common, **what))
    return events


items = st.sampled_from(["a", "b", "c", "d:{x}"])


def grouped(events: Sequence[AnyEvent], size: int) -> list[Sequence[AnyEvent]]:
    return [events[start : start + size] for start in range(0, len(events), size)]


def attributed(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """The same events with each under the id of whose it is: what the session did is its first user's."""
    users = sorted((ts, user.encode(), user) for (_, user), ts in logins(events).items())
    owner = {"user_id": users[0][2]} if users else {"session_id": SESSION}
    return [
        msgspec.structs.replace(event, **({"user_id": None, "session_id": None} | (
            owner if event.user_id is None else {"user_id": event.user_id})))
        for event in events
    ]  # fmt: skip


@fast
@given(stories(), st.data())
def test_any_order_and_any_death_give_what_the_first_user_would_have_done(
    redis_db: str, events: list[AnyEvent], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    order = data.draw(st.permutations(events + again))
    kills = data.draw(st.lists(st.integers(1, 8), max_size=6))
    held = lived(redis_db, grouped(order, data.draw(st.integers(1, 5))), kills)
    owned = attributed(events)
    wanted = lived(redis_db, [owned])
    assert held["demand"] == wanted["demand"]
    assert held["statistics"] == wanted["statistics"]
    for who in dict.fromkeys(event.shopper for event in owned):
        number = shard(who, CONFIG.shards)
        for kind in ("items", "queries", "bought", "own", "seen"):
            mine = own(number, kind, who)
            assert {key: held[key] for key in held if key.startswith(mine)} == {
                key: wanted[key] for key in wanted if key.startswith(mine)
            }
    straight = lived(redis_db, [events])
    assert {key: held[key] for key in held if ":searched:" not in key} == {
        key: straight[key] for key in straight if ":searched:" not in key
    }
    for key in straight:  # who had a session's queries for a while may have a shelf of them: the index keeps them
        assert ":searched:" not in key or all(at <= held[key][name] for name, at in straight[key].items())


values = st.sampled_from(["gold", "x" * 256, "é", 1980, 2.5, True, None])


@fast
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.dictionaries(st.sampled_from("abcde"), values, min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_of_a_profile_the_newest_values_stay_in_any_order(
    redis_db: str, changes: list[tuple[int, dict[str, Any]]], data: st.DataObject
) -> None:
    config = CONFIG.model_copy(update={"profile_keys": 3})
    events = [
        Profile(event_id=str(n), ts=ts, user_id=FIRST, attributes=attributes)
        for n, (ts, attributes) in enumerate(changes)
    ]
    newest: dict[str, tuple[int, bytes, Any]] = {}
    for ts, attributes in changes:
        for name, value in attributes.items():
            one = ts, msgspec.json.encode(value), value
            newest[name] = max(newest.get(name, one), one, key=lambda held: held[:2])
    kept = sorted(newest, key=lambda name: (newest[name][0], name))[-3:]
    with redis.Redis.from_url(redis_db) as client:
        client.flushdb()

    async def work(store: StateStore) -> tuple[dict[str, Any], dict[str, Shopper]]:
        identity = Identity(store)
        for batch in grouped(data.draw(st.permutations(events + events[:2])), data.draw(st.integers(1, 3))):
            await take(identity, batch)
        return await identity.profile(FIRST), (await store.remember({FIRST: []}, 1))[0]

    alone, with_memory = told(redis_db, work, config)
    assert alone == with_memory[FIRST].profile
    assert alone == {name: newest[name][2] for name in kept if newest[name][2] is not None}


def click(n: int, ts: int, item: str = "a", **who: str) -> Click:
    return Click(event_id=f"c{n}", ts=ts, item_id=item, **(who or {"user_id": FIRST}))


def page(n: int, ts: int, shown: str, **who: str) -> Impression:
    found = [Shown(item_id=item, position=place) for place, item in enumerate(shown)]
    return Impression(event_id=f"i{n}", ts=ts, shelf_id="s", surface="feed", items=found, **(who or {"user_id": FIRST}))


def test_demand_is_counted_by_segment_of_a_bounded_number(redis_db: str) -> None:
    config = CONFIG.model_copy(update={"segments": 2, "shards": 1})

    async def work(store: StateStore) -> Any:
        identity = Identity(store)
        for n, segment in enumerate(["gold", "gold", "trade:{x}", "third"]):
            who = {"user_id": f"u{n}"}
            profile = Profile(event_id=f"p{n}", ts=1, attributes={"segment": segment}, **who)
            await take(identity, [profile, click(n, 5, **who), click(n, 5, **who)])
        await take(identity, [click(9, 5, "b", session_id="s")])
        await take(identity, [click(10, 5, "b", user_id="u0", session_id="s")])  # as which it counts in the segment
        return await store.segment_trend([0, 1], 5), await store.trend([0])

    by_segment, everyone = told(redis_db, work, config)
    assert by_segment == {0: {"gold": {"a": 2, "b": 1}, "trade:{x}": {"a": 1}}}
    assert everyone == {0: {"a": 4, "b": 1}}


async def put_shelves(store: StateStore, *names: str) -> None:
    """A shelf under each key."""
    shelf = Shelf(
        shelf_id="f",
        surface="feed",
        model="m",
        arm="champion",
        made_at=5,
        event_ts=5,
        items=[ShelfItem("a", 1.0, 0.1, 0.1, 0.1, "new")],
    )
    await store.put([(name, encoder.encode(shelf), 5) for name in names], 600, [["a"]] * len(names))


def test_who_is_forgotten_leaves_nothing_but_the_mark_and_what_comes_again_is_ignored(redis_db: str) -> None:
    before = [
        click(1, 10, session_id=SESSION),
        click(2, 20, "b"),
        *(Search(event_id=f"q{n}", ts=25 + n, user_id=FIRST, query=query) for n, query in enumerate(["tv", "other"])),
        Purchase(event_id="p", ts=30, user_id=FIRST, session_id=SESSION, item_id="c"),
        Profile(event_id="pr", ts=31, user_id=FIRST, attributes={"segment": "gold"}),
        click(3, 32, "d", user_id=SECOND, session_id=SESSION),
        click(4, 33, "d", user_id=FIRST, session_id="of the second"),
        click(5, 20, "d", user_id=SECOND, session_id="of the second"),
        page(1, 34, "abc", user_id=FIRST),
        page(2, 35, "ab", session_id=SESSION),
    ]
    forget = Forget(event_id="f", ts=40, user_id=FIRST)
    mine = [keys.feed(FIRST), keys.search("tv", FIRST), keys.search("other", FIRST), keys.feed(SESSION)]
    filtered = [(FIRST, keys.feed(FIRST, "n=1")), (SESSION, keys.search("tv", SESSION, "n=1"))]
    others = [
        keys.feed(SECOND),
        keys.feed(SECOND, "n=1"),
        keys.search("tv", SECOND),
        keys.search("tv", f"x{FIRST}"),
        keys.search("tv", f"{FIRST}*"),
        keys.search("tv"),
        keys.popular(),
        keys.search(FIRST),
    ]

    async def work(store: StateStore) -> list[Receipt]:
        identity = Identity(store)
        await take(identity, before)
        await store.limit_filtered([*filtered, (SECOND, keys.feed(SECOND, "n=1"))], 9, 600)
        await put_shelves(store, *mine, *others, *(key for _, key in filtered))
        demand.append(await store.trend([0]))
        first = await identity.forget(forget)
        demand.append(await store.trend([0]))
        again = await Identity(store).forget(forget)
        shoppers = await take(Identity(store), [*before, click(6, 41, "e"), page(3, 42, "d")])
        demand.append(await store.trend([0]))
        await put_shelves(store, keys.feed(FIRST))
        async for found in store.every_shelf():
            shelves.extend(found)
        assert [one.item_id for one in shoppers[FIRST].touched] == ["e"]
        assert (shoppers[FIRST].forgotten_ms, shoppers[FIRST].profile) == (40, {})
        assert shoppers[FIRST].seen == (Page(42, ("d",)),)
        assert await store.forgotten([FIRST, SECOND, SESSION]) == {FIRST: 40, SESSION: 40}
        nobody = await identity.forget(Forget(event_id="n", ts=40, user_id="nobody", session_id="none"))
        session = await identity.forget(Forget(event_id="o", ts=50, session_id="of the second"))
        return [first, again, nobody, session]

    demand: list[Any] = []
    shelves: list[str] = []
    first, again, nobody, session = told(redis_db, work)
    assert first.known and first.shoppers == [FIRST, SESSION]
    removed = first.removed
    assert (removed.items, removed.queries, removed.bought, removed.attributes) == (5, 2, 1, 1)
    assert (removed.shelves, removed.sessions, removed.hours, removed.pages) == (6, 2, 1, 3)
    assert again == msgspec.structs.replace(first, removed=msgspec.structs.replace(removed, shelves=0))
    assert not nobody.known and nobody.shoppers == ["nobody", "none"]
    assert session.shoppers == ["of the second"]
    assert demand[0] == demand[1], "aggregate counts stay"
    assert demand[2] == {0: demand[0][0] | {"e": 1}}, "what comes again does not count again"
    assert sorted(shelves) == sorted([*others, keys.feed(FIRST)])
    with redis.Redis.from_url(redis_db, decode_responses=True) as client:
        left = {key for key in client.scan_iter("ls:*") if keys.escape(FIRST) in key.split(":")}
        kinds = {key.split(":")[2] for key in left}
        assert kinds == {"items", "clock", "cells", "own", "visits", "seen", "forgotten"}, "of what came later"
        assert FIRST not in client.zrange(own(shard(SESSION, 4), "users", SESSION), 0, -1)
        kept = client.hget(own(shard(FIRST, 4), "forgotten", FIRST), "receipt")
        assert msgspec.json.decode(kept, type=Receipt).removed_at == first.removed_at


@fast
@given(
    st.lists(st.tuples(st.integers(1, 9), st.text("abc", min_size=1, max_size=3)), min_size=1, max_size=9), st.data()
)
def test_the_newest_pages_are_kept_in_any_order_and_whatever_is_delivered_again(
    redis_db: str, pages: list[tuple[int, str]], data: st.DataObject
) -> None:
    config = CONFIG.model_copy(update={"seen_pages": 4})
    events = [page(n, ts, shown) for n, (ts, shown) in enumerate(pages)]
    order = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=5))))
    size = data.draw(st.integers(1, 4))
    with redis.Redis.from_url(redis_db) as client:
        client.flushdb()

    async def work(store: StateStore) -> Any:
        identity = Identity(store)
        for batch in grouped(order, size):
            await take(identity, batch)
        return (await store.remember({FIRST: []}, 1))[0][FIRST], await store.trend([0]), await store.changed([0] * 4)

    shopper, demand, changed = told(redis_db, work, config)
    newest = sorted(((one.time_ms, memory_of(one)) for one in events), reverse=True)[:4]
    assert shopper.seen == tuple(Page(ts, member[1:]) for ts, member in newest)
    assert (demand, changed[0]) == ({0: {}}, []), "what is seen makes no demand"


def memory_of(event: Impression) -> tuple[str, ...]:
    return (event.event_id, *dict.fromkeys(one.item_id for one in event.items))


def test_what_is_kept_of_pages_is_bounded(redis_db: str) -> None:
    async def work(store: StateStore) -> Shopper:
        identity = Identity(store)
        shown = [Shown(item_id=f"i{n}", position=n) for n in range(200)]
        for n in range(30):
            await identity.see([msgspec.structs.replace(page(n, n + 1, "a"), items=shown)])
        return (await store.remember({FIRST: []}, 1))[0][FIRST]

    seen = told(redis_db, work).seen
    assert [one.time_ms for one in seen] == list(range(30, 20, -1))
    assert {one.items for one in seen} == {tuple(f"i{n}" for n in range(MOST_SEEN))}


def test_what_is_kept_of_logins_is_bounded(redis_db: str) -> None:
    async def work(store: StateStore) -> None:
        identity = Identity(store)
        for n in range(SESSIONS_KEPT + 5):
            await take(identity, [click(n, n + 1, user_id=FIRST, session_id=f"s{n}")])
            await take(identity, [click(n, n + 1, user_id=f"u{n}", session_id=SESSION)])

    told(redis_db, work)
    with redis.Redis.from_url(redis_db) as client:
        sessions = client.zrange(own(shard(FIRST, 4), "sessions", FIRST), 0, -1)
        users = client.zrange(own(shard(SESSION, 4), "users", SESSION), 0, -1)
    assert len(sessions) == SESSIONS_KEPT and sessions[-1] == b"s%d" % (SESSIONS_KEPT + 4)
    assert users == [b"u%d" % n for n in range(8)]


@pytest.mark.parametrize("kind", ["sessions", "searched", "filtered", "renewals", "forgotten"])
def test_forgetting_does_without_what_somebody_else_has_put_there(redis_db: str, kind: str) -> None:
    async def work(store: StateStore) -> None:
        identity, number = Identity(store), shard("u", CONFIG.shards)
        await take(identity, [Click(event_id="c", ts=10, user_id="u", item_id="i")])
        name = keys.own(number, kind) if kind == "renewals" else keys.own(number, kind, "u")
        await store.client.delete(name)
        await store.client.set(name, "x")
        assert (await identity.forget(Forget(event_id="f", ts=40, user_id="u"))).known
        assert not await store.client.exists(keys.own(number, "items", "u"))

    told(redis_db, work)


def test_a_login_that_was_forgotten_hides_no_later_one(redis_db: str) -> None:
    def both(event_id: str, ts: int) -> Click:
        return Click(event_id=event_id, ts=ts, user_id="u", session_id="s", item_id="i")

    async def work(store: StateStore) -> None:
        identity = Identity(store)
        await take(identity, [both("1", 5)])
        await take(identity, [Forget(event_id="f", ts=10, user_id="u")])
        await take(identity, [both("1", 5)])  # delivered again
        await take(identity, [Click(event_id="2", ts=15, session_id="s", item_id="mine")])
        await take(identity, [both("3", 20)])
        assert await store.client.zrange(keys.own(shard("u", CONFIG.shards), "sessions", "u"), 0, -1) == [b"s"]
        shoppers, _ = await store.remember({"u": ()}, 10)
        assert {one.item_id for one in shoppers["u"].touched} == {"i", "mine"}

    told(redis_db, work)
