"""Who a shopper is: sessions that log in as users, profiles, and shoppers that are to be forgotten.

A session that logs in brings its memory to the user: the first one by the time of the login. It is read from the
session's shard, then given to ``remember`` of the user's shard, which is a set union, then its demand is taken out of
the session's shard. Each step may be repeated. A process that is killed between two of them gets the same event again
and goes on. So no step needs two shards at once, and any order of events leaves the same state (``docs/privacy.md``).

Knows the store of the state and Redis; nothing of Kafka or of how shelves are made.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import msgspec
from cachetools import FIFOCache

from streams.clock import wall_ms
from streams.events.receipt import Receipt, Removed
from streams.events.schema import AnyEvent, Forget, Impression, Profile
from streams.features import shopper as memory
from streams.features.shopper import Shopper, Uncounted, shard
from streams.redis import keys
from streams.redis.keys import own
from streams.redis.lua import Scripts
from streams.redis.store import SEARCHED_KEPT, StateStore, shelf_number

SCRIPTS = ("link", "session", "uncount", "profile", "forget", "drop_shelf", "see", "sorted_set")

USERS_KEPT = 8
"""Users of one session that are kept, those of the earliest logins."""

SESSIONS_KEPT = 64
"""Sessions of one user that are kept, those of the newest logins."""

CELLS_BROUGHT = 500
"""The most cells of a session that are brought to a user; others go on counting for the session."""

LINKS_KNOWN, LINK_AGAIN_MS = 100_000, 3_600_000
"""How many logins a process remembers to have passed on, and after how long one is passed on again, which renews it."""

SCANNED = 1_000
"""Keys that one step of a scan looks at."""

Logins = Mapping[tuple[str, str], int]
"""The time (ms) of the earliest login by session and user."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a session brings to a user.

    Attributes
    ----------
    name, user
        The session, and the first user that it logged in as.
    others
        The other users that it logged in as: nothing of it is theirs.
    history
        Its history as four arguments of ``remember`` for each event, which do not count as demand.
    cells
        What it counts for: the same for each cell, at the beginning of its bucket.
    profile
        Attribute, time and JSON of each value.
    seen
        Time and member of each page that it saw.
    """

    name: str
    user: str
    others: tuple[str, ...]
    history: list[Any]
    cells: list[Any]
    profile: list[Any]
    seen: list[Any]

    @property
    def arguments(self) -> list[Any]:
        """All that the user's ``remember`` takes. Where another user may have had it before, its history counts too."""
        if not self.others:
            return self.history + self.cells
        counting = list(self.history)
        counting[::4] = [code.lower() for code in counting[::4]]
        return counting + self.cells


def logins(events: Iterable[AnyEvent]) -> dict[tuple[str, str], int]:
    """The earliest login of each session and user among some events: an event that names both.

    Examples
    --------
    >>> from streams.events.schema import Read
    >>> both = [Read(event_id=str(ts), ts=ts, session_id="s", user_id="u", item_id="i") for ts in (7, 5)]
    >>> logins([*both, Read(event_id="3", ts=3, session_id="s", item_id="i")])
    {('s', 'u'): 5}
    """
    found: dict[tuple[str, str], int] = {}
    for event in events:
        session, user = event.session_id, event.user_id
        if session is None or user is None or session == user or isinstance(event, Forget):
            continue
        found[session, user] = min(event.time_ms, found.get((session, user), event.time_ms))
    return found


