"""Validates a shop's own data before it goes to our topics: nothing passes that the worker would refuse.

Fields become an event or item by the structs of ``streams.events.schema``, then go through the worker's decoder.
Duplicates are found here. Knows nothing of files, mappings or Kafka.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from streams.config import EventsConfig
from streams.events.adapters.source import Line
from streams.events.decode import Refusal, decode_event, decode_item, refuse
from streams.events.schema import AnyEvent, Event, Item, encoder

DUPLICATE = "duplicate"
_T = TypeVar("_T", bound=Event | Item)


@dataclass(frozen=True, slots=True)
class Entry:
    """The result of one line, and the line, so that errors in it can be corrected.

    ``records`` is how many records of the source this entry stands for; 0 for the second event of one record.
    """

    line: Line
    outcome: AnyEvent | Item | Refusal
    records: int = 1


class DuplicateFilter:
    """Remembers the last ``capacity`` things, each with its last state.

    Examples
    --------
    >>> seen = DuplicateFilter(2)
    >>> [seen.again(thing) for thing in "abacba"]
    [False, False, True, False, True, False]
    >>> [seen.again("lamp", price) for price in (10, 12, 12, 10)]
    [False, False, True, False]
    """

    def __init__(self, capacity: int = 1_000_000) -> None:
        self.capacity = capacity
        self._seen: dict[Hashable, Hashable] = {}

    def again(self, thing: Hashable, state: Hashable = None) -> bool:
        """Whether the thing was seen before and its last state was this one. Remembers the thing with this state."""
        if thing in self._seen and self._seen[thing] == state:
            return True
        self._seen.pop(thing, None)
        self._seen[thing] = state
        if len(self._seen) > self.capacity:
            del self._seen[next(iter(self._seen))]
        return False


class Validator:
    """Passes each valid event and item once.

    An event is a duplicate if its ``event_id`` was seen. An item is a duplicate if it equals its last version or, with
    ``distinct``, if its id was seen: then the first of several rows for one item counts.

    Examples
    --------
    >>> validator = Validator(2_000_000_000_000, EventsConfig())
    >>> fields = {"type": "read", "event_id": "1", "ts": 5, "user_id": "u", "item_id": "i", "price": "2.5"}
    >>> validator.event(fields).price
    2.5
    >>> validator.event(fields).reason
    'duplicate'
    >>> validator.item({"item_id": "i"})
    Refusal(reason='invalid', detail='Object missing required field `title`')
    """

    def __init__(self, now_ms: int, config: EventsConfig, distinct: bool = False) -> None:
        self.now_ms, self.config, self.distinct = now_ms, config, distinct
        self._seen = DuplicateFilter()

    def event(self, fields: Mapping[str, Any]) -> AnyEvent | Refusal:
        """The event of these fields; numbers may be text."""
        made: AnyEvent | Refusal = _converted(fields, AnyEvent)
        if isinstance(made, Refusal):
            return made
        raw = _encoded(made)
        passed = raw if isinstance(raw, Refusal) else self.raw_event(raw)
        return passed if isinstance(passed, Refusal) else _same(made, passed)

    def raw_event(self, raw: bytes) -> AnyEvent | Refusal:
        """The event of our own JSON, as the worker would read it."""
        event = decode_event(raw, self.now_ms, self.config)
        if not isinstance(event, Refusal) and self._seen.again(event.event_id):
            return refuse(DUPLICATE, f"event_id {event.event_id!r} was sent before")
        return event

    def item(self, fields: Mapping[str, Any]) -> Item | Refusal:
        """The item of these fields; numbers may be text."""
        made: Item | Refusal = _converted(fields, Item)
        if isinstance(made, Refusal):
            return made
        raw = _encoded(made)
        if isinstance(raw, Refusal):
            return raw
        passed = decode_item(made.item_id.encode(), raw, self.config)
        if isinstance(passed, Item):
            checked = _same(made, passed)
            if isinstance(checked, Item) and self._seen.again(made.item_id, None if self.distinct else hash(raw)):
                return refuse(DUPLICATE, f"item {made.item_id!r} was sent before")
            return checked
        assert isinstance(passed, Refusal)
        return passed


def unread(line: Line, reason: str, detail: str) -> Entry:
    """An entry for a line that is not a record."""
    return Entry(line, refuse(reason, detail))


def expanded(line: Line, records: int, outcomes: Iterable[AnyEvent | Item | Refusal]) -> Iterable[Entry]:
    """One entry for each result, if several come from the same records."""
    for number, outcome in enumerate(outcomes):
        yield Entry(line, outcome, 0 if number else records)


def _converted(fields: Mapping[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        return refuse("invalid", str(error))
    except RecursionError:
        return refuse("malformed", "nested too deep")


def _encoded(made: Event | Item) -> bytes | Refusal:
    try:
        return encoder.encode(made)
    except UnicodeEncodeError:
        return refuse("malformed", "a name or a text is not UTF-8")


def _same(made: _T, passed: _T) -> _T | Refusal:
    # JSON has no infinity: it would be encoded as null.
    return passed if made == passed else refuse("invalid", "a number is not finite")
