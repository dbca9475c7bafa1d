"""Cleans the values of events and items that have another form than the schema's, for topics and files alike.

Numbers become ids and texts numbers where that is unambiguous; empty means absent; HTML becomes text; words say whether
an item is in stock; an optional field of an item that cannot be used is left out or cut. Every conversion is noted.
Pure. Knows the schema; nothing of bytes, files or mappings.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from streams.config import EventsConfig
from streams.events import moments
from streams.events.amounts import Mark, amount
from streams.events.markup import plain
from streams.events.schema import EVENT_TYPES, AnyEvent, Attribute, Item

TYPES = {str(kind.__struct_config__.tag) for kind in EVENT_TYPES}

SYNONYMS = {
    "click": "view views viewed product_view view_item view_product productview product_viewed clicks item_click "
    "product_click product_clicked select_item detail pageview visit open",
    "cart": "addtocart add_to_cart add-to-cart carts basket add product_added atc",
    "purchase": "transaction transactions order orders buy bought checkout_completed order_completed sale purchased",
    "impression": "impressions view_item_list product_list_viewed show shown",
    "search": "search_query searched products_searched view_search_results query",
    "review": "rating ratings rate reviews",
    "read": "read_item dwell engagement",
}
"""What others call the types of events, by ours; they are offered, never taken unasked."""

_OURS = {theirs: ours for ours, names in SYNONYMS.items() for theirs in names.split()}

STOCK = {
    True: "in stock|instock|in_stock|in-stock|available|yes|y|true|1|on|lieferbar|auf lager|verfügbar|en stock|"
    "disponible|disponibile|op voorraad|i lager|w magazynie|em estoque|in magazzino|有货|有貨|有庫存|现货|在庫あり|"
    "preorder|pre-order|pre_order|presale|backorder|back order|back-order|onbackorder|available for order|"
    "limitedavailability|limited availability|limited|instoreonly|onlineonly|madetoorder|reserved",
    False: "out of stock|outofstock|out_of_stock|out-of-stock|sold out|soldout|sold_out|unavailable|not available|no|n|"
    "false|0|off|none|discontinued|ausverkauft|nicht lieferbar|nicht verfügbar|nicht auf lager|rupture de stock|"
    "épuisé|agotado|esaurito|non disponibile|uitverkocht|esgotado|wyprzedane|无货|無貨|缺货|缺貨|售罄|"
    "在庫なし|売り切れ",
}
"""Words for an item that can be bought or not, by `streams.events.schema.Item.in_stock`."""

_STOCK = {word: known for known, words in STOCK.items() for word in words.split("|")}

IDS = frozenset({"event_id", "user_id", "session_id", "item_id", "shelf_id", "query_id", "group_id"})
NUMBERS = frozenset({"price", "quantity", "position", "rating", "bid", "budget"})
TEXTS = ("title", "description", "category", "brand")
LIMITS = {"title": 2_000, "description": 20_000, "category": 2_000, "brand": 2_000}
_NEEDED = {"item_id", "title"}
_PLACE = re.compile(r" - at `\$\.(\w+)[^`]*`$")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")


class Notes:
    """How often something was converted, and the first example of each kind; ``facts`` say how a file is read.

    Examples
    --------
    >>> notes = Notes()
    >>> notes.add("price from a text", "9,99"); notes.add("price from a text", "8,99")
    >>> notes.counts, notes.examples
    (Counter({'price from a text': 2}), {'price from a text': '9,99'})
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.facts: dict[str, str] = {}

    def add(self, what: str, example: object = "") -> None:
        """Count one conversion."""
        self.counts[what] += 1
        if what not in self.examples:
            self.examples[what] = str(example)[:60].encode("utf-8", "replace").decode()

    def news(self, told: set[str]) -> Iterator[str]:
        """A sentence on each kind of conversion that is not in ``told``, which learns it.

        Examples
        --------
        >>> notes, told = Notes(), set()
        >>> notes.add("price from a text", "9,99")
        >>> list(notes.news(told)), list(notes.news(told))
        (["price from a text, as of '9,99'; from now on such conversions are only counted"], [])
        """
        for what in self.counts.keys() - told:
            told.add(what)
            yield f"{what}, as of {self.examples[what]!r}; from now on such conversions are only counted"


def clean_event(
    fields: Mapping[str, Any], config: EventsConfig, notes: Notes, decimal: Mark | None = None
) -> dict[str, Any]:
    """The fields of an event with values of the schema's types, as far as they leave no doubt.

    Raises
    ------
    ValueError
        When a field cannot be read; the message says which, and what to do.

    Examples
    --------
    >>> fields = {"type": "click", "user_id": "", "session_id": 17, "item_id": 42.0, "ts": "2026-01-10 00:00:00+01"}
    >>> clean_event(fields, EventsConfig(), Notes())
    {'type': 'click', 'session_id': '17', 'item_id': '42', 'ts': 1767999600000}
    """
    cleaned: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None or (isinstance(value, str) and not value.strip() and name != "text"):
            continue
        cleaned[name] = _event_value(name, value, config, notes, decimal)
    kind = cleaned.get("type")
    if isinstance(kind, str) and kind not in TYPES:
        raise ValueError(unknown_type(kind))
    return cleaned


