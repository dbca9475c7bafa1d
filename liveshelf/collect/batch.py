"""Turns a request's body into records for Kafka, and refusals with their reasons.

A body is one JSON object, a JSON array, or one object a line (NDJSON). Each is validated as the worker validates it,
and sent on as it came. Total and pure: the clock is an argument. Knows nothing of HTTP or of how records are sent.
"""

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from streams.config import EventsConfig
from streams.events.decode import UNDECODABLE, Deleted, Refusal, decode_event, decode_item, refuse
from streams.events.schema import Forget, Profile

_raw = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class _Named(msgspec.Struct):
    item_id: str | int


_named = msgspec.json.Decoder(_Named)


class Draft(NamedTuple):
    """A record to be sent: its key and its value; without a value it deletes."""

    key: bytes
    value: bytes | None


Outcome = tuple[int, Draft | Refusal]
"""What became of one object: its place in the body, from 1, and its record or why there is none."""


class Refused(msgspec.Struct, frozen=True):
    """One line, or one member of an array, that was refused: its number from 1, a code, and a sentence."""

    line: Annotated[int, Meta(ge=1)]
    reason: str
    detail: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many were taken and refused; the first refusals are told. Of another system's events some say nothing to a
    recommender, or come twice: they are left out, and the first of them are told."""

    accepted: Annotated[int, Meta(ge=0)]
    refused: Annotated[int, Meta(ge=0)]
    refusals: list[Refused]
    left_out: Annotated[int, Meta(ge=0)] = 0
    omissions: list[Refused] = []


MOST_TOLD = 100
"""Refusals that an answer tells, and omissions."""


class MalformedError(Exception):
    """A body that cannot be taken apart; the message says why."""


def lines(body: bytes) -> list[bytes]:
    """The objects in a body, each still to be validated; blank lines are none.

    Raises
    ------
    MalformedError
        When the body is empty, or an array that is no JSON.

    Examples
    --------
    >>> lines(b'{"a": 1}'), lines(b'[{"a": 1}, 2]'), lines(b'{"a": 1}\\n\\nnonsense\\r\\n')
    ([b'{"a": 1}'], [b'{"a": 1}', b'2'], [b'{"a": 1}', b'nonsense'])
    """
    text = body.strip()
    if text.startswith(b"["):
        try:
            found = [bytes(one) for one in _array.decode(text)]
        except UNDECODABLE as error:
            raise MalformedError(f"the array is no JSON, so none of it can be taken: {error}") from None
    else:
        try:
            found = [bytes(_raw.decode(text))]  # also one that is printed over several lines
        except UNDECODABLE:
            found = [line for part in text.split(b"\n") if (line := part.strip())]
    if not found:
        raise MalformedError("the body is empty: send a JSON object, an array of them, or one a line")
    return found


def event_draft(raw: bytes, came_ms: int, config: EventsConfig, *, trusted: bool) -> Draft | Refusal:
    """An event's record, keyed by its shopper; ``trusted`` senders may also send profiles and have shoppers forgotten.

    Examples
    --------
    >>> read = b'{"type":"read","event_id":"1","ts":1700000000000,"user_id":"u","item_id":"i"}'
    >>> event_draft(read, 1_700_000_000_000, EventsConfig(), trusted=False).key
    b'u'
    >>> forget = b'{"type":"forget","event_id":"1","ts":1700000000000,"user_id":"u"}'
    >>> event_draft(forget, 1_700_000_000_000, EventsConfig(), trusted=False).reason
    'key'
    """
    event = decode_event(raw, came_ms, config)
    if isinstance(event, Refusal):
        return event
    if not trusted and isinstance(event, Profile | Forget):
        return refuse("key", f"a page's key may not send {event.kind!r}: use the key of the shop's own servers")
    return Draft(event.shopper.encode(), raw)


def item_draft(raw: bytes, config: EventsConfig) -> Draft | Refusal:
    """An item's record, keyed by its id.

    Examples
    --------
    >>> item_draft(b'{"item_id":"i1","title":"TV"}', EventsConfig())
    Draft(key=b'i1', value=b'{"item_id":"i1","title":"TV"}')
    >>> item_draft(b'{"title":"TV"}', EventsConfig())
    Refusal(reason='invalid', detail='Object missing required field `item_id`')
    """
    if len(raw) > config.max_bytes:
        return refuse("oversized", f"{len(raw)} bytes; the limit is {config.max_bytes}")
    try:
        key = str(_named.decode(raw).item_id).encode()
    except msgspec.ValidationError as error:
        return refuse("invalid", str(error))
    except UNDECODABLE as error:
        return refuse("malformed", f"{type(error).__name__}: {error}")
    item = decode_item(key, raw, config)
    return item if isinstance(item, Refusal) else Draft(key, raw)


def tombstone(item_id: str, config: EventsConfig) -> Draft | Refusal:
    """The record that deletes an item.

    Examples
    --------
    >>> tombstone("i1", EventsConfig()), tombstone("", EventsConfig()).reason
    (Draft(key=b'i1', value=None), 'key')
    """
    key = item_id.encode("utf-8", "replace")
    item = decode_item(key, None, config)
    return Draft(key, None) if isinstance(item, Deleted) else _refusal(item)


def forget_draft(body: bytes, event_id: str, now_ms: int, config: EventsConfig) -> tuple[Draft, str] | Refusal:
    """The record that has a shopper forgotten, and its event's id: of a body that names the shopper.

    Examples
    --------
    >>> forget_draft(b'{"user_id": "u"}', "f1", 1_700_000_000_000, EventsConfig())[0].key
    b'u'
    >>> forget_draft(b'{}', "f1", 1_700_000_000_000, EventsConfig()).detail
    'user_id or session_id is needed'
    """
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
        whole = {"event_id": event_id, "ts": now_ms} | given | {"type": "forget"}
        raw = msgspec.json.encode(whole)
    except msgspec.ValidationError as error:
        return refuse("invalid", str(error))
    except UNDECODABLE as error:
        return refuse("malformed", f"{type(error).__name__}: {error}")
    draft = event_draft(raw, now_ms, config, trusted=True)
    return draft if isinstance(draft, Refusal) else (draft, str(whole["event_id"]))


def _refusal(found: Any) -> Refusal:
    assert isinstance(found, Refusal)
    return found
