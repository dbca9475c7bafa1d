"""The bad-input table of docs/events.md, row by row, and the promise behind it: decoding never raises."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.config import EventsConfig
from streams.events.cleaning import Notes
from streams.events.decode import MAX_DETAIL, Deleted, Refusal, decode_event, decode_item, refuse
from streams.events.moments import UNIT_NAMES
from streams.events.schema import EVENT_TYPES, Click, Event, Item, encoder

NOW = 1_750_000_000_000
CONFIG, STRICT = EventsConfig(), EventsConfig(strict=True)
GOOD: dict[str, Any] = {"type": "click", "event_id": "e1", "ts": NOW, "user_id": "u1", "item_id": "a1"}
SEARCH: dict[str, Any] = {"type": "search", "event_id": "e1", "ts": NOW, "user_id": "u1", "query": "tv"}
PROFILE: dict[str, Any] = {"type": "profile", "event_id": "e1", "ts": NOW, "user_id": "u1", "attributes": {"x": 1}}
IMPRESSION: dict[str, Any] = GOOD | {
    "type": "impression",
    "shelf_id": "s",
    "surface": "feed",
    "items": [{"item_id": "a", "position": 0}],
}
ITEM: dict[str, Any] = {"item_id": "a1", "title": "Lamp"}


def raw(fields: Any) -> bytes:
    return json.dumps(fields).encode()


def without(name: str, fields: dict[str, Any] = GOOD) -> bytes:
    return raw({key: value for key, value in fields.items() if key != name})


NESTED = b"[" * 20_000 + b"]" * 20_000

BAD_EVENTS: dict[str, tuple[bytes | None, str, str]] = {
    "null value": (None, "empty", "no value"),
    "no bytes": (b"", "malformed", "truncated"),
    "blank": (b"  \n", "malformed", "truncated"),
    "cut off": (raw(GOOD)[:-7], "malformed", "truncated"),
    "text, no JSON": (b"hello", "malformed", "invalid character"),
    "XML": (b"<event/>", "malformed", "invalid character"),
    "two objects": (raw(GOOD) * 2, "malformed", "trailing"),
    "single quotes": (str(GOOD).encode(), "malformed", "must be strings"),
    "byte-order mark": (b"\xef\xbb\xbf" + raw(GOOD), "malformed", "byte 0"),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "malformed", "byte 0"),
    "Latin-1 in a field": (raw(GOOD).replace(b"a1", b"caf\xe9"), "malformed", "utf-8"),
    "lone surrogate": (raw(GOOD | {"item_id": "\ud800 and on"}), "malformed", "surrogate"),
    "NaN": (raw(GOOD | {"price": float("nan")}), "malformed", "invalid character"),
    "infinity": (raw(GOOD | {"price": float("inf")}), "malformed", "invalid character"),
    "number beyond floats": (raw(GOOD)[:-1] + b', "price": 1e999}', "invalid", "out of range"),
    "nested deeply, in an unknown field": (raw(GOOD)[:-1] + b', "x": ' + NESTED + b"}", "malformed", "Recursion"),
    "nested deeply, in filters": (raw(SEARCH)[:-1] + b', "filters": {"a": ' + NESTED + b"}}", "malformed", "Recursion"),
    "an array": (raw([GOOD]), "invalid", "`object`"),
    "a string": (raw("click"), "invalid", "`object`"),
    "null": (b"null", "invalid", "`object`"),
    "a number": (b"7", "invalid", "`object`"),
    "no type": (without("type"), "invalid", "`type`"),
    "unknown type": (raw(GOOD | {"type": "poke"}), "invalid", "'poke'"),
    "type in capitals": (raw(GOOD | {"type": "Click"}), "invalid", "'Click'"),
    "type is no text": (raw(GOOD | {"type": 3}), "invalid", "$.type"),
    "type with the whole war and peace": (raw(GOOD | {"type": "x" * 60_000}), "invalid", "xxx"),
    "no event_id": (without("event_id"), "invalid", "`event_id`"),
    "no item_id": (without("item_id"), "invalid", "`item_id`"),
    "no ts": (without("ts"), "invalid", "`ts`"),
    "no query": (without("query", SEARCH), "invalid", "`query`"),
    "no shelf_id in an impression": (without("shelf_id", IMPRESSION), "invalid", "`shelf_id`"),
    "no shopper": (without("user_id"), "invalid", "user_id or session_id"),
    "shopper null": (raw(GOOD | {"user_id": None}), "invalid", "user_id or session_id"),
    "id is a number": (raw(GOOD | {"item_id": 17}), "invalid", "$.item_id"),
    "id empty": (raw(GOOD | {"item_id": ""}), "invalid", "$.item_id"),
    "id too long": (raw(GOOD | {"item_id": "x" * 257}), "invalid", "$.item_id"),
    "id with a NUL": (raw(GOOD | {"user_id": "u\x00"}), "invalid", "$.user_id"),
    "id ending in a line feed": (raw(GOOD | {"event_id": "e1\n"}), "invalid", "$.event_id"),
    "query blank": (raw(SEARCH | {"query": " \t"}), "invalid", "$.query"),
    "query blank, and no filters in filters": (raw(SEARCH | {"query": "", "filters": {}}), "invalid", "$.query"),
    "query too long": (raw(SEARCH | {"query": "x" * 513}), "invalid", "$.query"),
    "query too long once spelled out": (raw(SEARCH | {"query": "\ufdfa" * 30}), "invalid", "$.query"),
    "filters no object": (raw(SEARCH | {"filters": ["a"]}), "invalid", "$.filters"),
    "impression of nothing": (raw(IMPRESSION | {"items": []}), "invalid", "$.items"),
    "impression of too much": (raw(IMPRESSION | {"items": IMPRESSION["items"] * 201}), "invalid", "$.items"),
    "impression without a position": (raw(IMPRESSION | {"items": [{"item_id": "a"}]}), "invalid", "$.items[0]"),
    "position negative": (raw(GOOD | {"position": -1}), "invalid", "$.position"),
    "position beyond reason": (raw(GOOD | {"position": 10**30}), "invalid", "$.position"),
    "quantity zero": (raw(GOOD | {"quantity": 0}), "invalid", "$.quantity"),
    "quantity beyond reason": (raw(GOOD | {"quantity": 10**30}), "invalid", "$.quantity"),
    "quantity a fraction": (raw(GOOD | {"quantity": 1.5}), "invalid", "$.quantity"),
    "price negative": (raw(GOOD | {"price": -0.01}), "invalid", "$.price"),
    "price beyond reason": (raw(GOOD | {"price": 1e200}), "invalid", "$.price"),
    "price a little beyond reason": (raw(GOOD | {"price": 1_000_000_000_001}), "invalid", "$.price"),
    "price as text": (raw(GOOD | {"price": "9.99"}), "invalid", "$.price"),
    "rating above 5": (raw(GOOD | {"type": "review", "rating": 6}), "invalid", "$.rating"),
    "profile of nothing": (raw(PROFILE | {"attributes": {}}), "invalid", "$.attributes"),
    "profile of too much": (raw(PROFILE | {"attributes": {str(n): n for n in range(33)}}), "invalid", "$.attributes"),
    "profile not flat": (raw(PROFILE | {"attributes": {"likes": ["tv"]}}), "invalid", "$.attributes"),
    "profile with a long text": (raw(PROFILE | {"attributes": {"x": "x" * 257}}), "invalid", "$.attributes"),
    "profile beyond reason": (raw(PROFILE | {"attributes": {"x": 10**30}}), "invalid", "$.attributes"),
    "segment a number": (raw(PROFILE | {"attributes": {"segment": 3}}), "invalid", "segment is a text"),
    "forget nobody": (raw({"type": "forget", "event_id": "e", "ts": NOW}), "invalid", "user_id or session_id"),
    "ts without a zone": (raw(GOOD | {"ts": "2025-06-15T12:00:00"}), "invalid", "timezone"),
    "ts no time": (raw(GOOD | {"ts": "yesterday"}), "invalid", "$.ts"),
    "ts on no calendar": (raw(GOOD | {"ts": "2025-02-30T12:00:00Z"}), "invalid", "$.ts"),
    "ts a fraction": (raw(GOOD | {"ts": 1_750_000_000.5}), "invalid", "$.ts"),
    "ts negative": (raw(GOOD | {"ts": -1}), "invalid", "$.ts"),
    "ts before 1970": (raw(GOOD | {"ts": "1969-12-31T23:59:59Z"}), "invalid", "1995-01-01"),
    "ts at the beginning of time": (raw(GOOD | {"ts": "0001-01-01T00:00:00+23:59"}), "invalid", "1995-01-01"),
    "ts zero": (raw(GOOD | {"ts": 0}), "invalid", "1995-01-01"),
    "ts in seconds": (raw(GOOD | {"ts": NOW // 1000}), "invalid", "looks like seconds"),
    "ts in microseconds": (raw(GOOD | {"ts": NOW * 1000}), "invalid", "$.ts"),
    "future": (raw(GOOD | {"ts": NOW + 300_001}), "future", "300 s"),
    "future, at the end of time": (raw(GOOD | {"ts": "9999-12-31T23:59:59-23:59"}), "future", "300 s"),
    "oversized": (raw(GOOD | {"note": "x" * 65_536}), "oversized", "65536"),
}

CONVERTED_EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "id is a number": ({"item_id": 17}, {"item_id": "17"}),
    "shopper a number": ({"user_id": 17850.0}, {"user_id": "17850"}),
    "shopper empty, with a session": ({"user_id": "", "session_id": "s"}, {"user_id": None, "session_id": "s"}),
    "shopper null, with a session": ({"user_id": None, "session_id": 7}, {"user_id": None, "session_id": "7"}),
    "price as text": ({"price": "9.99"}, {"price": 9.99}),
    "price with a currency": ({"price": "1.234,50 €"}, {"price": 1234.5}),
    "quantity as text": ({"quantity": "2"}, {"quantity": 2}),
    "quantity with a point": ({"quantity": 2.0}, {"quantity": 2}),
    "optional field empty": ({"shelf_id": "", "position": None}, {"shelf_id": None, "position": None}),
    "ts a fraction": ({"ts": NOW + 0.5}, {"ts": NOW}),
    "ts as text": ({"ts": str(NOW)}, {"ts": NOW}),
    "ts with a short offset": ({"ts": "2025-06-15 16:06:40+01"}, {"ts": NOW}),
    "ts of BigQuery": ({"ts": "2025-06-15 15:06:40 UTC"}, {"ts": NOW}),
    "guest null": ({"user_id": "null", "session_id": "s"}, {"user_id": None}),
    "guest undefined": ({"user_id": "undefined", "session_id": "s"}, {"user_id": None}),
    "guest NaN": ({"user_id": "NaN", "session_id": "s"}, {"user_id": None}),
    "guest 0": ({"user_id": "0", "session_id": "0"}, {"user_id": None, "session_id": "0"}),
    "guest true": ({"user_id": True, "session_id": "s"}, {"user_id": None}),
}
"""Fields of another form, and what they become; ``events.strict`` refuses them."""

ACCEPTED_EVENTS: dict[str, bytes] = {
    "as it should be": raw(GOOD),
    "session alone": raw({"session_id": "s1"} | {key: value for key, value in GOOD.items() if key != "user_id"}),
    "unknown field": raw(GOOD | {"colour": {"deep": [1, 2]}}),
    "unknown field, no UTF-8": raw(GOOD)[:-1] + b', "note": "caf\xe9"}',
    "unknown item": raw(GOOD | {"item_id": "nobody sells this"}),
    "late, by years": raw(GOOD | {"ts": 946_684_800_000}),
    "clock a little fast": raw(GOOD | {"ts": NOW + 300_000}),
    "ts with an offset": raw(GOOD | {"ts": "2025-06-15T16:06:40.000+01:00"}),
    "a field twice, the last counts": raw(GOOD)[:-1] + b', "item_id": "a1"}',
    "ids in any script": raw(GOOD | {"user_id": "用户:{1}", "item_id": "é 😀"}),
    "the dearest there is": raw(GOOD | {"type": "click", "price": 1e12, "quantity": 10**9}),
    "exactly as large as allowed": raw(GOOD | {"note": "x" * (65_536 - len(raw(GOOD | {"note": ""})))}),
}

BAD_ITEMS: dict[str, tuple[bytes | None, bytes | None, str, str]] = {
    "no title": (b"a1", raw({"item_id": "a1"}), "invalid", "`title`"),
    "empty title": (b"a1", raw(ITEM | {"title": ""}), "invalid", "$.title"),
    "no item_id": (b"a1", raw({"title": "Lamp"}), "invalid", "`item_id`"),
    "price negative": (b"a1", raw(ITEM | {"price": -1}), "invalid", "$.price"),
    "price beyond reason": (b"a1", raw(ITEM | {"price": 1e13}), "invalid", "$.price"),
    "bid beyond reason": (b"a1", raw(ITEM | {"sponsored": {"bid": 1e13, "budget": 1}}), "invalid", "$.sponsored.bid"),
    "budget beyond reason": (b"a1", raw(ITEM | {"sponsored": {"bid": 1, "budget": 1e300}}), "invalid", "budget"),
    "attribute a list in a list": (b"a1", raw(ITEM | {"attributes": {"a": [[1]]}}), "invalid", "$.attributes"),
    "description too long": (b"a1", raw(ITEM | {"description": "x" * 20_001}), "invalid", "$.description"),
    "malformed": (b"a1", b"{", "malformed", "truncated"),
    "oversized": (b"a1", raw(ITEM | {"note": "x" * 65_536}), "oversized", "65536"),
    "no key": (None, raw(ITEM), "key", "key"),
    "another item's key": (b"b2", raw(ITEM), "key", "'b2'"),
    "key as JSON text": (b'"a1"', raw(ITEM), "key", "a1"),
    "key no UTF-8": (b"\xff", raw(ITEM), "key", "utf-8"),
    "delete without a key": (None, None, "key", "key"),
    "delete with an empty key": (b"", None, "key", "length"),
    "delete with a key that is no id": (b"a1\n", None, "key", "regex"),
}


@pytest.mark.parametrize(("value", "reason", "says"), BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_bad_event_is_refused_with_the_reason(value: bytes | None, reason: str, says: str) -> None:
    refusal = decode_event(value, NOW, STRICT)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says.lower() in refusal.detail.lower()
    assert len(refusal.detail) <= MAX_DETAIL


@pytest.mark.parametrize("name", sorted(BAD_EVENTS.keys() - {"id is a number", "price as text"}))
def test_what_cannot_be_converted_is_refused_for_the_same_reason(name: str) -> None:
    value, reason, _ = BAD_EVENTS[name]
    refusal = decode_event(value, NOW, CONFIG)
    assert isinstance(refusal, Refusal) and refusal.reason == reason and len(refusal.detail) <= MAX_DETAIL


@pytest.mark.parametrize(("given_", "becomes"), CONVERTED_EVENTS.values(), ids=CONVERTED_EVENTS)
def test_a_value_of_another_form_is_converted_and_noted(given_: dict[str, Any], becomes: dict[str, Any]) -> None:
    notes = Notes()
    event = decode_event(raw(GOOD | given_), NOW, CONFIG, notes)
    assert isinstance(event, Click)
    assert {name: getattr(event, name) for name in becomes} == becomes
    assert notes.counts or "" in given_.values() or None in given_.values() or "ts" in given_
    plain = {"user_id", "session_id"} >= given_.keys() and all(isinstance(value, str) for value in given_.values())
    assert isinstance(decode_event(raw(GOOD | given_), NOW, STRICT), Click) == (plain and "" not in given_.values())


def test_guests_are_refused_or_kept_as_settings_say() -> None:
    guest = raw(GOOD | {"user_id": "undefined"})
    for value, config in [(guest, CONFIG), (guest, EventsConfig(guests="refuse"))]:
        refusal = decode_event(value, NOW, config)
        assert isinstance(refusal, Refusal) and refusal.reason == "guest" and "session_id" in refusal.detail
    refusal = decode_event(raw(GOOD | {"user_id": "null", "session_id": "s"}), NOW, EventsConfig(guests="refuse"))
    assert isinstance(refusal, Refusal)
    assert isinstance(decode_event(guest, NOW, EventsConfig(guests="keep")), Click)
    assert isinstance(decode_event(guest, NOW, EventsConfig(guest_ids=("anonymous",))), Click)


@pytest.mark.parametrize(
    ("ts", "unit"), [(NOW // 1000, "s"), (NOW * 1000, "us"), (NOW * 1_000_000, "ns"), (NOW / 1000, "s")]
)
def test_a_time_in_another_unit_is_told_or_taken_by_a_setting(ts: float, unit: Any) -> None:
    refusal = decode_event(raw(GOOD | {"ts": ts}), NOW, CONFIG)
    assert isinstance(refusal, Refusal) and refusal.reason == "invalid"
    assert f"looks like {UNIT_NAMES[unit]}" in refusal.detail and "events.epoch_unit" in refusal.detail
    for config in (EventsConfig(epoch_unit=unit), EventsConfig(epoch_unit="auto")):
        event = decode_event(raw(GOOD | {"ts": ts}), NOW, config)
        assert isinstance(event, Click) and event.time_ms == NOW


def test_a_time_without_a_zone_is_told_or_taken_by_a_setting() -> None:
    value = raw(GOOD | {"ts": "2025-06-15T17:06:40"})
    refusal = decode_event(value, NOW, CONFIG)
    assert isinstance(refusal, Refusal) and "events.timezone" in refusal.detail
    event = decode_event(value, NOW, EventsConfig(timezone="Europe/Berlin"))
    assert isinstance(event, Click) and event.time_ms == NOW


def test_the_plausible_range_is_a_setting() -> None:
    value = raw(GOOD | {"ts": 5})
    assert isinstance(decode_event(value, NOW, CONFIG), Refusal)
    assert isinstance(decode_event(value, NOW, EventsConfig(earliest=date(1970, 1, 1))), Click)


@pytest.mark.parametrize("theirs", ["view", "addtocart", "transaction", "carts", "orders", "Click", "Order Completed"])
def test_a_type_by_another_name_is_refused_with_ours(theirs: str) -> None:
    refusal = decode_event(raw(GOOD | {"type": theirs}), NOW, CONFIG)
    assert isinstance(refusal, Refusal)
    assert f"--map-value type.{theirs}=" in refusal.detail


CONVERTED_ITEMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "id a number": ({"item_id": 1, "group_id": 7}, {"item_id": "1", "group_id": "7"}),
    "all null": (
        dict.fromkeys(["description", "category", "brand", "currency", "attributes", "in_stock", "price", "group_id"]),
        {"brand": "", "description": "", "category": "", "currency": "", "attributes": {}, "in_stock": True},
    ),
    "price as text": ({"price": "12,50 EUR"}, {"price": 12.5, "currency": "EUR"}),
    "price in powers of ten": ({"price": "1e3"}, {"price": 1000.0, "currency": ""}),
    "price and its currency": ({"price": "5 EUR", "currency": "USD"}, {"price": 5.0, "currency": "USD"}),
    "no price": ({"price": "ask us"}, {"price": None}),
    "price negative": ({"price": -1}, {"price": None}),
    "title too long": ({"title": "x" * 2_001}, {"title": "x" * 2_000}),
    "description too long": ({"description": "x" * 20_001}, {"description": "x" * 20_000}),
    "bid beyond reason": ({"sponsored": {"bid": 1e13, "budget": 1}}, {"sponsored": None}),
    "attributes nested": ({"attributes": {"a": [[1]], "b": 2, "c": {"d": 1}}}, {"attributes": {"b": 2}}),
    "stock a word": ({"in_stock": "out_of_stock"}, {"in_stock": False}),
    "stock a number": ({"in_stock": 0}, {"in_stock": False}),
    "title a number": ({"title": 4711}, {"title": "4711"}),
    "HTML": (
        {"title": "Tea &amp; more", "description": "<p>Gold.</p><ul><li>A<li>B</ul>", "brand": "M&amp;S"},
        {"title": "Tea & more", "description": "Gold. A B", "brand": "M&S"},
    ),
    "HTML that is too long": ({"description": "<b></b>" * 4_000 + "end"}, {"description": "end"}),
}


@pytest.mark.parametrize(("given_", "becomes"), CONVERTED_ITEMS.values(), ids=CONVERTED_ITEMS)
def test_an_item_of_another_form_is_converted_and_noted(given_: dict[str, Any], becomes: dict[str, Any]) -> None:
    notes = Notes()
    item_id = str(given_.get("item_id", "a1")).encode()
    item = decode_item(item_id, raw(ITEM | given_), CONFIG, notes)
    assert isinstance(item, Item)
    assert {name: getattr(item, name) for name in becomes} == becomes
    assert notes.counts or None in given_.values()


@pytest.mark.parametrize(
    "words",
    [("in stock", "instock", "In_Stock", "available", "YES", "preorder", "https://schema.org/InStock", "1"),
     ("out of stock", "OutOfStock", "out_of_stock", "sold out", "no", "http://schema.org/SoldOut", "0")],
)  # fmt: skip
def test_words_of_stock(words: tuple[str, ...]) -> None:
    expected = words[0] == "in stock"
    items = [decode_item(b"a1", raw(ITEM | {"in_stock": word}), CONFIG) for word in words]
    assert [item.in_stock for item in items if isinstance(item, Item)] == [expected] * len(words)


def test_an_unusable_field_refuses_the_item_where_a_setting_says_so() -> None:
    config = EventsConfig(unusable="refuse")
    for fields in ({"price": "ask us"}, {"price": -1}, {"title": "x" * 2_001}, {"in_stock": "perhaps"}):
        refusal = decode_item(b"a1", raw(ITEM | fields), config)
        assert isinstance(refusal, Refusal) and f"$.{next(iter(fields))}" in refusal.detail


def test_an_item_whose_title_is_only_markup_is_refused() -> None:
    refusal = decode_item(b"a1", raw(ITEM | {"title": "<br><br>"}), CONFIG)
    assert isinstance(refusal, Refusal) and "$.title" in refusal.detail


@pytest.mark.parametrize("value", ACCEPTED_EVENTS.values(), ids=ACCEPTED_EVENTS)
def test_odd_but_valid_event_is_accepted(value: bytes) -> None:
    assert isinstance(decode_event(value, NOW, CONFIG), Click)


@pytest.mark.parametrize(("key", "value", "reason", "says"), BAD_ITEMS.values(), ids=BAD_ITEMS)
def test_bad_item_is_refused_with_the_reason(key: bytes | None, value: bytes | None, reason: str, says: str) -> None:
    refusal = decode_item(key, value, STRICT)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says.lower() in refusal.detail.lower()


def test_every_example_in_the_documents_is_valid() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "events.md").read_text("utf-8").splitlines()
    examples = [line.encode() for line in lines if line.startswith("{")]
    events = [decode_event(line, 2_000_000_000_000, CONFIG) for line in examples if b'"type"' in line]
    assert {type(event) for event in events} == set(EVENT_TYPES)
    items = [decode_item(b"1234", line, CONFIG) for line in examples if b'"type"' not in line]
    assert [type(item) for item in items] == [Item]


def test_null_value_deletes_an_item_known_or_not() -> None:
    assert decode_item("é 😀".encode(), None, CONFIG) == Deleted("é 😀")


def test_limits_follow_the_settings() -> None:
    strict = EventsConfig(max_bytes=50, max_future_s=1)
    refusal = decode_event(raw(GOOD), NOW, strict)
    assert isinstance(refusal, Refusal) and refusal.reason == "oversized"
    refusal = decode_event(raw(GOOD | {"ts": NOW + 1_001}), NOW, EventsConfig(max_future_s=1))
    assert isinstance(refusal, Refusal) and refusal.reason == "future"


def test_every_type_survives_a_round_trip() -> None:
    more = {
        "attributes": {"segment": "gold", "born": 1980},
        "query": "tv",
        "rating": 4,
        "shelf_id": "s",
        "surface": "feed",
        "items": IMPRESSION["items"],
    }
    for kind in EVENT_TYPES:
        event = decode_event(raw(GOOD | more | {"type": kind.__struct_config__.tag}), NOW, CONFIG)
        assert type(event) is kind
        assert decode_event(encoder.encode(event), NOW, CONFIG) == event


@settings(deadline=None)
@given(st.one_of(st.none(), st.binary(max_size=300)))
def test_decoding_is_total_on_any_bytes(value: bytes | None) -> None:
    assert isinstance(decode_event(value, NOW, CONFIG), Refusal)
    assert isinstance(decode_item(value, value, CONFIG), Refusal | Deleted)


@settings(deadline=None)
@given(st.data())
def test_decoding_is_total_on_damaged_events(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([raw(GOOD), raw(SEARCH), raw(IMPRESSION), raw(ITEM)]))
    at = data.draw(st.integers(0, len(good)))
    damaged = good[:at] + data.draw(st.binary(max_size=8)) + good[at + data.draw(st.integers(0, 8)) :]
    for outcome in (decode_event(damaged, NOW, CONFIG), decode_item(b"a1", damaged, CONFIG)):
        assert isinstance(outcome, Event | Item | Refusal)
        if isinstance(outcome, Refusal):
            assert outcome.reason in {"malformed", "invalid", "future", "oversized", "key"}
            outcome.detail.encode()


@settings(deadline=None)
@given(st.text(st.characters(), max_size=2_000))
def test_detail_is_bounded_and_encodes(detail: str) -> None:
    refusal = refuse("invalid", detail + "\udc80")
    assert len(refusal.detail) <= MAX_DETAIL
    refusal.detail.encode()
