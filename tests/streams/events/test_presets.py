"""Each preset on a small sample of its own, made after the public description of its format."""

from pathlib import Path
from typing import Any

import pytest

from streams.config import EventsConfig
from streams.events.adapters.files import read
from streams.events.adapters.gate import Entry, Omission
from streams.events.adapters.mapping import load, presets
from streams.events.adapters.source import Source
from streams.events.cleaning import Notes
from streams.events.decode import Refusal
from streams.events.schema import Event, Impression, Item

SAMPLES = Path(__file__).parent / "samples"
NOW = 1_790_000_000_000
T0 = 1_768_003_200_000

ITEMS: dict[str, dict[str, dict[str, Any]]] = {
    "shopify.csv": {
        "zip-hoodie": {
            "title": "Zip Hoodie", "description": "Warm & soft. Cotton", "price": 41.0, "in_stock": True,
            "category": "Apparel & Accessories > Clothing", "brand": "Acme",
            "attributes": {
                "Size": ["S", "M", "L"], "Color": ["Black", "Red"], "tags": ["winter", "sale"],
                "sku": ["ZH-S", "ZH-M", "ZH-L"],
            },
        },
        "gift-card": {"in_stock": True, "category": "Cards", "attributes": {"sku": "GC"}},
        "mug": {"in_stock": True},
        "sold-out": {"in_stock": False},
    },
    "woocommerce.csv": {
        "11": {
            "title": "Shirt", "description": "Soft 100 % cotton", "category": "Clothing > Tshirts", "price": 20.0,
            "in_stock": True,
            "attributes": {
                "categories": ["Clothing > Tshirts", "Sale"], "tags": ["summer", "men"],
                "sku": ["shirt", "shirt-s", "shirt-m"], "Size": ["S", "M"], "regular_price": [18.0, 20.0],
            },
        },
        "12": {"price": 1134.5, "attributes": {"categories": ["Kitchen"], "regular_price": 1234.5, "sku": "mug"}},
        "17": {"in_stock": False},
        "18": {"in_stock": True},
    },
    "google-merchant.xml": {
        "A1": {
            "title": "Red & black lamp", "description": "Bright light", "category": "Home > Lamps", "price": 9.99,
            "currency": "EUR", "in_stock": True, "group_id": "LAMP",
            "attributes": {"colour": "red", "regular_price": 12.5},
        },
        "A2": {"title": "Desk oak", "price": 199.0, "in_stock": False},
    },
    "google-merchant-atom.xml": {"A1": {"description": "Bright", "price": 12.5, "currency": "USD", "in_stock": True}},
    "google-merchant.tsv": {
        "A1": {"title": 'Lamp "XL"', "category": "Home > Lamps", "group_id": "LAMP", "price": 12.5},
        "A2": {"price": 99.0, "in_stock": False, "attributes": {"regular_price": 199.0}},
    },
    "magento.csv": {
        "24-MB01": {
            "description": "Bag Strong.", "category": "Default Category > Gear > Bags", "price": 29.0,
            "attributes": {
                "categories": ["Default Category > Gear > Bags", "Default Category > Sale"], "regular_price": 34.0,
                "type": "simple",
            },
        },
        "OUT": {"in_stock": False, "price": 20.0},
    },
    "prestashop.csv": {
        "1": {"title": "Mug", "description": "A mug", "category": "Home", "brand": "Acme", "price": 11.9},
        "3": {"price": 1290.0, "in_stock": False},
    },
    "ec-cube.csv": {
        "1": {
            "title": "チェリーアイスサンド", "description": "甘い アイス", "category": "アイスサンド", "price": 2900.0,
            "currency": "JPY", "in_stock": True, "attributes": {"regular_price": 3000.0, "variant": ["チョコ", "抹茶"]},
        },
        "3": {"in_stock": False},
    },
    "shopware.csv": {
        "SW1": {
            "title": "Shirt", "description": "Soft", "category": "Clothing", "price": 13.9, "in_stock": True,
            "attributes": {"categories": ["Clothing", "Sale"], "options": ["S", "M"]},
        },
    },
    "json-ld.json": {
        "A1": {
            "title": "Lamp", "category": "Home > Lamps", "brand": "Acme", "price": 12.5, "currency": "EUR",
            "in_stock": True, "group_id": "LAMP",
        },
        "A2": {"brand": "Acme", "price": 199.0, "currency": "EUR", "in_stock": False},
    },
}  # fmt: skip
"""Of each sample, the items that it has, and what they are like."""

