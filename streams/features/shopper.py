"""A shopper's past: what is remembered of it, and how events are added.

Pure: turns events into the arguments of the ``remember`` script, and its reply into a value. The script, with the
arithmetic of caps and counts, is in ``scripts/remember.lua``; the connection is in ``store``.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeGuard

import msgspec

from models.intents import TREND_WEIGHTS
from streams.events.schema import AnyEvent, Impression, ProfileValue, Review, Search, Touch, normalise
from streams.features.own import ROW

CODES = {"search": "s", "click": "c", "read": "r", "cart": "b", "purchase": "p", "review": "v"}
KINDS = {code: kind for kind, code in CODES.items()}
SEPARATOR = "\x1f"
MOST_SEEN = 50
"""Items of a page that are remembered as seen."""

ACTS = "".join(f"{CODES[kind]}{weight}" for kind, weight in TREND_WEIGHTS.items())
"""The code and weight of each kind of act, as the script takes them. Cells keep a kind by its place here: add new kinds
at the end of ``TREND_WEIGHTS``."""


@lru_cache(maxsize=100_000)
def shard(shopper: str, shards: int) -> int:
    """The shard of a shopper's state: the same in all processes, versions and partition counts.

    Examples
    --------
    >>> shard("u1", 8) == shard("u1", 8) < 8
    True
    """
    return zlib.crc32(shopper.encode("utf-8", "replace")) % shards


@dataclass(frozen=True, slots=True)
class Touched:
    """One remembered interaction with an item."""

    time_ms: int
    kind: str
    item_id: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One remembered query, normalised."""

    time_ms: int
    query: str


@dataclass(frozen=True, slots=True)
class Page:
    """One remembered page: items that were on the shopper's screen at a time."""

    time_ms: int
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shopper:
    """A shopper's past: newest first, bounded.

    ``own`` is the value of each item that the shopper touched, and ``visits`` are the times (s) of their visits: what
    :class:`streams.features.own.OwnItems` is made of.

    Attributes
    ----------
    profile
        The newest value of each attribute.
    user
        For a session: the first user that it logged in as; None for one that did not, and for users.
    forgotten_ms
        Events up to this time are ignored, since the shopper was forgotten; below every time for most.
    ahead_ms
        The largest difference of an event's time to its arrival.
    seen
        The newest pages, but those of searches.
    """

    touched: tuple[Touched, ...] = ()
    asked: tuple[Asked, ...] = ()
    bought: frozenset[str] = frozenset()
    own: Mapping[str, bytes] = field(default_factory=dict)
    visits: tuple[int, ...] = ()
    profile: Mapping[str, ProfileValue] = field(default_factory=dict)
    user: str | None = None
    forgotten_ms: int = -1
    ahead_ms: float = field(default=-math.inf, compare=False)
    seen: tuple[Page, ...] = ()

    @property
    def newest_ms(self) -> int:
        """Time of the newest event remembered; 0 when there is none.

        Examples
        --------
        >>> Shopper(asked=(Asked(5, "tv"),)).newest_ms
        5
        """
        return max(
            self.touched[0].time_ms if self.touched else 0,
            self.asked[0].time_ms if self.asked else 0,
        )

    def overlooked(self, ts: int, half_life_s: float, hour_ms: int) -> dict[str, float]:
        """How often each item was seen at a time (ms) and not touched since; what is a half-life old counts half.

        Parameters
        ----------
        hour_ms
            The length of an hour in which touches count once. Where it is not known when in it an item was touched,
            the whole of it counts as before.

        Examples
        --------
        >>> seen = (Page(2_000, ("a", "b")), Page(1_000, ("a", "b")))
        >>> Shopper((Touched(1_500, "click", "b"),), seen=seen).overlooked(2_000, 1.0, 100)
        {'a': 1.5, 'b': 1.0}
        """
        last: dict[str, float] = {}
        for touched in self.touched:
            last[touched.item_id] = max(touched.time_ms, last.get(touched.item_id, 0))
        found: dict[str, float] = {}
        for one in self.seen:
            weight = 2.0 ** (-max(0, ts - one.time_ms) / (half_life_s * 1000))
            for item in one.items:
                row = self.own.get(item)
                counted = 0.0 if row is None else int.from_bytes(row[-4:], "little") * 1000 + hour_ms / 2
                if one.time_ms > max(counted, last.get(item, 0)):
                    found[item] = found.get(item, 0.0) + weight
        return found


@dataclass(frozen=True, slots=True)
class Uncounted:
    """How many acts of a call do not count as demand.

    Attributes
    ----------
    late
        Acts of an hour that is closed, whether they are repeated or not.
    beyond
        Acts on further items of an hour in which the shopper counts for as many as may count.
    """

    late: int = 0
    beyond: int = 0

    def __add__(self, other: "Uncounted") -> "Uncounted":
        return Uncounted(self.late + other.late, self.beyond + other.beyond)


