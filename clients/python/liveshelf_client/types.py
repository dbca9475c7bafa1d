"""What is sent and read, as types; generated from the JSON Schemas by ``clients/generate_types.py``."""

from typing import Any, Literal, NotRequired, TypedDict


class Cart(TypedDict):
    """The shopper put the item into the cart."""

    type: Literal["cart"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    item_id: str
    shelf_id: NotRequired[str | None]
    position: NotRequired[int | None]
    quantity: NotRequired[int | None]
    price: NotRequired[float | None]


class Click(TypedDict):
    """The shopper opened the item."""

    type: Literal["click"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    item_id: str
    shelf_id: NotRequired[str | None]
    position: NotRequired[int | None]
    quantity: NotRequired[int | None]
    price: NotRequired[float | None]


class Forget(TypedDict):
    """The shopper is to be forgotten: all that happened up to the event's time. With both ids, user and session
    are."""

    type: Literal["forget"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]


class Profile(TypedDict):
    """What the shop knows of a shopper: flat attributes, each kept with the event's time, the newest value of each.
    ``null`` removes an attribute. ``segment`` is a text: popular items are also counted by it."""

    type: Literal["profile"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    attributes: dict[str, str | int | float | bool | None]


class Purchase(TypedDict):
    """The shopper bought the item."""

    type: Literal["purchase"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    item_id: str
    shelf_id: NotRequired[str | None]
    position: NotRequired[int | None]
    quantity: NotRequired[int | None]
    price: NotRequired[float | None]


class Read(TypedDict):
    """The shopper stayed with the item's page: read its text or looked through its pictures."""

    type: Literal["read"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    item_id: str
    shelf_id: NotRequired[str | None]
    position: NotRequired[int | None]
    quantity: NotRequired[int | None]
    price: NotRequired[float | None]


class Review(TypedDict):
    """The shopper reviewed an item."""

    type: Literal["review"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    item_id: str
    rating: float
    text: NotRequired[str]


class Search(TypedDict):
    """A shopper searched with a text query, with filters or not; or opened a page of filters alone, as of a
    category: then there is no query, or a blank one."""

    type: Literal["search"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    query: NotRequired[str | None]
    query_id: NotRequired[str | None]
    filters: NotRequired[dict[str, Any] | None]


class ShelfItem(TypedDict):
    """One ranked item: its utility, the predicted probabilities, and what it owes its place to, ``KIND`` or
    ``KIND:PART:PART…`` with escaped parts."""

    item_id: str
    score: float
    buy: float
    read: float
    look: float
    reason: str


class Shown(TypedDict):
    """One item of an impression."""

    item_id: str
    position: int


class Sponsorship(TypedDict):
    """What a seller pays to have the item shown."""

    bid: float
    budget: float


class Impression(TypedDict):
    """What was actually on the shopper's screen."""

    type: Literal["impression"]
    event_id: str
    ts: str | int
    user_id: NotRequired[str | None]
    session_id: NotRequired[str | None]
    shelf_id: str
    surface: str
    items: list[Shown]


class Item(TypedDict):
    """One thing that the shop sells. An upsert holds the whole item; a Kafka record without a value deletes it."""

    item_id: str
    group_id: NotRequired[str | None]
    title: str
    description: NotRequired[str]
    category: NotRequired[str]
    brand: NotRequired[str]
    price: NotRequired[float | None]
    currency: NotRequired[str]
    in_stock: NotRequired[bool]
    attributes: NotRequired[dict[str, str | float | bool | list[str | float | bool | None] | None]]
    sponsored: NotRequired[Sponsorship | None]


class Shelf(TypedDict):
    """The value under a shelf key. Times are epoch milliseconds."""

    shelf_id: str
    surface: str
    model: str
    arm: str
    made_at: int
    event_ts: int
    items: list[ShelfItem]


Event = Search | Impression | Click | Read | Cart | Purchase | Review | Profile | Forget
