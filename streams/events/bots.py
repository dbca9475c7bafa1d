"""Marks suspected bots, from the pages that a shopper saw and clicked.

Pure: takes pages and events, returns marks; knows nothing of Kafka, Redis, or how marks are used. There are three
signs, each far from human behaviour (``docs/attribution.md`` has the thresholds and error rates): more clicks than a
person can make, very regular pauses between clicks, and clicks on nearly all items on screen, page after page.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping

import msgspec
from cachetools import FIFOCache

from streams.config import BotsConfig
from streams.events.schema import AnyEvent, Impression, Purchase, Touch

MINUTE_MS = 60_000
REASONS = ("rate", "regular", "positions")
PAUSES = 16
"""About how many of the last pauses are compared with each other."""

PAGE_WEIGHT = 0.9
"""The factor by which a page's weight in the clicked share falls with each new page."""

PAGE_MS = 30 * MINUTE_MS
"""For how long clicks without a shelf id count for a page."""


class Page(msgspec.Struct, frozen=True):
    """A shelf that was seen: when (ms), its number of items, and how many of them were clicked, bought and so on. A
    click on an item that was not shown is a page without items."""

    ts: int
    shown: int
    clicked: int


class Track(msgspec.Struct, array_like=True):
    """The state of one shopper, of fixed size. ``reason`` is set once the shopper is marked."""

    last: int
    level: float = 0.0
    clicked_at: int = 0
    pauses: int = 0
    pause: float = 0.0
    variance: float = 0.0
    pages: int = 0
    shown: float = 0.0
    clicked: float = 0.0
    reason: str = ""


class Bots:
    """Marks shoppers as bots. A mark depends only on that shopper's pages, in the order given.

    A mark stays until the shopper has no page for ``marked_s``. The state of other shoppers is removed after
    ``forget_s`` without a page. Shoppers without clicks have no state.

    Parameters
    ----------
    config
        The thresholds.
    capacity
        The most shoppers to keep; beyond it, the least recently seen are removed first.

    Examples
    --------
    >>> bots = Bots(BotsConfig(burst=20))
    >>> [bots.update("b", Page(second * 1000, shown=10, clicked=9)) for second in range(3)]
    ['', '', 'rate']
    >>> bots.update("u", Page(0, shown=10, clicked=1)), bots.get("b"), bots.get("u")
    ('', 'rate', '')
    """

    def __init__(self, config: BotsConfig | None = None, capacity: int = 1_000_000) -> None:
        self.config = config or BotsConfig()
        self.capacity = capacity
        self._kept: OrderedDict[str, Track] = OrderedDict()
        self._marked: OrderedDict[str, Track] = OrderedDict()

    def update(self, shopper: str, page: Page) -> str:
        """Add a page; returns what :meth:`get` does."""
        track = self.track(shopper)
        if track is not None and page.ts - track.last > self._kept_ms(track):
            self._drop(shopper)
            track = None
        if track is None:
            if not self.config.mark or not page.clicked:
                return ""
            track = self._kept[shopper] = Track(page.ts)
        if not track.reason and (reason := self._reason(track, page)):
            track.reason = reason
            self._marked[shopper] = self._kept.pop(shopper)
        track.last = max(track.last, page.ts)
        (self._marked if track.reason else self._kept).move_to_end(shopper)
        return track.reason

    def get(self, shopper: str) -> str:
        """Why a shopper is marked: ``rate``, ``regular`` or ``positions``; empty if not marked."""
        track = self._marked.get(shopper)
        return track.reason if track else ""

    def marked(self) -> Counter[str]:
        """The number of marked shoppers by reason."""
        return Counter(track.reason for track in self._marked.values())

    def forget(self, until: int, most: float = math.inf) -> list[str]:
        """Remove up to ``most`` shoppers whose state is expired for a page at ``until`` (ms) or later; returns them."""
        found = list[str]()
        for tracks in (self._kept, self._marked):
            while tracks and len(found) < most:
                shopper, track = next(iter(tracks.items()))
                if len(tracks) <= self.capacity and track.last + self._kept_ms(track) >= until:
                    break
                del tracks[shopper]
                found.append(shopper)
        return found

    def track(self, shopper: str) -> Track | None:
        """The state of a shopper, if any."""
        return self._marked.get(shopper) or self._kept.get(shopper)

    def restore(self, tracks: Mapping[str, Track]) -> None:
        """Load the states of shoppers that were saved."""
        for shopper, track in sorted(tracks.items(), key=lambda pair: (pair[1].last, pair[0])):
            (self._marked if track.reason else self._kept)[shopper] = track

    def _reason(self, track: Track, page: Page) -> str:
        config = self.config
        drained = max(0, page.ts - track.last) / MINUTE_MS * config.clicks_per_minute
        track.level = max(0.0, track.level - drained) + page.clicked
        if track.level > config.burst:
            return "rate"
        if page.clicked and self._regular(track, page.ts):
            return "regular"
        if page.shown >= config.page_items:
            track.pages += 1
            track.shown = track.shown * PAGE_WEIGHT + page.shown
            track.clicked = track.clicked * PAGE_WEIGHT + min(page.clicked, page.shown)
            if track.pages >= config.pages and track.clicked >= config.clicked_share * track.shown:
                return "positions"
        return ""

    def _regular(self, track: Track, ts: int) -> bool:
        """Whether the last pauses between clicks are nearly equal, by their moving mean and variance."""
        before, track.clicked_at = track.clicked_at, ts
        if not before or ts == before:
            return False
        track.pauses += 1
        gain = max(1 / track.pauses, 1 / PAUSES)
        off = abs(ts - before) - track.pause
        track.pause += gain * off
        track.variance = (1 - gain) * (track.variance + gain * off * off)
        return track.pauses >= self.config.pauses and track.variance**0.5 <= self.config.spread * track.pause

    def _kept_ms(self, track: Track) -> float:
        return 1000 * (self.config.marked_s if track.reason else self.config.forget_s)

    def _drop(self, shopper: str) -> None:
        self._kept.pop(shopper, None)
        self._marked.pop(shopper, None)


