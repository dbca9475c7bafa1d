"""Which impression led to what: impressions and outcomes joined in event time.

Pure: takes events and a watermark, knows nothing of Kafka, Redis or files. What is decided stands in three functions,
`join_events`, `merge` and `settle`, over one immutable set for each shopper and item; `Attribution` only keeps such
sets in a dictionary, so that another container, Redis, comes to the same answers. ``docs/attribution.md`` tells the
rules.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from evaluator.metrics.impression import AttributedImpression, JoinEvent
from streams.events.bots import Page
from streams.events.schema import AnyEvent, Impression, Touch
from streams.telemetry.meter import label_value

MOST_FACTS = 512
"""How much may wait of one shopper and item. It bounds what a single key can cost; people stay far below."""

Key = tuple[str, str]
"""Shopper and item."""

State = frozenset[JoinEvent]


@dataclass(frozen=True, slots=True)
class JoinWindow:
    """How long after an impression an outcome still belongs to it, and how late an event may arrive; milliseconds."""

    window_ms: int = 30 * 60_000
    grace_ms: int = 10 * 60_000

    @property
    def settled_ms(self) -> int:
        """How far behind the watermark nothing waits any more, not even an outcome that belongs to no impression.

        Examples
        --------
        >>> JoinWindow(window_ms=30, grace_ms=10).settled_ms, JoinWindow(window_ms=7, grace_ms=30).settled_ms
        (40, 60)
        """
        return self.grace_ms + max(self.window_ms, self.grace_ms)


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of one shopper's and item's facts: closed impressions, outcomes that belong to none, and the facts that
    are still needed."""

    closed: tuple[tuple[JoinEvent, tuple[JoinEvent, ...]], ...]
    orphans: tuple[JoinEvent, ...]
    rest: State


@dataclass(slots=True)
class _Group:
    """An impression with its outcomes, or an outcome that belongs to none; with all facts that are part of it, those
    that only repeat one too. It takes facts in up to the moment ``until``."""

    first: JoinEvent
    until: int
    outcomes: list[JoinEvent] = field(default_factory=list)
    facts: list[JoinEvent] = field(default_factory=list)


def join_events(event: AnyEvent) -> Iterator[tuple[Key, JoinEvent]]:
    """What an event says of each item; searches and reviews say nothing here.

    Examples
    --------
    >>> from streams.events.schema import Cart
    >>> list(join_events(Cart(event_id="e", ts=5, user_id="u", item_id="i", shelf_id="s", price=2.0, quantity=3)))
    [(('u', 'i'), JoinEvent(ts=5, kind='cart', event_id='e', shelf_id='s', surface='', position=0, value=6.0))]
    """
    time = event.time_ms
    if isinstance(event, Impression):
        for shown in event.items:
            fact = JoinEvent(time, "", event.event_id, event.shelf_id, label_value(event.surface), shown.position)
            yield (event.shopper, shown.item_id), fact
    elif isinstance(event, Touch):
        value = (event.price or 0.0) * (event.quantity or 1)
        yield (
            (event.shopper, event.item_id),
            JoinEvent(time, event.kind, event.event_id, event.shelf_id or "", value=value),
        )


def merge(state: State, more: Iterable[JoinEvent]) -> State:
    """The union: any order and any repetition gives the same.

    Examples
    --------
    >>> shown, clicked = JoinEvent(0, "", "e1", "s"), JoinEvent(9, "click", "e2", "s")
    >>> merge(merge(State(), [clicked]), [shown, clicked]) == merge(State(), [shown, clicked])
    True
    """
    return state.union(more)


def settle(state: State, horizon: int, rules: JoinWindow) -> Settled:
    """Decide what can no longer change.

    Parameters
    ----------
    horizon
        All events before it have arrived, or will be refused as late: the watermark less the grace, ms.

    Examples
    --------
    >>> shown, clicked = JoinEvent(0, "", "e1", "s"), JoinEvent(9, "click", "e2", "s")
    >>> settle(State([shown, clicked]), 10, JoinWindow(window_ms=20)).closed
    ()
    >>> settle(State([shown, clicked]), 21, JoinWindow(window_ms=20)).closed == ((shown, (clicked,)),)
    True
    """
    groups: list[_Group] = []
    views: dict[str, _Group] = {}
    told: dict[tuple[str, str], _Group] = {}
    for fact in sorted(state):
        if fact.ts >= horizon:
            break
        name = fact.kind, fact.event_id
        group = told.get(name)
        if group is None or group.until < fact.ts:
            group = _belongs(fact, views)
            if group is None:
                group = _Group(fact, _until(fact, rules))
                groups.append(group)
            elif fact.kind:
                group.outcomes.append(fact)
            if not fact.kind:
                views.pop(fact.shelf_id, None)
                views[fact.shelf_id] = group
            told[name] = group
        group.facts.append(fact)
    over = [group for group in groups if group.until < horizon]
    closed = tuple((group.first, tuple(group.outcomes)) for group in over if not group.first.kind)
    orphans = tuple(group.first for group in over if group.first.kind)
    return Settled(closed, orphans, state.difference(*(group.facts for group in over)))