def _event_value(name: str, value: Any, config: EventsConfig, notes: Notes, decimal: Mark | None) -> Any:
    if name == "ts":
        try:
            ms = moments.read(value, config.epoch_unit, _zone(config), config.earliest_ms, notes.add)
        except ValueError as error:
            raise ValueError(f"{error} - at `$.ts`") from error
        if ms > moments.CALENDAR_MS:
            raise ValueError(f"{moments.implausible(ms, config.earliest_ms)} - at `$.ts`")
        if not isinstance(value, int):
            notes.add("ts from another form", value)
        return ms
    if name in IDS:
        return identifier(name, value, notes)
    if name in NUMBERS:
        return number(name, value, notes, decimal)
    if name == "items" and isinstance(value, list):
        return [
            {key: _event_value(key, one, config, notes, decimal) for key, one in item.items()}
            if isinstance(item, dict)
            else item
            for item in value
        ]
    return value


def _zone(config: EventsConfig) -> tzinfo | None:
    return moments.named_zone(config.timezone) if config.timezone else None


def clean_item(
    fields: Mapping[str, Any], config: EventsConfig, notes: Notes, decimal: Mark | None = None
) -> dict[str, Any]:
    """The fields of an item with values of the schema's types; texts are plain, and not longer than they may be.

    Unless ``events.unusable`` is ``refuse``, an optional field that cannot be read is left out, and noted.

    Raises
    ------
    ValueError
        When a field cannot be read and may not be left out.

    Examples
    --------
    >>> fields = {"item_id": 42, "title": "Tea &amp; more", "price": "12,50 EUR", "in_stock": "sold out", "brand": None}
    >>> clean_item(fields, EventsConfig(), Notes()) == {
    ...     "item_id": "42", "title": "Tea & more", "price": 12.5, "currency": "EUR", "in_stock": False}
    True
    """
    cleaned: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        try:
            if name == "price" and isinstance(value, str):
                cleaned[name], code = _read(value, decimal)
                notes.add("price from a text", value)
                if code and not fields.get("currency"):
                    cleaned["currency"] = code
            else:
                cleaned[name] = _item_value(name, value, config, notes)
        except ValueError as error:
            if name in _NEEDED or config.unusable == "refuse":
                raise ValueError(f"{error} - at `$.{name}`") from error
            notes.add(f"{name} left out: it could not be read", value)
    return cleaned


def _item_value(name: str, value: Any, config: EventsConfig, notes: Notes) -> Any:
    if name in IDS:
        return identifier(name, value, notes)
    if name == "in_stock":
        return in_stock(value, notes)
    if name == "attributes" and isinstance(value, dict):
        return attributes(value, notes)
    if name in LIMITS:
        return _text(name, value, config, notes)
    return value


def _text(name: str, value: Any, config: EventsConfig, notes: Notes) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{type(value).__name__} is no text")
    text = plain(value) if isinstance(value, str) else str(value)
    if text != value:
        notes.add(f"{name} from {'HTML' if isinstance(value, str) else 'a number'}", value)
    if len(text) <= LIMITS[name] or config.unusable == "refuse":
        return text
    notes.add(f"{name} cut to {LIMITS[name]:,} characters", f"{len(text):,} characters")
    return text[: LIMITS[name]]