class Identity:
    """Logins, profiles and forgetting, on the state of a store.

    Parameters
    ----------
    store
        Where the memory is; its client, settings and pauses are used.
    """

    def __init__(self, store: StateStore) -> None:
        self.store, self.client, self.config = store, store.client, store.config
        self._scripts = Scripts(store.client, "streams.redis", SCRIPTS)
        self._known: FIFOCache[tuple[str, str], tuple[int, int]] = FIFOCache(LINKS_KNOWN)

    async def remember(
        self, events: Mapping[str, Sequence[AnyEvent]], logged_in: Logins, newest: int, bots: Set[str] = frozenset()
    ) -> tuple[dict[str, Shopper], Uncounted]:
        """`StateStore.remember`, and what sessions that have logged in bring to their users.

        Parameters
        ----------
        logged_in
            Logins of the batch. Those that this process has passed on within the hour cost nothing.

        Returns
        -------
        dict, Uncounted
            The past of each shopper in ``events``, with what was brought.
        """
        now = wall_ms()
        new = {pair: ts for pair, ts in logged_in.items() if self._due(pair, ts, now)}
        first = await self._linked(new)
        shoppers, uncounted = await self._bring(first, events, newest, bots)
        later = {name for name in events if shoppers[name].user not in (None, name)}
        if later:  # their events of this batch came after what they brought
            again, _ = await self._bring(await self._sessions(later), {}, newest)
            shoppers |= again
        gone = await self.store.forgotten(sorted({name for pair in new for name in pair})) if new else {}
        for (session, user), ts in new.items():
            if ts > max(gone.get(session, -1), gone.get(user, -1)):  # else it was not noted
                self._known[session, user] = now, ts
        return {name: shoppers[name] for name in events}, uncounted

    async def see(self, impressions: Iterable[Impression]) -> None:
        """Remember the pages that shoppers saw, in one round trip; in a second one, for the user of a session that has
        logged in, what comes under the session alone."""
        pages: dict[str, list[Any]] = {}
        for one in impressions:
            pages.setdefault(one.shopper, []).extend((one.time_ms, memory.page(one)))
        users = await self._run(lambda pipe: self._add_pages(pipe, pages))
        theirs: dict[str, list[Any]] = {}
        for (name, mine), user in zip(pages.items(), users, strict=True):
            if user and (first := user[0].decode("utf-8", "replace")) != name:
                theirs.setdefault(first, []).extend(mine)
        if theirs:
            await self._run(lambda pipe: self._add_pages(pipe, theirs))

    async def update_profiles(self, profiles: Iterable[Profile]) -> None:
        """Keep the newest value of each attribute, in one round trip."""
        values: dict[str, list[Any]] = {}
        for one in profiles:
            for name, value in one.attributes.items():
                values.setdefault(one.shopper, []).extend((name, one.time_ms, msgspec.json.encode(value)))
        await self._run(lambda pipe: self._add_profiles(pipe, values))

    async def profile(self, shopper: str) -> dict[str, Any]:
        """A shopper's profile, read alone; `remember` returns it as well."""
        key = own(shard(shopper, self.config.shards), "profile", shopper)
        [kept] = await self._run(lambda pipe: pipe.hgetall(key))
        return memory.profile_of([part for pair in kept.items() for part in pair])

    async def forget(self, event: Forget) -> Receipt:
        """Remove all that is kept of a shopper up to the event's time; what comes later from before it is ignored.

        The sessions that logged in as the user first go with it. Repeated, it tells the same again.
        """
        at = event.time_ms
        named = dict.fromkeys(name for name in (event.user_id, event.session_id) if name is not None)
        removed, gone = Removed(), dict[str, int]()
        for name in named:
            before: dict[str, list[int]] = {}
            for session in await self._sessions_of(name):
                if session not in named and (reply := await self._forget(session, event, of=name)):
                    before[session] = reply[:8]
                    await self._unlink(session, reply[8], name)
            # The user last: until then it is known which sessions are the user's, and then what was removed of them.
            *mine, users, sessions = await self._forget(name, event, before=msgspec.json.encode(before))
            for who, counts in (_sessions_decoder.decode(sessions or b"{}") | {name: mine}).items():
                removed += _removed(counts)
                gone[who] = counts[7]
            await self._unlink(name, users)
        removed = msgspec.structs.replace(removed, shelves=await self._drop_shelves(gone))
        receipt = Receipt(
            event_id=event.event_id,
            user_id=event.user_id,
            session_id=event.session_id,
            before=at,
            removed_at=max(gone.values()),
            ignored_until=max(gone.values()) + self.config.forgotten_s * 1000,
            known=any(msgspec.structs.astuple(removed)),
            shoppers=list(dict.fromkeys((*named, *gone))),
            removed=removed,
        )
        value = msgspec.json.encode(receipt)

        def keep(pipe: Any) -> None:
            for name in named:
                pipe.hset(own(shard(name, self.config.shards), "forgotten", name), "receipt", value)
            for name in gone:
                number = shard(name, self.config.shards)
                pipe.zremrangebyscore(own(number, "searched", name), "-inf", at)
                pipe.zremrangebyscore(own(number, "filtered", name), "-inf", gone[name])

        await self._run(keep)
        return receipt

    async def _sessions_of(self, user: str) -> list[str]:
        """The sessions that logged in as a user, the newest ones."""
        key = own(shard(user, self.config.shards), "sessions", user)
        [names] = await self._run(lambda pipe: self._read_all(pipe, [key]), 1)
        return [name.decode("utf-8", "replace") for name in names]

    def _read_all(self, pipe: Any, names: Sequence[str]) -> None:
        """Read sorted sets whole, as the last replies of a pipeline; values of another kind are removed."""
        for name in names:
            self._scripts.add(pipe, "sorted_set", [name])
        for name in names:
            pipe.zrange(name, 0, -1)

    def _due(self, pair: tuple[str, str], ts: int, now: int) -> bool:
        since, earliest = self._known.get(pair, (0, 0))
        return now - since >= LINK_AGAIN_MS or ts < earliest

    async def _linked(self, new: Logins) -> list[Session]:
        """Note logins on both sides, and read the sessions."""
        if not new:
            return []
        ttl = self.config.ttl_s

        def link(pipe: Any) -> None:
            for (session, user), ts in new.items():
                for name, kind, kept, which, other in (
                    (session, "users", USERS_KEPT, "LT", user),
                    (user, "sessions", SESSIONS_KEPT, "GT", session),
                ):
                    number = shard(name, self.config.shards)
                    both = [own(number, kind, name), own(number, "forgotten", name)]
                    self._scripts.add(pipe, "link", both, ttl, kept, which, other, ts)

        return await self._sessions({session for session, _ in new}, link)

    async def _sessions(self, names: Iterable[str], before: Callable[[Any], Any] = id) -> list[Session]:
        """What is remembered of sessions, without those that have not logged in; in one round trip, after what
        ``before`` adds to it."""
        names, config = sorted(names), self.config

        def read(pipe: Any) -> None:
            before(pipe)
            for name in names:
                number = shard(name, config.shards)
                kinds = ("items", "queries", "bought", "clock", "profile", "users", "seen")
                self._scripts.add(
                    pipe,
                    "session",
                    [own(number, kind, name) for kind in kinds],
                    own(number, "cells", name),
                    config.trend_bucket_s * 1000,
                    config.trend_bucket_s * config.trend_buckets * 2,
                    CELLS_BROUGHT,
                )

        bucket_ms = config.trend_bucket_s * 1000
        replies = (await self._run(read))[-len(names) :]
        return [_session(name, reply, bucket_ms) for name, reply in zip(names, replies, strict=True) if reply[0]]

    async def _bring(
        self,
        sessions: Sequence[Session],
        events: Mapping[str, Sequence[AnyEvent]],
        newest: int,
        bots: Set[str] = frozenset(),
    ) -> tuple[dict[str, Shopper], Uncounted]:
        """Remember events and what sessions bring to their users, then take it from where it counted before."""
        brought: dict[str, list[Any]] = {}
        profiles: dict[str, list[Any]] = {}
        pages: dict[str, list[Any]] = {}
        for one in sessions:
            if one.arguments:
                brought.setdefault(one.user, []).extend(one.arguments)
            if one.profile:
                profiles.setdefault(one.user, []).extend(one.profile)
            if one.seen:
                pages.setdefault(one.user, []).extend(one.seen)

        def give(pipe: Any) -> None:
            self._add_profiles(pipe, profiles)
            self._add_pages(pipe, pages)

        if profiles or pages:
            await self._run(give)
        everyone = {**events, **{user: () for user in brought if user not in events}}
        shoppers, uncounted = dict[str, Shopper](), Uncounted()
        if everyone:
            shoppers, uncounted = await self.store.remember(everyone, newest, bots, brought)

        def settle(pipe: Any) -> None:
            for one in sessions:
                if one.cells:
                    self._add_uncount(pipe, one.name, "cells", shoppers[one.user].ahead_ms, one.cells)
                for other in one.others:
                    gone = one.history + _taken(one.profile) + _unseen(one.seen)
                    self._add_uncount(pipe, other, "memory", -math.inf, gone)

        if any(one.cells or one.others for one in sessions):
            await self._run(settle)
        return shoppers, uncounted

    def _add_uncount(self, pipe: Any, shopper: str, what: str, ahead_ms: float, acts: Sequence[Any]) -> None:
        config, number = self.config, shard(shopper, self.config.shards)
        self._scripts.add(
            pipe,
            "uncount",
            [own(number, kind, shopper) for kind in ("items", "queries", "bought", "profile", "own", "visits", "seen")],
            own(number),
            own(number, "cells", shopper),
            config.trend_bucket_s * 1000,
            config.trend_bucket_s * config.trend_buckets * 2,
            max(config.ttl_s, config.buyer_ttl_s),
            memory.ACTS,
            what,
            ahead_ms,
            *acts,
        )

    def _add_profiles(self, pipe: Any, values: Mapping[str, Sequence[Any]]) -> None:
        config = self.config
        for shopper, mine in values.items():
            number = shard(shopper, config.shards)
            both = [own(number, "profile", shopper), own(number, "forgotten", shopper)]
            self._scripts.add(pipe, "profile", both, config.ttl_s, config.profile_keys, *mine)

    def _add_pages(self, pipe: Any, pages: Mapping[str, Sequence[Any]]) -> None:
        config = self.config
        for shopper, mine in pages.items():
            number = shard(shopper, config.shards)
            kinds = [own(number, kind, shopper) for kind in ("seen", "forgotten", "users")]
            self._scripts.add(pipe, "see", kinds, config.seen_ttl_s, config.seen_pages, *mine)

    async def _forget(self, shopper: str, event: Forget, of: str = "", before: bytes = b"") -> list[Any]:
        """What `forget.lua` returns; nothing for a session that is another user's."""
        config, number = self.config, shard(shopper, self.config.shards)
        kinds = (
            *("forgotten", "users", "sessions", "items", "queries", "bought"),
            *("profile", "clock", "bot", "own", "visits", "seen"),
        )
        places = [*(own(number, kind, shopper) for kind in kinds), own(number, "renewals")]
        [reply] = await self._run(
            lambda pipe: self._scripts.add(
                pipe,
                "forget",
                places,
                event.time_ms,
                event.event_id,
                config.forgotten_s,
                own(number, "cells", shopper),
                config.trend_bucket_s * 1000,
                config.trend_bucket_s * config.trend_buckets * 2,
                of,
                wall_ms(),
                before,
                shopper.encode("utf-8", "replace"),
            )
        )
        for pair in [pair for pair in self._known if shopper in pair]:
            del self._known[pair]
        return list(reply)

    async def _unlink(self, session: str, users: Sequence[bytes], of: str = "") -> None:
        """Take a session out of what is kept of its users, but of the one that is forgotten next."""
        others = [name for user in users if (name := user.decode("utf-8", "replace")) != of]

        def unlink(pipe: Any) -> None:
            for user in others:
                pipe.zrem(own(shard(user, self.config.shards), "sessions", user), session)

        if others:
            await self._run(unlink)

    async def _drop_shelves(self, gone: Mapping[str, int]) -> int:
        """Remove the feeds and personal searches of shoppers that were made before they were forgotten (ms), and how
        many they were. Of a shopper with more queries than are kept, searches are found by a scan of all keys."""
        names = list(gone)

        sets = [own(shard(name, self.config.shards), kind, name) for name in names for kind in ("searched", "filtered")]
        dropped = 0
        replies = await self._run(lambda pipe: self._read_all(pipe, sets), len(sets))
        for name, queries, filtered in zip(names, replies[::2], replies[1::2], strict=True):
            found = [keys.feed(name), *(keys.search(query.decode("utf-8", "replace"), name) for query in queries)]
            found += [key for one in filtered if (key := one.decode("utf-8", "replace")).startswith("shelf:")]
            dropped += await self._drop(found, gone[name])
            if len(queries) >= SEARCHED_KEPT:
                ending = keys.escape(name).replace("*", r"\*")
                found = []
                async for key in self.client.scan_iter(match=f"shelf:search:*:{ending}", count=SCANNED):
                    found.append(key.decode("utf-8", "replace"))
                dropped += await self._drop(found, gone[name])
        return dropped

    async def _drop(self, shelves: Sequence[str], at: int) -> int:
        def drop(pipe: Any) -> None:
            for key in shelves:
                self._scripts.add(pipe, "drop_shelf", [key], at)
            for key in shelves:
                number = shelf_number(key)
                pipe.delete(own(number % self.config.shards, "numbered", str(number)))

        return sum((await self._run(drop))[: len(shelves)]) if shelves else 0

    async def drop_feed(self, shopper: str) -> None:
        """Remove a shopper's feed that was made before now."""
        await self._drop([keys.feed(shopper)], wall_ms())

    async def _run(self, fill: Callable[[Any], Any], last: int = 0) -> list[Any]:
        """The replies to a pipeline that ``fill`` fills, or the ``last`` ones, however long Redis is away."""

        async def send(pipe: Any) -> list[Any]:
            fill(pipe)
            replies: list[Any] = await pipe.execute()
            return replies[-last:]

        return await self.store.retry.until_done(lambda: self._scripts.run(send))


