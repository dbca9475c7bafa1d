"""Sorts one micro-batch of events: dead letters, events to remember, and the shelves to make.

Pure: sorts decoded events and returns the shelves to make. The pipeline reads, waits and writes.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cachetools import FIFOCache

from streams.config import EventsConfig
from streams.events.cleaning import Notes
from streams.events.decode import Refusal, decode_event
from streams.events.filters import NO_FILTER, Filter
from streams.events.schema import AnyEvent, Forget, Impression, Profile, Review, Search, Touch, normalise
from streams.features.shopper import Shopper, remembered, tiring
from streams.kafka.record import Record
from streams.ranking.recommender import RankRequest

E = TypeVar("E", bound=AnyEvent)
K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Batch:
    """Decoded records: the refused ones, all events in the order read and their records, each shopper's remembered
    events, the records of searches, by event id the filters of searches that have any, profiles, who is to be
    forgotten, and impressions, but those of searches: there the query says what is shown; and what was converted in
    reading."""

    refused: list[tuple[Record, Refusal]] = field(default_factory=list)
    by_shopper: dict[str, list[AnyEvent]] = field(default_factory=dict)
    searches: list[Record] = field(default_factory=list)
    filters: dict[str, Filter] = field(default_factory=dict)
    events: list[AnyEvent] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    forgets: list[Forget] = field(default_factory=list)
    seen: list[Impression] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @classmethod
    def of(cls, records: Sequence[Record], now_ms: int, config: EventsConfig) -> "Batch":
        """Decode and sort a batch. Impressions are valid, but need no shelf."""
        batch = cls()
        for record in records:
            event = record.refusal or decode_event(record.value, record.came_ms(now_ms), config, batch.notes)
            if isinstance(event, Refusal):
                batch.refused.append((record, event))
                continue
            batch.events.append(event)
            batch.records.append(record)
            if isinstance(event, Search):
                batch.searches.append(record)
                if event.filters:
                    batch.filters[event.event_id] = Filter.of(event.filters)
            if remembered(event):
                batch.by_shopper.setdefault(event.shopper, []).append(event)
            elif isinstance(event, Profile):
                batch.profiles.append(event)
            elif isinstance(event, Forget):
                batch.forgets.append(event)
            elif tiring(event):
                batch.seen.append(event)
        return batch

    def drop_forgotten(self, shoppers: Mapping[str, Shopper]) -> int:
        """Leave out the events from before their shopper was forgotten; returns how many."""
        before = sum(map(len, self.by_shopper.values()))
        kept = {
            name: [event for event in events if event.time_ms > shoppers[name].forgotten_ms]
            for name, events in self.by_shopper.items()
        }
        self.by_shopper = {name: events for name, events in kept.items() if events}
        return before - sum(map(len, self.by_shopper.values()))


class Recent:
    """Remembers when each thing was last done, for the last ``capacity`` things.

    Examples
    --------
    >>> recent = Recent(every_ms=10, capacity=2)
    >>> recent.due("a", 0)
    True
    >>> recent.done("a", 0)
    >>> recent.due("a", 5), recent.due("a", 10), recent.due("a", -1)
    (False, True, True)
    """

    def __init__(self, every_ms: float, capacity: int = 100_000) -> None:
        self.every_ms = every_ms
        self._done: FIFOCache[str, int] = FIFOCache(capacity)

    def due(self, name: str, now_ms: int) -> bool:
        """Whether it is time to do it again; also when the clock was put back behind the last time."""
        last = self._done.get(name)
        return last is None or not 0 <= now_ms - last < self.every_ms

    def done(self, name: str, now_ms: int) -> None:
        """Record that it was done now."""
        self._done[name] = now_ms

    def failed(self, name: str) -> None:
        """Record that it was not done after all."""
        self._done.pop(name, None)


class Placement:
    """Finds events that do not lie with their shopper's others, in one partition: their order is lost, and outcomes
    are not joined with what was shown. Remembers the partitions of the last ``capacity`` shoppers.

    Examples
    --------
    >>> from streams.events.schema import Read
    >>> read = Read(event_id="1", ts=0, user_id="u", item_id="i")
    >>> placement = Placement(capacity=2)
    >>> [placement.update(Record("shop.events", at, 0, 0, key, None), read) for at, key in ((0, b"u"), (0, None))]
    [None, 'it has no key']
    >>> placement.update(Record("shop.events", 0, 0, 0, b"order-7", None), read)
    "its key is b'order-7', and its shopper is 'u'"
    >>> placement.update(Record("shop.events", 3, 0, 0, b"u", None), read)
    "its shopper's last event lay in partition 0: producers hash keys differently, or partitions were added"
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._partitions: FIFOCache[str, int] = FIFOCache(capacity)

    def update(self, record: Record, event: AnyEvent) -> str | None:
        """Take in an event; why it does not lie with its shopper's others, None where it seems to."""
        before = self._partitions.get(event.shopper)
        if before != record.partition:
            self._partitions[event.shopper] = record.partition
        if record.key is None:
            return "it has no key"
        if record.key not in {name.encode() for name in (event.user_id, event.session_id) if name}:
            return f"its key is {record.key[:60]!r}, and its shopper is {event.shopper[:60]!r}"
        if before is None or before == record.partition:
            return None
        others = "producers hash keys differently, or partitions were added"
        return f"its shopper's last event lay in partition {before}: {others}"


