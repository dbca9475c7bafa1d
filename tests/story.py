"""What happens in a shop, good and bad, for tests of faults: told once without any, then again with some."""

import json
import lzma
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.redis import keys
from tests.shop import Sent, Shop, until

EVENTS = 600

BAD: dict[bytes | None, str] = {
    None: "empty",
    b"{": "malformed",
    b"\xff\xfe\x00": "malformed",
    b'{"a":' * 10_000: "malformed",
    b'{"type":"poke"}': "invalid",
    b'{"type":"click","event_id":"x","ts":1,"user_id":"u"}': "invalid",
    b'{"type":"read","event_id":"x","ts":1,"item_id":"i"}': "invalid",
    b'{"type":"read","event_id":"x","ts":1,"user_id":"a\\u0000b","item_id":"i"}': "invalid",
    b'{"type":"read","event_id":"f","ts":99999999999999,"user_id":"u","item_id":"i"}': "future",
    b'"' + b"x" * 70_000 + b'"': "oversized",
}
"""Values that are no event, and what they are refused for."""


@dataclass(frozen=True)
class Story:
    """What happened in a shop: items, valid events, and the records in the order they are produced."""

    items: dict[str, bytes]
    events: list[dict[str, Any]]
    records: list[tuple[str, bytes | None]]


def made() -> Story:
    """`EVENTS` mixed events, 10 % of them again, and 100 bad records among them, in no order at all."""
    rng = random.Random(5)
    titles = icecat() or made_up(rng)
    ids = list(titles)
    now = int(time.time() * 1000)
    kinds = rng.choices(
        ["search", "impression", "click", "read", "cart", "purchase", "review"], [6, 2, 6, 3, 1, 1, 1], k=EVENTS
    )
    events = []
    for n, kind in enumerate(kinds):
        item_id = rng.choice(ids)
        words = titles[item_id].split()[:3]
        shopper = {"session_id" if rng.random() < 0.1 else "user_id": f"u{rng.randrange(60)}"}
        event = {"type": kind, "event_id": f"e{n}", "ts": now - 600_000 + n * 250} | shopper
        event |= {
            "search": {"query": rng.choice([" ", "  "]).join(words)[:100]},
            "impression": {"shelf_id": "s", "surface": "feed", "items": [{"item_id": item_id, "position": 0}]},
            "review": {"item_id": item_id, "rating": 4},
        }.get(kind, {"item_id": item_id})
        events.append(event)
    stream: list[tuple[str, bytes | None]] = [(shopper_of(event), json.dumps(event).encode()) for event in events]
    stream += rng.sample(stream, EVENTS // 10)
    stream += [(f"u{n}", value) for n, value in enumerate(list(BAD) * 10)]
    rng.shuffle(stream)
    items = {item_id: json.dumps({"item_id": item_id, "title": title}).encode() for item_id, title in titles.items()}
    return Story(items, events, stream)


def made_up(rng: random.Random, count: int = 80) -> dict[str, str]:
    """Titles for where there is no real catalogue."""
    colours, kinds = ("red", "blue", "black"), ("usb cable", "hdmi cable", "usb hub", "wall charger")
    return {f"i{n}": f"{rng.choice(colours)} {rng.choice(kinds)} {n}" for n in range(count)}


def icecat(count: int = 200) -> dict[str, str]:
    """Titles of the first real products, where the data is there."""
    default = Path(__file__).parents[2] / "shared" / "data"
    file = Path(os.environ.get("LIVESHELF_DATA", default)) / "icecat_electronics" / "products.jsonl.xz"
    if not file.is_file():
        return {}
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        products = [json.loads(next(lines)) for _ in range(count)]
    return {product["id"]: product["title"][:500] for product in products}


def shopper_of(event: dict[str, Any]) -> str:
    return str(event.get("user_id") or event["session_id"])


def assert_shelves(shop: Shop, story: Story) -> None:
    """Every valid shopper and query has a shelf that knows of its newest event."""
    newest: dict[str, int] = {}
    for event in story.events:
        if event["type"] == "impression":
            continue
        named = [keys.feed(shopper_of(event))]
        if event["type"] == "search":
            named.append(keys.search(event["query"]))
        for key in named:
            newest[key] = max(newest.get(key, 0), event["ts"])
    assert len(newest) > 60  # made-up titles repeat, so their queries are few
    for key, time_ms in newest.items():
        shelf = shop.shelf(key)
        assert shelf is not None, f"no {key}"
        assert shelf.event_ts == time_ms, key
        assert shelf.items, key


def assert_letters(shop: Shop, sent: list[tuple[Sent, bytes | None]]) -> None:
    """Exactly the bad records are dead letters, to the byte and with the right reason; a kill may repeat a letter."""
    expected = {place: (BAD[value], value) for place, value in sent if value in BAD}
    assert len(expected) == 100
    found = {
        (letter.source.topic, letter.source.partition, letter.source.offset): (letter.reason, letter.source.value)
        for letter in shop.letters()
    }
    assert found == expected


def live_through(shop: Shop, story: Story, kills: int) -> dict[bytes, Any]:
    """Let a shop live through the story, its worker killed in the middle of the work so many times; its state then."""
    shop.put_items(story.items)
    shop.start()
    shop.ready(len(story.items))
    part = -(-len(story.records) // (kills + 1))
    sent: list[tuple[Sent, bytes | None]] = []
    for start in range(0, len(story.records), part):
        records = story.records[start : start + part]
        written = shop.ends(shop.topics.shelves)
        sent += zip(shop.produce(shop.topics.events, records), [value for _, value in records], strict=True)
        if start + part < len(story.records):
            until(lambda before=written: shop.ends(shop.topics.shelves) > before + 50, every_s=0.005)  # type: ignore[misc]
            shop.kill()
            assert shop.committed() < len(sent), "it was killed when all was done"
            shop.start()
    shop.drained()
    assert_shelves(shop, story)
    assert_letters(shop, sent)
    return shop.state()