def remembered(event: AnyEvent) -> bool:
    """Whether the event enters a shopper's history. Impressions do not; the evaluator reads them."""
    return isinstance(event, Search | Touch | Review)


def tiring(event: AnyEvent) -> TypeGuard[Impression]:
    """Whether the event is remembered as a page that was seen: an impression, but of no search."""
    return isinstance(event, Impression) and event.surface != "search"


def page(event: Impression) -> str:
    """An impression as it is remembered.

    Examples
    --------
    >>> from streams.events.schema import Shown
    >>> shown = [Shown(item_id=item, position=0) for item in "aba"]
    >>> page(Impression(event_id="e1", ts=7, user_id="u", shelf_id="s", surface="feed", items=shown))
    'e1\\x1fa\\x1fb'
    """
    items = dict.fromkeys(one.item_id for one in event.items)
    return SEPARATOR.join((event.event_id, *list(items)[:MOST_SEEN]))


def arguments(events: Sequence[AnyEvent]) -> list[str | int]:
    """The script's arguments for one shopper's events, four for each event.

    Examples
    --------
    >>> arguments([Search(event_id="e1", ts=7, user_id="u", query="A  b")])
    ['s', 7, 's\\x1fa b\\x1fe1', 'a b']
    """
    flat: list[str | int] = []
    for event in events:
        if not isinstance(event, Search | Touch | Review):
            continue
        what = normalise(event.query or "") if isinstance(event, Search) else event.item_id
        if not what:  # a page of filters alone: no words to remember
            continue
        code = CODES[event.kind]
        member = SEPARATOR.join((code, what, event.event_id))
        flat += (code, event.time_ms, member, what)
    return flat


def parse(reply: Sequence[Any]) -> tuple[Shopper, Uncounted]:
    """The script's reply as values; members that are no interactions are skipped.

    Examples
    --------
    >>> items = [b"c\\x1fi1\\x1fe1", b"3", b"junk", b"4"]
    >>> parse([items, [], [b"i1"], 1, 0, [], [], [], [], b"-1", b"0", []])[0].touched
    (Touched(time_ms=3, kind='click', item_id='i1'),)
    """
    items, queries, bought, late, beyond, own, visits, profile, users, forgotten, ahead, seen = reply
    shopper = Shopper(
        tuple(Touched(time, KINDS[code], what) for time, code, what in _interactions(items) if code in KINDS),
        tuple(Asked(time, what) for time, _, what in _interactions(queries)),
        frozenset(item.decode("utf-8", "replace") for item in bought),
        {
            item.decode("utf-8", "replace"): value
            for item, value in zip(own[::2], own[1::2], strict=True)
            if len(value) == ROW.itemsize
        },
        tuple(int(at) for at in visits if at.isdigit()),
        profile_of(profile),
        users[0].decode("utf-8", "replace") if users else None,
        int(forgotten),
        float(ahead),
        tuple(_pages(seen)),
    )
    return shopper, Uncounted(late, beyond)


def _pages(flat: Sequence[bytes]) -> Iterator[Page]:
    for member, time in zip(flat[::2], flat[1::2], strict=True):
        if math.isfinite(at := float(time)):
            yield Page(int(at), tuple(member.decode("utf-8", "replace").split(SEPARATOR)[1 : 1 + MOST_SEEN]))


def profile_of(flat: Sequence[bytes]) -> dict[str, ProfileValue]:
    """A profile as it is kept, a time before each value; attributes that were removed, or are not ours, are left out.

    Examples
    --------
    >>> profile_of([b"segment", b'7:"gold"', b"region", b"9:null", b"junk", b"x"])
    {'segment': 'gold'}
    """
    found: dict[str, ProfileValue] = {}
    for name, kept in zip(flat[::2], flat[1::2], strict=True):
        try:
            value = _value_decoder.decode(kept.partition(b":")[2])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if value is not None:
            found[name.decode("utf-8", "replace")] = value
    return found


_value_decoder: msgspec.json.Decoder[ProfileValue] = msgspec.json.Decoder(ProfileValue)


def _interactions(flat: Sequence[bytes]) -> Iterator[tuple[int, str, str]]:
    """The time, kind code and item or query of each member, given members with their scores."""
    for member, time in zip(flat[::2], flat[1::2], strict=True):
        code, *rest = member.decode("utf-8", "replace").split(SEPARATOR, 1)
        if rest and math.isfinite(at := float(time)):
            yield int(at), code, rest[0].rsplit(SEPARATOR, 1)[0]
