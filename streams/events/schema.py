"""The events that a shop produces, and the item: their schemas, limits and wire form.

A shop writes plain JSON, one object for each Kafka record; ``type`` says which event it is. Unknown fields are ignored.
Unknown types, missing fields and exceeded limits are refused with a sentence that says where. This module knows schemas
only: nothing of Kafka, Redis, or how events are processed.
"""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]+(?![\s\S])",  # not "$": it lets a last line feed pass
        description="An opaque identifier: 1 to 256 characters, none of them control characters.",
    ),
]
Text = Annotated[str, Meta(max_length=2_000)]
LongText = Annotated[str, Meta(max_length=20_000)]
QUERY_LETTERS = 512
Query = Annotated[str, Meta(max_length=QUERY_LETTERS)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
ProfileKey = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+(?![\s\S])")]
ProfileValue = (
    Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*(?![\s\S])")]
    | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, Meta(ge=-1e15, le=1e15)]
    | bool
    | None
)
"""An attribute of a shopper's profile."""
SEGMENT, SEGMENT_LETTERS = "segment", 64
"""The attribute of a profile that names the shopper's segment, and its most characters."""
Position = Annotated[int, Meta(ge=0, le=1_000_000, description="Zero-based place on the shelf, as seen on screen.")]
Timestamp = (
    Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset.")]
    | Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since the Unix epoch.")]
)

_SPACES = re.compile(r"[\s\ufeff]+")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """The fields of every event.

    ``event_id`` is the idempotency key: two events with the same id are one event. ``ts`` is event time. At least one
    of ``user_id`` and ``session_id`` names the shopper.

    Raises
    ------
    ValueError
        When neither ``user_id`` nor ``session_id`` is there (msgspec turns it into a ``ValidationError``).
    """

    event_id: Id
    ts: Timestamp
    user_id: Id | None = None
    session_id: Id | None = None

    touches: ClassVar[bool] = False
    """Whether the event is an interaction with one item, and so belongs to the shopper's history."""

    def __post_init__(self) -> None:
        if self.user_id is None and self.session_id is None:
            raise ValueError("user_id or session_id is needed")

    @property
    def shopper(self) -> str:
        """Who acted: the user if known, else the session."""
        return self.user_id or self.session_id or ""

    @property
    def time_ms(self) -> int:
        """Event time in milliseconds since the Unix epoch.

        Examples
        --------
        >>> Read(event_id="1", ts=1_700_000_000_000, user_id="u", item_id="a").time_ms
        1700000000000
        """
        return self.ts if isinstance(self.ts, int) else int(self.ts.timestamp() * 1000)

    @property
    def kind(self) -> str:
        """The wire name of the event's type, e.g. ``"click"``."""
        return str(self.__struct_config__.tag)


class Search(Event, frozen=True, kw_only=True, tag="search"):
    """A shopper searched with a text query, with filters or not; or opened a page of filters alone, as of a category:
    then there is no query, or a blank one."""

    query: Query | None = None
    query_id: Id | None = None
    filters: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.filters and not (self.query or "").strip():
            raise ValueError("a `query` that is not blank, or `filters` are needed - at `$.query`")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One item of an impression."""

    item_id: Id
    position: Position


class Impression(Event, frozen=True, kw_only=True, tag="impression"):
    """What was actually on the shopper's screen."""

    shelf_id: Id
    surface: Annotated[str, Meta(min_length=1, max_length=64)]
    items: Annotated[list[Shown], Meta(min_length=1, max_length=200)]


class Touch(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An interaction with one item. Never on the wire itself; only its subclasses are."""

    item_id: Id
    shelf_id: Id | None = None
    position: Position | None = None
    quantity: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    price: Amount | None = None

    touches: ClassVar[bool] = True


class Click(Touch, frozen=True, kw_only=True, tag="click"):
    """The shopper opened the item."""


class Read(Touch, frozen=True, kw_only=True, tag="read"):
    """The shopper stayed with the item's page: read its text or looked through its pictures."""


class Cart(Touch, frozen=True, kw_only=True, tag="cart"):
    """The shopper put the item into the cart."""


class Purchase(Touch, frozen=True, kw_only=True, tag="purchase"):
    """The shopper bought the item."""


class Review(Event, frozen=True, kw_only=True, tag="review"):
    """The shopper reviewed an item."""

    item_id: Id
    rating: Annotated[float, Meta(ge=0, le=5)]
    text: LongText = ""

    touches: ClassVar[bool] = True


class Profile(Event, frozen=True, kw_only=True, tag="profile"):
    """What the shop knows of a shopper: flat attributes, each kept with the event's time, the newest value of each.
    ``null`` removes an attribute. ``segment`` is a text: popular items are also counted by it.

    Raises
    ------
    ValueError
        When the segment is no text of 1 to 64 characters (msgspec turns it into a ``ValidationError``).
    """

    attributes: Annotated[dict[ProfileKey, ProfileValue], Meta(min_length=1, max_length=32)]

    def __post_init__(self) -> None:
        super().__post_init__()
        segment = self.attributes.get(SEGMENT)
        if segment is None:
            return
        if not isinstance(segment, str) or len(segment) > SEGMENT_LETTERS or not re.search(r"\S", segment):
            raise ValueError(f"segment is a text of 1 to {SEGMENT_LETTERS} characters, not blank, or null")


class Forget(Event, frozen=True, kw_only=True, tag="forget"):
    """The shopper is to be forgotten: all that happened up to the event's time. With both ids, user and session are."""


AnyEvent = Search | Impression | Click | Read | Cart | Purchase | Review | Profile | Forget
EVENT_TYPES: tuple[type[Event], ...] = (
    Search,
    Impression,
    Click,
    Read,
    Cart,
    Purchase,
    Review,
    Profile,
    Forget,
)


Attribute = str | float | bool | None


class Sponsorship(msgspec.Struct, frozen=True, kw_only=True):
    """What a seller pays to have the item shown."""

    bid: Amount
    budget: Amount


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that the shop sells. An upsert holds the whole item; a Kafka record without a value deletes it.

    ``group_id`` is the same for all variants of one product, such as its sizes and colours.
    """

    item_id: Id
    group_id: Id | None = None
    title: Annotated[str, Meta(min_length=1, max_length=2_000)]
    description: LongText = ""
    category: Text = ""
    brand: Text = ""
    price: Amount | None = None
    currency: Annotated[str, Meta(max_length=8)] = ""
    in_stock: bool = True
    attributes: dict[str, Attribute | list[Attribute]] = {}
    sponsored: Sponsorship | None = None


event_decoder = msgspec.json.Decoder(AnyEvent)
item_decoder = msgspec.json.Decoder(Item)
encoder = msgspec.json.Encoder()


def normalise(query: str) -> str:
    """Normalise a query: NFKC, lower case, single spaces.

    White space is what Python or JavaScript counts as such, including U+001C to U+001F, U+0085 and U+FEFF.

    Examples
    --------
    >>> normalise("  USB\\tCable \\ufeff"), normalise("hdmi\\x85kabel")
    ('usb cable', 'hdmi kabel')
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", query).lower()).strip()


def iso(time_ms: int) -> str:
    """RFC 3339 text of epoch milliseconds, for messages to people.

    Examples
    --------
    >>> iso(1_700_000_000_000)
    '2023-11-14T22:13:20+00:00'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