def _session(name: str, reply: Sequence[Any], bucket_ms: int) -> Session:
    """A session from the script's reply; what is not ours is left out."""
    users, items, queries, bought, profile, seen, *cells = reply
    first, *others = (user.decode("utf-8", "replace") for user in users)
    history: list[Any] = []
    for flat in (items, queries):
        for member, time in zip(flat[::2], flat[1::2], strict=True):
            code, *rest = member.split(memory.SEPARATOR.encode(), 1)
            if rest and code.decode("utf-8", "replace") in memory.KINDS:
                kind = code.decode()
                history += [kind if kind == "s" else kind.upper(), _whole(time), member, rest[0].rsplit(b"\x1f", 1)[0]]
    for item, time in zip(bought[::2], bought[1::2], strict=True):
        history += [memory.CODES["purchase"].upper(), _whole(time), b"", item]
    counted: list[Any] = []
    letters = memory.ACTS[::2]
    for bucket, mine in zip(cells[::2], cells[1::2], strict=True):
        for item, mask in zip(mine[::2], mine[1::2], strict=True):
            if mask.isdigit():
                for place, code in enumerate(letters):
                    if int(mask) >> place & 1:
                        counted += [code, int(bucket) * bucket_ms, b"", item]
    values: list[Any] = []
    for attribute, kept in zip(profile[::2], profile[1::2], strict=True):
        time, _, value = kept.partition(b":")
        if time.isdigit():
            values += [attribute, int(time), value]
    timed = [(time, member) for member, time in zip(seen[::2], seen[1::2], strict=True) if math.isfinite(float(time))]
    pages = [part for time, member in timed for part in (_whole(time), member)]
    return Session(name, first, tuple(others), history, counted, values, pages)


def _whole(score: bytes) -> int:
    return int(float(score))


_sessions_decoder = msgspec.json.Decoder(dict[str, list[int]])


def _taken(profile: Sequence[Any]) -> list[Any]:
    """A profile as the script takes it that removes its values."""
    flat: list[Any] = []
    for name, time, value in zip(profile[::3], profile[1::3], profile[2::3], strict=True):
        flat += ["=", 0, f"{time}:".encode() + value, name]
    return flat


def _unseen(pages: Sequence[Any]) -> list[Any]:
    """Pages as the script takes them that removes them."""
    flat: list[Any] = []
    for time, member in zip(pages[::2], pages[1::2], strict=True):
        flat += ["i", time, member, b""]
    return flat


def _removed(reply: Sequence[int]) -> Removed:
    items, queries, bought, attributes, hours, sessions, pages = reply[:7]
    return Removed(items, queries, bought, attributes, hours, sessions=sessions, pages=pages)
