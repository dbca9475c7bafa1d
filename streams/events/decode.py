"""Decodes bytes to a valid event or item, or to a refusal that says what is wrong.

Total: these functions never raise, whatever the bytes. Pure: the clock is an argument. Knows nothing of what happens to
a refusal.
"""

from dataclasses import dataclass

import msgspec

from streams.config import EventsConfig
from streams.events.schema import QUERY_LETTERS, AnyEvent, Id, Item, Search, event_decoder, item_decoder, normalise

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


def decode_event(raw: bytes | None, came_ms: int, config: EventsConfig) -> AnyEvent | Refusal:
    """Decode one record of ``shop.events``, that came at a moment (epoch ms): the event in it has happened by then.

    Reasons: ``empty``, ``oversized``, ``malformed`` (not JSON), ``invalid`` (JSON, but no event), ``future``.

    Examples
    --------
    >>> decode_event(b'{"type":"read","event_id":"1","ts":5,"user_id":"u","item_id":"i"}', 9, EventsConfig()).kind
    'read'
    >>> decode_event(b'{"type":"poke"}', 9, EventsConfig())
    Refusal(reason='invalid', detail="Invalid value 'poke' - at `$.type`")
    """
    if raw is None:
        return refuse("empty", "the record has no value")
    if len(raw) > config.max_bytes:
        return refuse("oversized", f"{len(raw)} bytes; the limit is {config.max_bytes}")
    try:
        event: AnyEvent = event_decoder.decode(raw)
    except Exception as error:
        return _undecodable(error)
    ahead_s = (event.time_ms - came_ms) / 1000
    if ahead_s > config.max_future_s:
        return refuse("future", f"ts is {ahead_s:.0f} s ahead of when it came; {config.max_future_s:g} s are allowed")
    if event.time_ms < 0:
        return refuse("invalid", "Expected a time since 1970 - at `$.ts`")
    if isinstance(event, Search) and event.query and not event.query.isascii():  # NFKC can turn one into eighteen
        length = len(normalise(event.query))
        least = 0 if event.filters else 1
        if not least <= length <= QUERY_LETTERS:
            detail = (
                f"Expected {least} to {QUERY_LETTERS} letters once it is spelled out (NFKC, lower case), not {length}"
            )
            return refuse("invalid", f"{detail} - at `$.query`")
    return event


def decode_item(key: bytes | None, raw: bytes | None, config: EventsConfig) -> Item | Deleted | Refusal:
    """Decode one record of ``shop.items``: no value deletes the item that the key names.

    Reasons: those of events, and ``key`` when the key is missing, no item id, or another item's.

    Examples
    --------
    >>> decode_item(b"i1", None, EventsConfig())
    Deleted(item_id='i1')
    >>> decode_item(b"i1", b'{"item_id":"i2","title":"TV"}', EventsConfig()).reason
    'key'
    """
    if key is None:
        return refuse("key", "the record's key must be the item_id")
    try:
        item_id = msgspec.convert(key.decode(), Id)
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        return refuse("key", f"the record's key is no item id: {error}")
    if raw is None:
        return Deleted(item_id)
    if len(raw) > config.max_bytes:
        return refuse("oversized", f"{len(raw)} bytes; the limit is {config.max_bytes}")
    try:
        item = item_decoder.decode(raw)
    except Exception as error:
        return _undecodable(error)
    if item.item_id != item_id:
        return refuse("key", f"the record's key is {item_id!r}, its item_id {item.item_id!r}")
    return item


def _undecodable(error: Exception) -> Refusal:
    if isinstance(error, msgspec.ValidationError):
        return refuse("invalid", str(error))
    return refuse("malformed", f"{type(error).__name__}: {error}")