EVENTS: dict[str, list[dict[str, Any]]] = {
    "ga4.jsonl": [
        {"kind": "impression", "ts": T0 + 123, "session_id": "99.17", "shown": [("A1", 0), ("A2", 1)]},
        {"kind": "click", "item_id": "A2", "user_id": None},
        {"kind": "read", "item_id": "A2", "user_id": "u7"},
        {"kind": "cart", "item_id": "A2", "quantity": 2, "price": 199.0},
        {"kind": "purchase", "item_id": "A1", "quantity": 1, "price": 12.5},
        {"kind": "purchase", "item_id": "A2", "quantity": 2, "price": 199.0},
        {"kind": "search", "query": "desk lamp"},
    ],
    "segment.jsonl": [
        {"kind": "impression", "event_id": "m1", "session_id": "an1", "shown": [("A1", 0), ("A2", 1)]},
        {"kind": "click", "item_id": "A1"},
        {"kind": "read", "item_id": "A1"},
        {"kind": "cart", "item_id": "A1", "quantity": 2, "user_id": "u1"},
        {"kind": "purchase", "event_id": "m5", "item_id": "A1", "ts": T0 + 4_000},
        {"kind": "purchase", "event_id": "m5-1", "item_id": "A2", "price": 199.0},
        {"kind": "search", "query": "desk lamp"},
    ],
    "snowplow.jsonl": [
        {"kind": "impression", "ts": T0, "session_id": "d1", "shown": [("A1", 0), ("A2", 1)]},
        {"kind": "read", "item_id": "A1"},
        {"kind": "purchase", "event_id": "s3", "item_id": "A1"},
        {"kind": "purchase", "event_id": "s3-1", "item_id": "A2"},
        {"kind": "search", "query": "desk lamp"},
    ],
    "matomo.json": [
        {"kind": "search", "query": "desk lamp", "ts": T0, "session_id": "abc123"},
        {"kind": "read", "item_id": "A1", "ts": T0 + 1_000},
        {"kind": "purchase", "item_id": "A1", "quantity": 1, "price": 12.5},
        {"kind": "purchase", "item_id": "A2", "quantity": 2, "price": 199.0, "ts": T0 + 3_000},
    ],
    "retailrocket.csv": [
        {"kind": "click", "session_id": "257597", "item_id": "355908", "ts": 1_433_221_332_117},
        {"kind": "cart", "session_id": "0", "item_id": "248676"},
        {"kind": "purchase", "session_id": "111016"},
    ],
    "otto.jsonl": [
        {"kind": "click", "session_id": "0", "item_id": "1517085", "ts": 1_659_304_800_025},
        {"kind": "cart", "item_id": "1563459"},
        {"kind": "purchase", "item_id": "1563459"},
        {"kind": "click", "session_id": "1", "ts": 1_659_304_800_000},
    ],
    "amazon-reviews.jsonl": [
        {"kind": "review", "user_id": "AGKH", "item_id": "B00YQ6X8EO", "rating": 5.0, "ts": 1_588_687_728_923},
        {"kind": "review", "user_id": "A2SU", "rating": 4.0, "text": "Nice.", "ts": 1_393_545_600_000},
    ],
}
"""Of each sample, all of its events in their order, and what they are like."""

LEFT_OUT = {
    "shopify.csv": ["pictures", "not_active"],
    "woocommerce.csv": ["hidden", "not_published"],
    "magento.csv": ["store_view", "not_visible", "disabled"],
    "prestashop.csv": ["not_active"],
    "ec-cube.csv": ["not_public"],
    "shopware.csv": ["not_active"],
    "json-ld.json": ["no_product"],
    "ga4.jsonl": ["no rule for page_view"],
    "segment.jsonl": ["no rule for Cart Viewed", "no rule for others"],
    "snowplow.jsonl": ["no rule for page_ping"],
    "matomo.json": ["no rule for others"],
}


def entries(sample: str, notes: Notes | None = None) -> list[Entry]:
    mapping = load(sample.partition(".")[0].removesuffix("-atom"))
    assert mapping.kind is not None
    with Source(SAMPLES / sample) as source:
        return list(read(source, mapping.kind, mapping, NOW, EventsConfig(), notes))


def test_every_sample_has_its_expectations_and_every_preset_of_a_system_its_sample() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == {*ITEMS, *EVENTS}
    of_data_sets = {"icecat", "retrotech", "retrotech_sessions", "online_retail", "online_retail_items", "ubi"}
    assert {name.partition(".")[0].removesuffix("-atom") for name in (*ITEMS, *EVENTS)} == set(presets()) - of_data_sets


@pytest.mark.parametrize("sample", ITEMS)
def test_items_of_a_sample(sample: str) -> None:
    found = {entry.outcome.item_id: entry.outcome for entry in entries(sample) if isinstance(entry.outcome, Item)}
    like = {
        item_id: {name: getattr(found[item_id], name) for name in fields} for item_id, fields in ITEMS[sample].items()
    }
    assert like == ITEMS[sample]
    assert found.keys() == ITEMS[sample].keys()


@pytest.mark.parametrize("sample", EVENTS)
def test_events_of_a_sample(sample: str) -> None:
    events = [entry.outcome for entry in entries(sample) if isinstance(entry.outcome, Event)]
    assert len(events) == len(EVENTS[sample])
    for event, fields in zip(events, EVENTS[sample], strict=True):
        like: dict[str, Any] = {name: getattr(event, name) for name in fields if name != "shown"}
        if isinstance(event, Impression):
            like["shown"] = [(one.item_id, one.position) for one in event.items]
        assert like == fields


@pytest.mark.parametrize("sample", [*ITEMS, *EVENTS])
def test_what_a_sample_leaves_out_is_told_and_nothing_is_refused(sample: str) -> None:
    found = entries(sample)
    left = [entry.outcome.reason for entry in found if isinstance(entry.outcome, Omission)]
    assert left == LEFT_OUT.get(sample, [])
    assert not [
        entry for entry in found if isinstance(entry.outcome, Refusal) and not isinstance(entry.outcome, Omission)
    ]


def test_a_group_id_that_is_a_category_is_left_out_and_said(tmp_path: Path) -> None:
    rows = "".join(f"{n}\tLamp {n}\tin stock\tLamps\n" for n in range(150))
    (tmp_path / "feed.tsv").write_text(f"id\ttitle\tavailability\titem_group_id\n{rows}")
    notes = Notes()
    with Source(tmp_path / "feed.tsv") as source:
        found = [entry.outcome for entry in read(source, "items", load("google-merchant"), NOW, EventsConfig(), notes)]
    assert {item.group_id for item in found if isinstance(item, Item)} == {None}
    assert "'Lamps' has 150" in notes.facts["group_id"]
