"""A shopper's past: what is remembered of it, and how events are added.

Pure: turns events into the arguments of the ``remember`` script, and its reply into a value. The script, with the
arithmetic of caps and counts, is in ``scripts/remember.lua``; the connection is in ``store``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.intents import TREND_WEIGHTS
from streams.events.schema import AnyEvent, Impression, Search, normalise
from streams.features.own import ROW

CODES = {"search": "s", "click": "c", "read": "r", "cart": "b", "purchase": "p", "review": "v"}
KINDS = {code: kind for kind, code in CODES.items()}
SEPARATOR = "\x1f"

ACTS = "".join(f"{CODES[kind]}{weight}" for kind, weight in TREND_WEIGHTS.items())
"""The code and weight of each kind of act, as the script takes them. Cells keep a kind by its place here: add new kinds
at the end of ``TREND_WEIGHTS``."""


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
class Shopper:
    """A shopper's past: newest first, bounded.

    ``own`` is the value of each item that the shopper touched, and ``visits`` are the times (s) of their visits: what
    :class:`streams.features.own.OwnItems` is made of.
    """

    touched: tuple[Touched, ...] = ()
    asked: tuple[Asked, ...] = ()
    bought: frozenset[str] = frozenset()
    own: Mapping[str, bytes] = field(default_factory=dict)
    visits: tuple[int, ...] = ()

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
    """Whether the event changes a shopper's past. Impressions do not; the evaluator reads them."""
    return not isinstance(event, Impression)


def arguments(events: Sequence[AnyEvent]) -> list[str | int]:
    """The script's arguments for one shopper's events, four for each event.

    Examples
    --------
    >>> arguments([Search(event_id="e1", ts=7, user_id="u", query="A  b")])
    ['s', 7, 's\\x1fa b\\x1fe1', 'a b']
    """
    flat: list[str | int] = []
    for event in events:
        if isinstance(event, Impression):
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
    >>> parse([[b"c\\x1fi1\\x1fe1", b"3", b"junk", b"4"], [], [b"i1"], 1, 0, [], []])[0].touched
    (Touched(time_ms=3, kind='click', item_id='i1'),)
    """
    items, queries, bought, late, beyond, own, visits = reply
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
    )
    return shopper, Uncounted(late, beyond)


def _interactions(flat: Sequence[bytes]) -> Iterator[tuple[int, str, str]]:
    """The time, kind code and item or query of each member, given members with their scores."""
    for member, time in zip(flat[::2], flat[1::2], strict=True):
        code, *rest = member.decode("utf-8", "replace").split(SEPARATOR, 1)
        if rest and math.isfinite(at := float(time)):
            yield int(at), code, rest[0].rsplit(SEPARATOR, 1)[0]