def pages(closed: Iterable[AttributedImpression]) -> Iterator[tuple[str, Page, list[AttributedImpression]]]:
    """Closed impressions, as :meth:`Attribution.advance` gives them, by the shelf and the moment they were seen: the
    shopper, what tells whether that is a bot, and the impressions.

    Examples
    --------
    >>> click = JoinEvent(9, "click", "e", "s")
    >>> seen = AttributedImpression
    >>> [one] = pages([seen("u", "a", "s", "feed", 0, 5, (click,)), seen("u", "b", "s", "feed", 1, 5)])
    >>> one[:2]
    ('u', Page(ts=5, shown=2, clicked=1))
    """
    for (ts, shopper, _), items in groupby(closed, lambda one: (one.ts, one.shopper, one.shelf_id)):
        shown = list(items)
        yield shopper, Page(ts, len(shown), sum(bool(one.outcomes) for one in shown)), shown


def _until(fact: JoinEvent, rules: JoinWindow) -> int:
    """How long a fact is needed, should a group begin with it: an impression for its window; an outcome that belongs to
    none for another grace, in which it may be told again. Milliseconds."""
    return fact.ts + (rules.grace_ms if fact.kind else rules.window_ms)


def _belongs(fact: JoinEvent, views: dict[str, _Group]) -> _Group | None:
    """The impression that a fact is part of: the latest one of its shelf, or, where an outcome names none, the one that
    was seen last; None where that is too long ago.

    ``views`` has each shelf's latest impression, the one seen last at the end. What is found there to be over is taken
    out, so that nobody looks at it again.
    """
    if fact.shelf_id or not fact.kind:
        group = views.get(fact.shelf_id)
        return group if group and fact.ts <= group.until else None
    while views:
        shelf_id, group = views.popitem()
        if fact.ts <= group.until:
            views[shelf_id] = group
            return group
    return None


@dataclass(slots=True)
class JoinCounts:
    """What has been seen so far: closed impressions by intent, outcomes by kind that belong to no impression, events by
    kind that came after the grace, impressions and outcomes that wait, and of the closed ones what was a bot's, as
    ``REASON.impressions`` and ``REASON.clicks``."""

    closed: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    bots: Counter[str] = field(default_factory=Counter)