def identifier(name: str, value: Any, notes: Notes) -> Any:
    """An id; whole numbers become texts.

    Examples
    --------
    >>> [identifier("item_id", value, Notes()) for value in (42, 17850.0, "a1")]
    ['42', '17850', 'a1']
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) and name in {"user_id", "session_id"} else value
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer() and abs(value) < 2**53):
        raise ValueError(f"{value} is no id: send it as a text")
    notes.add(f"{name} from a number", value)
    return str(int(value))


def number(name: str, value: Any, notes: Notes, decimal: Mark | None = None) -> Any:
    """A number, also of a text.

    Raises
    ------
    ValueError
        When it is a text and no number.

    Examples
    --------
    >>> number("price", "9.99", Notes()), number("quantity", "2", Notes()), number("price", "1.299,00", Notes())
    (9.99, 2, 1299.0)
    """
    if isinstance(value, float) and name in {"quantity", "position"} and value.is_integer():
        notes.add(f"{name} from a fraction", value)
        return int(value)
    if not isinstance(value, str):
        return value
    read, _ = _read(value, decimal)
    notes.add(f"{name} from a text", value)
    return int(read) if name in {"quantity", "position"} and read.is_integer() else read


def _read(text: str, decimal: Mark | None) -> tuple[float, str]:
    """The number of a text, and its currency."""
    text = text.strip()
    if len(text) < 400 and _NUMBER.fullmatch(text) and not (decimal == "," and "." in text):
        return float(text), ""
    return amount(text, decimal)


def in_stock(value: Any, notes: Notes) -> bool:
    """Whether an item can be bought: a word of `STOCK`, also as an address of schema.org, or a number of pieces.

    Raises
    ------
    ValueError
        When the word is not known.

    Examples
    --------
    >>> [in_stock(value, Notes()) for value in ("In Stock", "https://schema.org/OutOfStock", "preorder", "0", 12, "-1")]
    [True, False, True, False, True, False]
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        notes.add("in_stock from a number", value)
        return value > 0
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} says nothing of stock")
    word = value.strip().lower()
    if word.startswith(("http://schema.org/", "https://schema.org/")):
        word = word.rpartition("/")[2]
    known = _STOCK.get(word)
    if known is None and _NUMBER.fullmatch(word) and len(word) < 400:
        known = float(word) > 0
    if known is None:
        raise ValueError(f"{value[:50]!r} says nothing of stock: map it with --map-value 'in_stock.{value[:50]}=true'")
    notes.add("in_stock from a word", value)
    return known


def attributes(found: Mapping[Any, Any], notes: Notes) -> dict[str, Attribute | list[Attribute]]:
    """The attributes that can be kept: texts, numbers, booleans, and lists of these; empty ones are left out.

    Examples
    --------
    >>> attributes({"colour": "black &amp; red", "sizes": ["M", None, "L"], "deep": {"a": 1}, "none": None}, Notes())
    {'colour': 'black & red', 'sizes': ['M', 'L'], 'none': None}
    """
    kept: dict[str, Attribute | list[Attribute]] = {}
    for name, value in found.items():
        if isinstance(value, list):
            values = [_attribute(one) for one in value if _is_attribute(one) and one is not None]
            if len(values) < sum(one is not None for one in value):
                notes.add("attributes left out: no text, number or boolean", f"{name}: {value}")
            if values:
                kept[str(name)] = values
        elif _is_attribute(value):
            kept[str(name)] = _attribute(value)
        else:
            notes.add("attributes left out: no text, number or boolean", f"{name}: {value}")
    return kept


def _is_attribute(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return value is None or isinstance(value, str | bool) or (isinstance(value, float) and math.isfinite(value))


def _attribute(value: Any) -> Attribute:
    return plain(value) if isinstance(value, str) else value


def unknown_type(kind: str) -> str:
    """What a refusal says of a type that is none.

    Examples
    --------
    >>> unknown_type("addtocart")
    "Invalid value 'addtocart' - at `$.type`: is it `cart`? In a file: --map-value type.addtocart=cart"
    >>> unknown_type("poke")
    "Invalid value 'poke' - at `$.type`: there are cart, click, forget, ... review, search"
    """
    shown, wanted = repr(kind[:50]), kind.strip().lower().replace(" ", "_")
    ours = wanted if wanted in TYPES else _OURS.get(wanted)
    if ours is None:
        return f"Invalid value {shown} - at `$.type`: there are {', '.join(sorted(TYPES))}"
    return f"Invalid value {shown} - at `$.type`: is it `{ours}`? In a file: --map-value type.{kind[:50]}={ours}"


def tidy(item: Item) -> Item:
    """The item with plain texts; the same one if they are."""
    changed: dict[str, Any] = {}
    for name in TEXTS:
        text: str = getattr(item, name)
        if ("<" in text or "&" in text) and (clean := plain(text)) != text:
            changed[name] = clean
    for value in item.attributes.values():
        if isinstance(value, str) and ("<" in value or "&" in value):
            changed["attributes"] = attributes(item.attributes, Notes())
            break
    return msgspec.structs.replace(item, **changed) if changed else item


def event_of(fields: dict[str, Any]) -> AnyEvent:
    """The event of clean fields.

    Raises
    ------
    msgspec.ValidationError
        When they are none.
    """
    return msgspec.convert(fields, AnyEvent)  # type: ignore[no-any-return]


def item_of(fields: dict[str, Any], config: EventsConfig, notes: Notes) -> Item:
    """The item of clean fields; an optional one that the schema refuses is left out, unless settings say otherwise.

    Raises
    ------
    msgspec.ValidationError
        When they are none.
    """
    fields = dict(fields)
    while True:
        try:
            return msgspec.convert(fields, Item)
        except msgspec.ValidationError as error:
            place = _PLACE.search(str(error))
            if config.unusable == "refuse" or place is None or place[1] in _NEEDED or place[1] not in fields:
                raise
            notes.add(f"{place[1]} left out: {str(error)[: place.start()]}", fields.pop(place[1]))
