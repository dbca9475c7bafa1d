"""Validates a shop's own data before it goes to our topics: nothing passes that the worker would refuse.

Fields become an event or item by the structs of ``streams.events.schema`` and the checks of the worker's decoder;
values of another form are cleaned as the worker cleans them. Events without an id get one from their content, and
duplicates are found here. Knows nothing of files, mappings or Kafka.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from streams.config import EventsConfig
from streams.events.adapters.source import Line
from streams.events.amounts import Mark
from streams.events.cleaning import Notes
from streams.events.decode import (
    Refusal,
    checked_event,
    checked_item,
    decode_event,
    event_of_fields,
    item_of_fields,
    refuse,
)
from streams.events.schema import AnyEvent, Item, encoder

DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Omission(Refusal):
    """What a mapping leaves out on purpose, such as items that are not published: nothing is wrong with it."""


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

    def __init__(self, capacity: int = 500_000) -> None:
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
    """Passes each valid event and item once, and notes what it converts.

    An event is a duplicate if its ``event_id`` was seen. An item is a duplicate if it equals its last version or, with
    ``distinct``, if its id was seen: then the first of several rows for one item counts.

    Parameters
    ----------
    config
        Times are in milliseconds here, whatever unit they have in the file.

    Attributes
    ----------
    decimal : str or None
        The decimal mark of amounts, where it is known.

    Examples
    --------
    >>> validator = Validator(2_000_000_000_000, EventsConfig())
    >>> fields = {"type": "read", "event_id": "1", "ts": 1_790_000_000_000, "user_id": 7, "item_id": "i"}
    >>> validator.event(fields | {"price": "2,50"}).price
    2.5
    >>> validator.event(fields).reason
    'duplicate'
    >>> validator.notes.counts["user_id from a number"]
    2
    >>> validator.item({"item_id": "i"})
    Refusal(reason='invalid', detail='Object missing required field `title`')
    """

    def __init__(self, now_ms: int, config: EventsConfig, distinct: bool = False, notes: Notes | None = None) -> None:
        self.now_ms, self.config, self.distinct = now_ms, config, distinct
        self.notes = notes or Notes()
        self.decimal: Mark | None = None
        self._in_ms = config if config.epoch_unit == "ms" else config.model_copy(update={"epoch_unit": "ms"})
        self._seen = DuplicateFilter()

    def event(self, fields: dict[str, Any], place: int = 0) -> AnyEvent | Refusal:
        """The event of these fields, its time in epoch milliseconds; numbers may be text.

        Parameters
        ----------
        place
            Tells events of one record apart, where their content is the same.
        """
        if fields.get("event_id") in (None, ""):
            found = self._derived(fields, place)
            if isinstance(found, Refusal):
                return found
            fields = fields | {"event_id": found}
        made: AnyEvent | Refusal = self._made(fields, AnyEvent, event_of_fields)
        return made if isinstance(made, Refusal) else self._passed(made)

    def raw_event(self, raw: bytes) -> AnyEvent | Refusal:
        """The event of our own JSON, as the worker would read it; without an ``event_id`` it gets one."""
        event = decode_event(raw, self.now_ms, self.config, self.notes)
        if isinstance(event, Refusal):
            if "`event_id`" not in event.detail:
                return event
            try:
                return self.own_event(msgspec.json.decode(raw, type=dict[str, Any]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return event
        return self._once(event)

    def own_event(self, fields: dict[str, Any]) -> AnyEvent | Refusal:
        """The event of fields in our own names, as the worker would read them."""
        if fields.get("event_id") in (None, ""):
            found = self._derived(fields, 0)
            if isinstance(found, Refusal):
                return found
            fields = fields | {"event_id": found}
        try:
            event = decode_event(msgspec.json.encode(fields), self.now_ms, self.config, self.notes)
        except (UnicodeEncodeError, RecursionError, msgspec.MsgspecError) as error:
            return refuse("malformed", f"{type(error).__name__}: {error}")
        return event if isinstance(event, Refusal) else self._once(event)

    def item(self, fields: dict[str, Any]) -> Item | Refusal:
        """The item of these fields; numbers may be text."""
        made: Item | Refusal = self._made(fields, Item, item_of_fields)
        if not isinstance(made, Refusal):
            made = checked_item(made, self.notes)
        if isinstance(made, Refusal):
            return made
        raw = self._encoded(made)
        if isinstance(raw, Refusal):
            return raw
        if self._seen.again(made.item_id, None if self.distinct else hash(raw)):
            return refuse(DUPLICATE, f"item {made.item_id!r} was sent before")
        return made

    def _made(self, fields: dict[str, Any], kind: Any, cleaned: Callable[..., Any]) -> Any:
        """What the fields say, or a refusal; they are cleaned if the schema refuses them, or a point in a price may
        part thousands."""
        price = fields.get("price")
        if not (self.decimal == "," and isinstance(price, str) and "." in price):
            try:
                return msgspec.convert(fields, kind, strict=False)
            except msgspec.ValidationError as error:
                if self.config.strict:
                    return refuse("invalid", str(error))
            except RecursionError:
                return refuse("malformed", "nested too deep")
        return cleaned(fields, self._in_ms, self.notes, self.decimal)

    def _passed(self, made: AnyEvent) -> AnyEvent | Refusal:
        event = checked_event(made, self.now_ms, self.config, self.notes)
        if isinstance(event, Refusal):
            return event
        raw = self._encoded(event)
        return raw if isinstance(raw, Refusal) else self._once(event)

    def _once(self, event: AnyEvent) -> AnyEvent | Refusal:
        if self._seen.again(event.event_id):
            return refuse(DUPLICATE, f"event_id {event.event_id!r} was sent before")
        return event

    def _encoded(self, made: AnyEvent | Item) -> bytes | Refusal:
        try:
            raw = encoder.encode(made)
        except UnicodeEncodeError:
            return refuse("malformed", "a name or a text is not UTF-8")
        except RecursionError:
            return refuse("malformed", "nested too deep")
        if len(raw) > self.config.max_bytes:
            return refuse("oversized", f"{len(raw)} bytes; the limit is {self.config.max_bytes} (events.max_bytes)")
        return raw

    def _derived(self, fields: dict[str, Any], place: int) -> str | Refusal:
        """An id of the content: the same record gives the same one, so importing it again changes nothing."""
        try:
            known = {name: value for name, value in fields.items() if name != "event_id"}
            content = msgspec.json.encode([known, place] if place else known, order="sorted")
        except (UnicodeEncodeError, RecursionError, msgspec.MsgspecError, TypeError) as error:
            return refuse("malformed", f"{type(error).__name__}: {error}")
        self.notes.add("event_id from the content, so that equal records are one event")
        return blake2b(content, digest_size=12).hexdigest()


def wire(made: AnyEvent | Item, config: EventsConfig) -> bytes:
    """The record of an event or item that came through the gate, as a worker with these settings reads it: where a
    number would have another unit, the time is a text.

    Examples
    --------
    >>> from streams.events.schema import Read
    >>> read = Read(event_id="1", ts=1_768_003_200_000, user_id="u", item_id="i")
    >>> wire(read, EventsConfig(epoch_unit="s"))
    b'{"type":"read","event_id":"1","ts":"2026-01-10T00:00:00Z","user_id":"u","item_id":"i"}'
    """
    if isinstance(made, Item) or config.epoch_unit in {"ms", "auto"} or not isinstance(made.ts, int):
        return encoder.encode(made)
    return encoder.encode(msgspec.structs.replace(made, ts=datetime.fromtimestamp(made.ts / 1000, UTC)))


def unread(line: Line, reason: str, detail: str) -> Entry:
    """An entry for a line that is not a record."""
    return Entry(line, refuse(reason, detail))


def expanded(line: Line, records: int, outcomes: Iterable[AnyEvent | Item | Refusal]) -> Iterable[Entry]:
    """One entry for each result, if several come from the same records."""
    for number, outcome in enumerate(outcomes):
        yield Entry(line, outcome, 0 if number else records)
