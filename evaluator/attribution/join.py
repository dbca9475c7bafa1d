"""Which impression led to what: impressions and outcomes joined in event time.

Pure: takes events and a watermark, knows nothing of Kafka, Redis or files. Three functions decide everything:
`join_events`, `merge` and `settle`. They work on one immutable set of join events for each shopper and item.
`Attribution` only keeps such sets in a dictionary, so a state that was stored in Redis gives the same results. The
rules are in ``docs/attribution.md``.
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

MOST_JOIN_EVENTS = 512
"""Most join events of one shopper and item that may wait. It bounds the cost of a single key; people stay far below."""

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
        """How far behind the watermark everything is settled, also outcomes that belong to no impression.

        Examples
        --------
        >>> JoinWindow(window_ms=30, grace_ms=10).settled_ms, JoinWindow(window_ms=7, grace_ms=30).settled_ms
        (40, 60)
        """
        return self.grace_ms + max(self.window_ms, self.grace_ms)


@dataclass(frozen=True, slots=True)
class Settled:
    """The result for one shopper and item: attributed impressions with their outcomes, outcomes that belong to none,
    and the join events that are still needed."""

    attributed: tuple[tuple[JoinEvent, tuple[JoinEvent, ...]], ...]
    orphans: tuple[JoinEvent, ...]
    rest: State


@dataclass(slots=True)
class _Group:
    """An impression with its outcomes, or an outcome that belongs to none. ``events`` has all its join events,
    duplicates too. It takes events up to the time ``until``."""

    first: JoinEvent
    until: int
    outcomes: list[JoinEvent] = field(default_factory=list)
    events: list[JoinEvent] = field(default_factory=list)


def join_events(event: AnyEvent) -> Iterator[tuple[Key, JoinEvent]]:
    """The join events of an event, one for each item, with their keys; none for searches and reviews.

    Examples
    --------
    >>> from streams.events.schema import Cart
    >>> list(join_events(Cart(event_id="e", ts=5, user_id="u", item_id="i", shelf_id="s", price=2.0, quantity=3)))
    [(('u', 'i'), JoinEvent(ts=5, kind='cart', event_id='e', shelf_id='s', surface='', position=0, value=6.0))]
    """
    time = event.time_ms
    if isinstance(event, Impression):
        for shown in event.items:
            surface = label_value(event.surface)
            yield (
                (event.shopper, shown.item_id),
                JoinEvent(time, "", event.event_id, event.shelf_id, surface, shown.position),
            )
    elif isinstance(event, Touch):
        value = (event.price or 0.0) * (event.quantity or 1)
        yield (
            (event.shopper, event.item_id),
            JoinEvent(time, event.kind, event.event_id, event.shelf_id or "", value=value),
        )


def merge(state: State, more: Iterable[JoinEvent]) -> State:
    """The union, so order and duplicates do not matter.

    Examples
    --------
    >>> shown, clicked = JoinEvent(0, "", "e1", "s"), JoinEvent(9, "click", "e2", "s")
    >>> merge(merge(State(), [clicked]), [shown, clicked]) == merge(State(), [shown, clicked])
    True
    """
    return state.union(more)


def settle(state: State, horizon: int, rules: JoinWindow) -> Settled:
    """Settle what can no longer change.

    Parameters
    ----------
    horizon
        The watermark less the grace, ms. All events before it have arrived, or count as late.

    Examples
    --------
    >>> shown, clicked = JoinEvent(0, "", "e1", "s"), JoinEvent(9, "click", "e2", "s")
    >>> settle(State([shown, clicked]), 10, JoinWindow(window_ms=20)).attributed
    ()
    >>> settle(State([shown, clicked]), 21, JoinWindow(window_ms=20)).attributed == ((shown, (clicked,)),)
    True
    """
    groups: list[_Group] = []
    latest: dict[str, _Group] = {}
    by_id: dict[tuple[str, str], _Group] = {}
    for event in sorted(state):
        if event.ts >= horizon:
            break
        name = event.kind, event.event_id
        group = by_id.get(name)
        if group is None or group.until < event.ts:
            group = _impression_of(event, latest)
            if group is None:
                group = _Group(event, _until(event, rules))
                groups.append(group)
            elif event.kind:
                group.outcomes.append(event)
            if not event.kind:
                latest.pop(event.shelf_id, None)
                latest[event.shelf_id] = group
            by_id[name] = group
        group.events.append(event)
    over = [group for group in groups if group.until < horizon]
    attributed = tuple((group.first, tuple(group.outcomes)) for group in over if not group.first.kind)
    orphans = tuple(group.first for group in over if group.first.kind)
    return Settled(attributed, orphans, state.difference(*(group.events for group in over)))


def pages(impressions: Iterable[AttributedImpression]) -> Iterator[tuple[str, Page, list[AttributedImpression]]]:
    """Group impressions, in the order of :meth:`Attribution.advance`, by shopper, shelf and time: the shopper, the page
    by which bots are recognised, and the impressions.

    Examples
    --------
    >>> click = JoinEvent(9, "click", "e", "s")
    >>> seen = AttributedImpression
    >>> [one] = pages([seen("u", "a", "s", "feed", 0, 5, (click,)), seen("u", "b", "s", "feed", 1, 5)])
    >>> one[:2]
    ('u', Page(ts=5, shown=2, clicked=1))
    """
    for (ts, shopper, _), items in groupby(impressions, lambda one: (one.ts, one.shopper, one.shelf_id)):
        shown = list(items)
        yield shopper, Page(ts, len(shown), sum(bool(one.outcomes) for one in shown)), shown


def _until(event: JoinEvent, rules: JoinWindow) -> int:
    """Until when (ms) a join event is needed if a group begins with it. An impression is needed for its window; an
    outcome that belongs to none for the grace, in which a duplicate of it may come."""
    return event.ts + (rules.grace_ms if event.kind else rules.window_ms)


def _impression_of(event: JoinEvent, latest: dict[str, _Group]) -> _Group | None:
    """The impression that a join event is part of; None where that is too long ago.

    It is the latest impression of the event's shelf. An outcome without a shelf belongs to the impression seen last.
    ``latest`` has each shelf's latest impression, sorted by time; those found to be over are removed from it.
    """
    if event.shelf_id or not event.kind:
        group = latest.get(event.shelf_id)
        return group if group and event.ts <= group.until else None
    while latest:
        shelf_id, group = latest.popitem()
        if event.ts <= group.until:
            latest[shelf_id] = group
            return group
    return None


@dataclass(slots=True)
class JoinCounts:
    """Counts since the state began.

    Attributes
    ----------
    attributed
        Attributed impressions, by intent.
    orphans
        Outcomes that belong to no impression, by kind.
    late
        Events that came after the grace, by kind.
    waiting
        Join events that wait.
    bots
        Impressions and clicks of suspected bots among the attributed, as ``REASON.impressions`` and ``REASON.clicks``.
    """

    attributed: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    bots: Counter[str] = field(default_factory=Counter)


class Attribution:
    """Joins events as they come, in any order, each any number of times.

    An event is late when the watermark is past its time by more than the grace; it is counted and not used. Settled
    join events are forgotten, so memory is bounded by the events of one window and grace. Join events that cannot be
    settled, because an exception is raised, are forgotten too and counted in ``broken``. Where
    :data:`MOST_JOIN_EVENTS` of a shopper and item wait, further ones are ignored, and counted in ``broken`` as well.

    Attributes
    ----------
    changes
        Join events that were taken in or settled since :meth:`drain`; an upper bound for what it gives.
    more_due
        Whether :meth:`advance` stopped before it had settled all that is due.

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
        self.more_due = False
        self._states: dict[Key, State] = {}
        self._changed: set[Key] = set()
        self._due: list[tuple[int, Key]] = []
        self._attributed: list[AttributedImpression] = []
        self._counts = JoinCounts()

    @property
    def horizon(self) -> int:
        """All events before it have arrived, or count as late; ms."""
        return self.watermark - self.rules.grace_ms

    @property
    def attributed_until(self) -> int:
        """All impressions seen before it are attributed; ms."""
        return self.horizon - self.rules.window_ms

    def update(self, event: AnyEvent) -> None:
        """Take an event in.

        It first settles what is due. So how much waits, and whether the event is taken, depends only on the events
        before it, and not on when :meth:`advance` was called.
        """
        self._settle_due(self.watermark)
        if event.time_ms < self.horizon:
            if isinstance(event, Impression | Touch):
                self._counts.late[event.kind] += 1
            return
        for key, join_event in list(join_events(event)):  # a list: if one fails, none is taken in
            state = self._states.get(key, State())
            if join_event in state:
                continue
            if len(state) >= MOST_JOIN_EVENTS:
                self.broken += 1
                continue
            self._states[key] = merge(state, (join_event,))
            self._changed.add(key)
            self.changes += 1
            self._counts.waiting += 1
            heapq.heappush(self._due, (_until(join_event, self.rules), key))

    def advance(self, watermark: int, most: float = math.inf) -> list[AttributedImpression]:
        """Move the watermark, and give the impressions that are attributed now, in order of time.

        Parameters
        ----------
        watermark
            No event is expected from before it, except those that are late by up to the grace; epoch ms. It never
            goes back.
        most
            About how many join events may be settled at once. Those of one shopper and time always stay together.
            Where more are due, :attr:`more_due` is set. Then no event may be taken in before further calls have
            settled the rest. Any number of steps gives the same result.
        """
        self._settle_due(max(self.watermark, watermark), most)
        attributed, self._attributed = self._attributed, []
        return sorted(attributed, key=lambda one: (one.ts, one.shopper, one.shelf_id, one.position, one.item_id))

    def get(self) -> JoinCounts:
        """The counts so far."""
        counts = self._counts
        copies = Counter(counts.attributed), Counter(counts.orphans), Counter(counts.late)
        return JoinCounts(*copies, counts.waiting, Counter(counts.bots))

    def set_aside(self, reason: str, impressions: int, clicks: int) -> None:
        """Count attributed impressions of a suspected bot, and its clicks."""
        self._counts.bots[f"{reason}.impressions"] += impressions
        self._counts.bots[f"{reason}.clicks"] += clicks

    def drain(self) -> dict[Key, State]:
        """The join events that wait, for each key that has changed since the last call; may be an empty set."""
        changed, self._changed, self.changes = self._changed, set(), 0
        return {key: self._states.get(key, State()) for key in changed}

    def restore(self, states: Mapping[Key, State], watermark: int, counts: JoinCounts) -> None:
        """Go on from what :meth:`drain` gave. Where a key has more join events than may wait, as in a state from before
        the limit existed, the earliest are kept."""
        self.watermark = watermark
        self._states = {key: state for key, state in states.items() if state}
        for key, state in states.items():
            if len(state) > MOST_JOIN_EVENTS:
                self._states[key] = State(sorted(state)[:MOST_JOIN_EVENTS])
                self._changed.add(key)
                self.broken += len(state) - MOST_JOIN_EVENTS
        self._counts = JoinCounts(
            Counter(counts.attributed),
            Counter(counts.orphans),
            Counter(counts.late),
            sum(map(len, self._states.values())),
            Counter(counts.bots),
        )
        self._due = [(_until(event, self.rules), key) for key, state in self._states.items() for event in state]
        heapq.heapify(self._due)

    def _settle_due(self, watermark: int, most: float = math.inf) -> None:
        """Settle every key that has something due at this watermark, in order of time. After about ``most`` join events
        it stops, and the watermark moves only as far as all is settled."""
        horizon, due, count = watermark - self.rules.grace_ms, set[Key](), 0
        moment, self.more_due = (0, ""), False
        while self._due and self._due[0][0] < horizon:
            until, key = self._due[0]
            if 0 < most <= count and (until, key[0]) != moment:
                horizon, watermark = moment[0] + 1, moment[0] + self.rules.grace_ms
                self.more_due = True
                break
            heapq.heappop(self._due)
            due.add(key)
            moment, count = (until, key[0]), count + 1
        self.watermark = max(self.watermark, watermark)
        self.changes += count
        for key in due:
            waiting = len(self._states.get(key, ()))
            comes_later = self.more_due and key[0] > moment[1]  # with the shopper's other items of this moment
            try:
                self._attributed += self._settle(key, horizon - comes_later)
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
        for shown, outcomes in settled.attributed:
            one = AttributedImpression(*key, shown.shelf_id, shown.surface, shown.position, shown.ts, outcomes)
            self._counts.attributed[one.intent] += 1
            yield one