class Attribution:
    """Joins events as they come, in any order, each any number of times.

    An event is late when the watermark is past its time by more than the grace; it is counted and not used. What has
    been decided is forgotten, so memory is bounded by the events of one window and grace. So is what cannot be decided,
    and counted in ``broken``: it may not hold up the rest. Nor may a shopper and item of which :data:`MOST_FACTS` facts
    wait: what comes on top is not taken, and counted there too.

    Attributes
    ----------
    changes
        How many facts were taken in or settled since :meth:`drain`: how much it has to give, at most.
    short
        Whether :meth:`advance` stopped before all was settled that is due.

    Examples
    --------
    >>> from streams.events.schema import Click, Shown
    >>> join = Attribution(JoinWindow(window_ms=1000, grace_ms=100))
    >>> shown = [Shown(item_id="a", position=0), Shown(item_id="b", position=1)]
    >>> join.update(Click(event_id="2", ts=700, user_id="u", item_id="b", shelf_id="s"))
    >>> join.update(Impression(event_id="1", ts=0, user_id="u", shelf_id="s", surface="feed", items=shown))
    >>> join.advance(1100)
    []
    >>> [(one.item_id, one.position, one.intent) for one in join.advance(1101)]
    [('a', 0, 'ignore'), ('b', 1, 'look')]
    """

    def __init__(self, rules: JoinWindow | None = None) -> None:
        self.rules = rules or JoinWindow()
        self.watermark = 0
        self.broken = self.changes = 0
        self.short = False
        self._states: dict[Key, State] = {}
        self._changed: set[Key] = set()
        self._due: list[tuple[int, Key]] = []
        self._closed: list[AttributedImpression] = []
        self._counts = JoinCounts()

    @property
    def horizon(self) -> int:
        """All events before it have arrived, or are late; ms."""
        return self.watermark - self.rules.grace_ms

    @property
    def closed_until(self) -> int:
        """All impressions seen before it are closed; ms."""
        return self.horizon - self.rules.window_ms

    def update(self, event: AnyEvent) -> None:
        """Take an event in.

        What is over by now is settled first: how much waits, and so what is taken, then depends on the events before
        this one alone, and not on when :meth:`advance` was called.
        """
        self._settle_due(self.watermark)
        if event.time_ms < self.horizon:
            if isinstance(event, Impression | Touch):
                self._counts.late[event.kind] += 1
            return
        for key, fact in list(join_events(event)):  # all or nothing, should one fail
            state = self._states.get(key, State())
            if fact in state:
                continue
            if len(state) >= MOST_FACTS:
                self.broken += 1
                continue
            self._states[key] = merge(state, (fact,))
            self._changed.add(key)
            self.changes += 1
            self._counts.waiting += 1
            heapq.heappush(self._due, (_until(fact, self.rules), key))

    def advance(self, watermark: int, most: float = math.inf) -> list[AttributedImpression]:
        """Take note of how far event time has come, and give the impressions that this closes, in order of time.

        Parameters
        ----------
        watermark
            No event is expected from before it, but for those that are late by up to the grace; epoch ms. It never
            goes back.
        most
            About how many facts may be settled at once: only those of one moment and shopper are never parted. Where
            more are due, it stops :attr:`short` of what was asked for, and nothing may be taken in until the rest was
            asked for too: in any number of steps it comes to the same.
        """
        self._settle_due(max(self.watermark, watermark), most)
        closed, self._closed = self._closed, []
        return sorted(closed, key=lambda one: (one.ts, one.shopper, one.shelf_id, one.position, one.item_id))

    def get(self) -> JoinCounts:
        """The counts so far."""
        counts = self._counts
        found = Counter(counts.closed), Counter(counts.orphans), Counter(counts.late)
        return JoinCounts(*found, counts.waiting, Counter(counts.bots))

    def set_aside(self, reason: str, impressions: int, clicks: int) -> None:
        """Count closed impressions that were a bot's."""
        self._counts.bots[f"{reason}.impressions"] += impressions
        self._counts.bots[f"{reason}.clicks"] += clicks

    def drain(self) -> dict[Key, State]:
        """What waits under each key that has changed since the last call; empty where nothing does any more."""
        changed, self._changed, self.changes = self._changed, set(), 0
        return {key: self._states.get(key, State()) for key in changed}

    def restore(self, states: Mapping[Key, State], watermark: int, counts: JoinCounts) -> None:
        """Go on from what was drained before, as if nothing had happened in between. Where more waits of a key than
        may, as in a state from before there was a limit, the earliest facts are kept."""
        self.watermark = watermark
        self._states = {key: state for key, state in states.items() if state}
        for key, state in states.items():
            if len(state) > MOST_FACTS:
                self._states[key] = State(sorted(state)[:MOST_FACTS])
                self._changed.add(key)
                self.broken += len(state) - MOST_FACTS
        self._counts = JoinCounts(
            Counter(counts.closed),
            Counter(counts.orphans),
            Counter(counts.late),
            sum(map(len, self._states.values())),
            Counter(counts.bots),
        )
        self._due = [(_until(fact, self.rules), key) for key, state in self._states.items() for fact in state]
        heapq.heapify(self._due)

    def _settle_due(self, watermark: int, most: float = math.inf) -> None:
        """Settle every key of which something is over once the watermark is there; of ``most`` facts, those over first,
        and the watermark comes as far as all is settled."""
        horizon, due, count = watermark - self.rules.grace_ms, set[Key](), 0
        moment, self.short = (0, ""), False
        while self._due and self._due[0][0] < horizon:
            until, key = self._due[0]
            if 0 < most <= count and (until, key[0]) != moment:
                horizon, watermark = moment[0] + 1, moment[0] + self.rules.grace_ms
                self.short = True
                break
            heapq.heappop(self._due)
            due.add(key)
            moment, count = (until, key[0]), count + 1
        self.watermark = max(self.watermark, watermark)
        self.changes += count
        for key in due:
            waiting = len(self._states.get(key, ()))
            comes_later = self.short and key[0] > moment[1]  # what else its shopper saw at this moment has not come yet
            try:
                self._closed += self._settle(key, horizon - comes_later)
            except Exception:
                self.broken += waiting

    def _settle(self, key: Key, horizon: int) -> Iterator[AttributedImpression]:
        state = self._states.pop(key, State())
        self._changed.add(key)
        self._counts.waiting -= len(state)
        settled = settle(state, horizon, self.rules)
        if settled.rest:
            self._states[key] = settled.rest
            self._counts.waiting += len(settled.rest)
        self._counts.orphans.update(orphan.kind for orphan in settled.orphans)
        for shown, outcomes in settled.closed:
            one = AttributedImpression(*key, shown.shelf_id, shown.surface, shown.position, shown.ts, outcomes)
            self._counts.closed[one.intent] += 1
            yield one