class _Open(msgspec.Struct):
    ts: int
    shelf_id: str
    shown: int
    clicked: set[str]


class Pages:
    """Makes pages of events as they arrive, without waiting for late ones: a page ends when the next one is seen.

    What is bought at one time is an order: one click, however many items it has.

    Parameters
    ----------
    capacity
        The most shoppers whose open page is kept.

    Examples
    --------
    >>> from streams.events.schema import Click, Shown
    >>> pages = Pages()
    >>> shown = [Shown(item_id=item, position=place) for place, item in enumerate("abc")]
    >>> first = Impression(event_id="1", ts=0, user_id="u", shelf_id="s", surface="feed", items=shown)
    >>> click = Click(event_id="2", ts=5, user_id="u", item_id="a", shelf_id="s")
    >>> second = Impression(event_id="3", ts=9, user_id="u", shelf_id="t", surface="feed", items=shown)
    >>> [list(pages.update(event)) for event in (first, click, second)]
    [[], [], [('u', Page(ts=0, shown=3, clicked=1))]]
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._open: FIFOCache[str, _Open] = FIFOCache(capacity)
        self._ordered: FIFOCache[str, int] = FIFOCache(capacity)

    def update(self, event: AnyEvent) -> Iterator[tuple[str, Page]]:
        """Add an event; returns the pages that it ends, each with its shopper."""
        who = event.shopper
        if isinstance(event, Impression):
            before = self._open.get(who)
            self._open[who] = _Open(event.time_ms, event.shelf_id, len(event.items), set())
            if before is not None:
                yield who, Page(before.ts, before.shown, len(before.clicked))
        elif isinstance(event, Touch) and not self._same_order(event):
            page = self._open.get(who)
            here = page is not None and event.shelf_id in (None, page.shelf_id)
            if page is not None and here and event.time_ms - page.ts <= PAGE_MS:
                page.clicked.add(event.item_id)
            else:
                yield who, Page(event.time_ms, 0, 1)

    def _same_order(self, event: Touch) -> bool:
        """Whether it buys at the time of the shopper's last purchase."""
        if not isinstance(event, Purchase):
            return False
        before = self._ordered.get(event.shopper)
        self._ordered[event.shopper] = event.time_ms
        return before == event.time_ms
