"""One shelf for people: items with titles, and a sentence on whether it is the wanted shelf or a fallback.

Knows the reader of shelves, titles and reasons; nothing of HTTP.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from evaluator.dashboard.term_matches import Matches, TermMatches
from streams.catalog.embedding import text
from streams.events.cleaning import tidy
from streams.events.schema import Id, Item, normalise
from streams.events.shelf import Shelf, ShelfItem
from streams.ranking import reasons
from streams.redis import keys
from streams.redis.client import ShelfClient

LONGEST_TITLE = 160
LONGEST_TEXT = 240
"""Letters kept of an item's text, title included: about as many as an encoder reads."""

SEPARATOR = "\x1f"


class _Titled(msgspec.Struct):
    title: str
    brand: str = ""
    category: str = ""
    description: str = ""


_decoder = msgspec.json.Decoder(_Titled)


class Titled(NamedTuple):
    """An item's title, and what its text has beside it; None where the item was deleted."""

    item_id: str
    title: str | None
    rest: str = ""


def parse(message: Any, _came_ms: int) -> Titled:
    """The title of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no item.
    """
    item_id = msgspec.convert((message.key or b"").decode(), Id)
    if message.value is None:
        return Titled(item_id, None)
    item = _decoder.decode(message.value)
    clean = tidy(
        Item(
            item_id=item_id,
            title=item.title.replace(SEPARATOR, " ").strip(),
            brand=item.brand,
            category=item.category,
            description=item.description[:LONGEST_TEXT],
        )
    )
    title = clean.title
    return Titled(item_id, title[:LONGEST_TITLE], text(clean)[len(title) : LONGEST_TEXT])


class Titles:
    """Titles by item id; of more than ``most`` items, the least recently updated are dropped.

    Examples
    --------
    >>> titles = Titles(most=2)
    >>> for item in ("a", "b", "c"): titles.update(Titled(item, f"Item {item}"))
    >>> titles.get("a"), titles.get("c"), len(titles)
    (None, 'Item c', 2)
    >>> titles.update(Titled("c", None))
    >>> titles.get("c")
    """

    def __init__(self, most: int = 500_000) -> None:
        self.most = most
        self._titles: dict[str, str] = {}

    def update(self, item: Titled) -> None:
        """Take in an item's title."""
        self._titles.pop(item.item_id, None)
        if item.title is not None:
            self._titles[item.item_id] = f"{item.title}{SEPARATOR}{item.rest}" if item.rest else item.title
            if len(self._titles) > self.most:
                del self._titles[next(iter(self._titles))]

    def get(self, item: str) -> str | None:
        """An item's title, None where it is not known."""
        found = self._titles.get(item)
        return found and found.partition(SEPARATOR)[0]

    def text(self, item: str) -> str | None:
        """The beginning of an item's text, as the encoder reads it; None where it is not known."""
        found = self._titles.get(item)
        return found and found.replace(SEPARATOR, "")

    def __len__(self) -> int:
        return len(self._titles)


LONGEST = 512
Kind = Literal["feed", "search", "similar", "popular"]
ABOUT_ITEMS = ("like", "together")
"""Kinds of reasons that name an item."""


class Question(msgspec.Struct, frozen=True):
    """The wanted shelf: a shopper's feed, a query, an item, or a segment; a search may be for one shopper."""

    kind: Kind
    value: str = ""
    user: str = ""


class PlaceRow(msgspec.Struct, frozen=True):
    """One place of a shelf; ``title`` is None where the catalogue that was read has no such item.

    ``why`` is the kind of its reason, ``parts`` are the reason's parts, and ``of`` is the title of the item that it
    names.
    """

    place: int
    item_id: str
    title: str | None
    score: float
    buy: float
    read: float
    look: float
    why: str
    parts: tuple[str, ...] = ()
    of: str | None = None


class PastRow(msgspec.Struct, frozen=True):
    """A past item or a past search to which some places of a shelf owe most."""

    why: str
    part: str
    title: str | None
    places: list[int]