def rank_requests(batch: Batch, shoppers: Mapping[str, Shopper], similar: Recent, now_ms: int) -> list[RankRequest]:
    """The shelves to make for a batch: one feed for each shopper, however many events they sent; one shelf for each
    query; a personal shelf of the query if the shopper has a past; and, if due, similar items for each touched item.

    A query with a filter is another query. A filter without a query makes the shopper's page of what it keeps and, if
    due, a page for all.

    Parameters
    ----------
    shoppers
        Each shopper's past, including this batch's events.
    similar
        When each item's similar shelf was last made, and each filter's page for all.
    """
    requests: list[RankRequest] = []
    general: dict[tuple[str, Filter], Search] = {}
    touched: dict[str, AnyEvent] = {}
    for name, events in batch.by_shopper.items():
        shopper = shoppers[name]
        newest = max(events, key=_time_order)
        requests.append(
            RankRequest(
                "feed", newest.event_id, max(shopper.newest_ms, newest.time_ms), shopper_id=name, shopper=shopper
            )
        )
        searches: dict[tuple[str, Filter], Search] = {}
        for event in events:
            if isinstance(event, Search):
                asked = normalise(event.query or ""), batch.filters.get(event.event_id, NO_FILTER)
                _keep_newest(searches, asked, event)
                _keep_newest(general, asked, event)
            elif isinstance(event, Touch | Review):
                _keep_newest(touched, event.item_id, event)
        for (query, wanted), event in searches.items():
            if query and (shopper.touched or any(past.query != query for past in shopper.asked)):
                requests.append(
                    RankRequest("search", event.event_id, event.time_ms, name, shopper, query, filter=wanted)
                )
            elif not query and wanted:
                time_ms = max(shopper.newest_ms, event.time_ms)
                requests.append(RankRequest("feed", event.event_id, time_ms, name, shopper, filter=wanted))
    for (query, wanted), event in general.items():
        if query:
            requests.append(RankRequest("search", event.event_id, event.time_ms, query=query, filter=wanted))
        elif wanted and similar.due(page_for_all(wanted), now_ms):
            requests.append(RankRequest("popular", event.event_id, event.time_ms, filter=wanted))
    requests += [
        RankRequest("similar", event.event_id, event.time_ms, item_id=item)
        for item, event in touched.items()
        if similar.due(item, now_ms)
    ]
    return requests


def page_for_all(wanted: Filter) -> str:
    """What a filter's page for all is called beside items; no item id begins like this."""
    return f"\n{wanted.key}"


def _time_order(event: AnyEvent) -> tuple[int, str]:
    return event.time_ms, event.event_id


def _keep_newest(kept: dict[K, E], name: K, event: E) -> None:
    if name not in kept or _time_order(kept[name]) < _time_order(event):
        kept[name] = event
