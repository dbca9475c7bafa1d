"""Decodes bytes to a valid event or item, or to a refusal that says what is wrong.

Values of another form are cleaned (`streams.events.cleaning`), but only those that the schema refuses: a record as it
should be costs one pass of msgspec. Total: these functions never raise, whatever the bytes. Pure: the clock is an
argument. Knows nothing of what happens to a refusal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from streams.config import EventsConfig
from streams.events.amounts import Mark
from streams.events.cleaning import Notes, clean_event, clean_item, event_of, item_of, tidy
from streams.events.moments import from_epoch, implausible
from streams.events.schema import QUERY_LETTERS, AnyEvent, Id, Item, Search, event_decoder, item_decoder, normalise

T = TypeVar("T")

MAX_DETAIL = 500

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no value: for invalid UTF-8 and deep nesting it has no error of its own."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was refused: a short stable code, and a sentence for a person."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """An item that the shop deleted."""

    item_id: str


def refuse(reason: str, detail: str) -> Refusal:
    """A refusal whose detail has bounded length and can be encoded.

    Examples
    --------
    >>> refuse("invalid", "x" * 600).detail[-3:]
    'xx…'
    """
    clean = detail.encode("utf-8", "replace").decode()
    return Refusal(reason, clean if len(clean) <= MAX_DETAIL else clean[: MAX_DETAIL - 1] + "…")


def decode_event(
    raw: bytes | None, came_ms: int, config: EventsConfig, notes: Notes | None = None
) -> AnyEvent | Refusal:
    """Decode one record of ``shop.events``, that came at a moment (epoch ms): the event in it has happened by then.

    Reasons: ``empty``, ``oversized``, ``malformed`` (not JSON), ``invalid`` (JSON, but no event), ``future``, and
    ``guest`` (nobody's own id).

    Parameters
    ----------
    notes
        Where conversions are noted.

    Examples
    --------
    >>> event = b'{"type":"read","event_id":"1","ts":1768003200000,"user_id":17,"session_id":"","item_id":"i"}'
    >>> decode_event(event, 1_768_003_200_000, EventsConfig()).user_id
    '17'
    >>> decode_event(b'{"type":"addtocart"}', 9, EventsConfig()).detail
    "Invalid value 'addtocart' - at `$.type`: is it `cart`? In a file: --map-value type.addtocart=cart"
    """
    notes = notes or Notes()
    if raw is None:
        return refuse("empty", "the record has no value")
    event: AnyEvent | Refusal
    event, clean = _decoded(raw, event_decoder, config, lambda found: event_of_fields(found, config, notes))
    if isinstance(event, Refusal):
        return event
    if not clean and config.epoch_unit != "ms":
        event = _in_milliseconds(event, config, notes)
    return checked_event(event, came_ms, config, notes)


def decode_item(
    key: bytes | None, raw: bytes | None, config: EventsConfig, notes: Notes | None = None
) -> Item | Deleted | Refusal:
    """Decode one record of ``shop.items``: no value deletes the item that the key names.

    Reasons: those of events, and ``key`` when the key is missing, no item id, or another item's.

    Examples
    --------
    >>> decode_item(b"i1", None, EventsConfig())
    Deleted(item_id='i1')
    >>> decode_item(b"i1", b'{"item_id":"i2","title":"TV"}', EventsConfig()).reason
    'key'
    >>> decode_item(b"7", b'{"item_id":7,"title":"<b>TV</b>","brand":null,"price":"ask us"}', EventsConfig())
    Item(item_id='7', ... title='TV', ...)
    """
    notes = notes or Notes()
    if key is None:
        return refuse("key", "the record's key must be the item_id")
    try:
        item_id = msgspec.convert(key.decode(), Id)
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        return refuse("key", f"the record's key is no item id: {error}")
    if raw is None:
        return Deleted(item_id)
    item: Item | Refusal
    item, _ = _decoded(raw, item_decoder, config, lambda found: item_of_fields(found, config, notes))
    if isinstance(item, Refusal):
        return item
    item = checked_item(item, notes)
    if isinstance(item, Item) and item.item_id != item_id:
        return refuse("key", f"the record's key is {item_id!r}, its item_id {item.item_id!r}")
    return item


def event_of_fields(
    fields: dict[str, Any], config: EventsConfig, notes: Notes, decimal: Mark | None = None
) -> AnyEvent | Refusal:
    """The event of fields whose values may have another form than the schema's; still to be checked."""
    return _guarded(lambda: event_of(clean_event(fields, config, notes, decimal)))


def item_of_fields(
    fields: dict[str, Any], config: EventsConfig, notes: Notes, decimal: Mark | None = None
) -> Item | Refusal:
    """The item of fields whose values may have another form than the schema's; still to be checked."""
    return _guarded(lambda: item_of(clean_item(fields, config, notes, decimal), config, notes))


def checked_event(event: AnyEvent, came_ms: int, config: EventsConfig, notes: Notes) -> AnyEvent | Refusal:
    """What the schema cannot say of an event: its time is plausible, its shopper is one, its query not too long."""
    time_ms = event.time_ms
    if time_ms < config.earliest_ms:
        return refuse("invalid", f"{implausible(time_ms, config.earliest_ms)} - at `$.ts`")
    ahead_s = (time_ms - came_ms) / 1000
    if ahead_s > config.max_future_s:
        return refuse("future", f"ts is {ahead_s:.0f} s ahead of when it came; {config.max_future_s:g} s are allowed")
    if config.guests != "keep":
        known = _without_guest(event, config, notes)
        if isinstance(known, Refusal):
            return known
        event = known
    if isinstance(event, Search) and event.query and not event.query.isascii():  # NFKC can turn one into eighteen
        length = len(normalise(event.query))
        least = 0 if event.filters else 1
        if not least <= length <= QUERY_LETTERS:
            detail = (
                f"Expected {least} to {QUERY_LETTERS} letters once it is spelled out (NFKC, lower case), not {length}"
            )
            return refuse("invalid", f"{detail} - at `$.query`")
    return event


def checked_item(item: Item, notes: Notes) -> Item | Refusal:
    """The item with plain texts."""
    clean = tidy(item)
    if clean is not item:
        notes.add("HTML to text", item.title)
        if not clean.title:
            return refuse("invalid", "Expected a text and not HTML alone - at `$.title`")
    return clean


def _without_guest(event: AnyEvent, config: EventsConfig, notes: Notes) -> AnyEvent | Refusal:
    """The event without an id that many guests share. Sessions may be numbered from 0, so there 0 is an id."""
    user, session, words = event.user_id, event.session_id, config.guest_words
    shared = user is not None and user.lower() in words
    lost = session is not None and session != "0" and session.lower() in words
    if not (shared or lost):
        return event
    word = user if shared else session
    remains = (None if shared else user) or (None if lost else session)
    if config.guests == "refuse" or remains is None:
        return refuse(
            "guest", f"{word!r} is no shopper's id but what guests share (events.guest_ids): send a session_id instead"
        )
    notes.add("ids that guests share, taken as none", word)
    return msgspec.structs.replace(event, user_id=None if shared else user, session_id=None if lost else session)


def _in_milliseconds(event: AnyEvent, config: EventsConfig, notes: Notes) -> AnyEvent:
    ms = from_epoch(event.ts, config.epoch_unit, config.earliest_ms) if isinstance(event.ts, int) else event.ts
    if ms == event.ts:
        return event
    notes.add("ts from another unit", event.ts)
    return msgspec.structs.replace(event, ts=ms)


def _decoded(
    raw: bytes,
    decoder: msgspec.json.Decoder[T],
    config: EventsConfig,
    cleaned: Callable[[dict[str, Any]], Any],
) -> tuple[Any, bool]:
    """What the bytes say, and whether it had to be cleaned: ``cleaned`` makes it of a JSON object that the schema
    refuses."""
    if len(raw) > config.max_bytes:
        return refuse("oversized", f"{len(raw)} bytes; the limit is {config.max_bytes}"), False
    try:
        return decoder.decode(raw), False
    except msgspec.ValidationError as error:
        refused = refuse("invalid", str(error))
        if config.strict:
            return refused, False
    except Exception as error:
        return refuse("malformed", f"{type(error).__name__}: {error}"), False
    try:
        found = msgspec.json.decode(raw)
    except Exception:
        return refused, False
    return (cleaned(found), True) if isinstance(found, dict) else (refused, False)


def _guarded(make: Callable[[], T]) -> T | Refusal:
    try:
        return make()
    except (ValueError, OverflowError) as error:  # msgspec's ValidationError is one
        return refuse("invalid", str(error))
    except RecursionError:
        return refuse("malformed", "nested too deep")