class Found(msgspec.Struct, frozen=True):
    """The answer: ``said`` states whether it is the wanted shelf; ``key`` is the Redis key that was read first."""

    said: str
    exact: bool
    key: str
    age_s: float | None = None
    shelf_id: str = ""
    surface: str = ""
    model: str = ""
    arm: str = ""
    items: list[PlaceRow] = []
    past: list[PastRow] = []


def read_shelf(client: ShelfClient, question: Question, titles: Titles, now: int) -> Found:
    """Read a shelf as a frontend would, fallbacks included.

    Raises
    ------
    redis.exceptions.RedisError
        When Redis does not answer.
    """
    value, user = question.value, question.user
    match question.kind:
        case "feed":
            key, wanted, shelf = keys.feed(value), f"The feed of {value}", client.feed(value)
            exact = shelf is not None and shelf.surface == "feed"
        case "similar":
            key, wanted, shelf = keys.similar(value), f"Items similar to {value}", client.similar(value)
            exact = shelf is not None and shelf.surface == "similar"
        case "popular":
            segment = value or "all"
            key, wanted, shelf = keys.popular(segment), f"Popular in {segment}", client.popular(segment)
            everywhere = client.popular() if segment != "all" else None
            exact = shelf is not None and (everywhere is None or everywhere.shelf_id != shelf.shelf_id)
        case "search":
            key, wanted = keys.search(value, user or None), f"Results for “{value}”"
            shelf = client.search(value, user or None)
            exact = shelf is not None and shelf.surface == "search"
            if user:
                wanted += f", ranked for {user}"
                anyones = client.search(value)
                if exact and shelf is not None and anyones is not None and anyones.shelf_id == shelf.shelf_id:
                    return _found(
                        shelf, f"{wanted}: there are none of their own; these are everyone's.", key, titles, now
                    )
    if shelf is None:
        return Found(
            f"{wanted}: there is no shelf, and nothing popular to fall back on yet. "
            "Is a worker running and a catalogue loaded?",
            False,
            key,
        )
    if exact:
        return msgspec.structs.replace(_found(shelf, f"{wanted}.", key, titles, now), exact=True)
    return _found(
        shelf, f"{wanted}: there is no such shelf; a frontend shows what is popular instead.", key, titles, now
    )


def _found(shelf: Shelf, said: str, key: str, titles: Titles, now: int) -> Found:
    items = [_place(place, one, titles) for place, one in enumerate(shelf.items, 1)]
    return Found(
        said,
        False,
        key,
        max(0.0, (now - shelf.made_at) / 1_000),
        shelf.shelf_id,
        shelf.surface,
        shelf.model,
        shelf.arm,
        items,
        _past(items),
    )


def _place(place: int, item: ShelfItem, titles: Titles) -> PlaceRow:
    why, parts = reasons.read(item.reason)
    of = titles.get(parts[0]) if why in ABOUT_ITEMS and parts else None
    title = titles.get(item.item_id)
    return PlaceRow(place, item.item_id, title, item.score, item.buy, item.read, item.look, why, parts, of)


def _past(items: Sequence[PlaceRow]) -> list[PastRow]:
    """What the reasons name of a past, that of most places first."""
    found: dict[tuple[str, str], PastRow] = {}
    for row in items:
        if row.why in (*ABOUT_ITEMS, "searched") and row.parts:
            key = row.why, row.parts[0]
            found.setdefault(key, PastRow(*key, row.of, [])).places.append(row.place)
    return sorted(found.values(), key=lambda one: -len(one.places))


def explain_search(client: ShelfClient, question: Question, titles: Titles, matches: TermMatches) -> Matches:
    """The words of a search shelf's items that the query's words match.

    Raises
    ------
    redis.exceptions.RedisError
        When Redis does not answer.
    models.store.errors.StoreError, models.weights.WeightsError
        When no model can be loaded.
    """
    shelf = client.search(question.value, question.user or None)
    if shelf is None or shelf.surface != "search":
        return Matches("There is no shelf of this query.")
    items = [(one.item_id, titles.text(one.item_id)) for one in shelf.items]
    return matches.get(normalise(question.value), items, shelf.model)
