"""Hostile records for every topic, by a seed: what broken, careless and malicious clients send, among good ones.

Pure: makes keys, values and headers, and says what each record is. Sends nothing, and knows nothing of what becomes of
it.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from streams.kafka.topics import Topics

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
GOOD_SHARE = 0.3
LARGE_SHARE = 0.003
"""So many records in a thousand are of a megabyte, nearly all of it repetition."""

LARGE = 1_000_000
SHOPPERS, ITEMS, SURFACES = 2_000, 500, 3_000

WEIGHTS = {"events": 50, "items": 14, "shelves": 6, "examples": 6, "embeddings": 6, "models": 6, "metrics": 6}
WEIGHTS |= {"alerts": 3, "dead_letters": 3}
"""How often each topic is sent to."""

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Message:
    """One record to be sent: where, with which codec, and whether it is a good one."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    codec: str
    good: bool


class Hostility:
    """Makes messages, always the same ones for a seed.

    Parameters
    ----------
    now_ms
        The time that good events are dated around.

    Examples
    --------
    >>> made = list(Hostility(Topics(), now_ms=1_700_000_000_000, seed=1).messages(500))
    >>> made == list(Hostility(Topics(), now_ms=1_700_000_000_000, seed=1).messages(500))
    True
    >>> len({one.topic for one in made}), len({one.codec for one in made}), 50 < sum(one.good for one in made) < 150
    (9, 5, True)
    """

    def __init__(self, topics: Topics, now_ms: int, seed: int = 1) -> None:
        self.topics, self.now_ms = topics, now_ms
        self.chance = random.Random(seed)
        self._number = 0
        self._good: dict[str, Callable[[], tuple[bytes | None, Any]]] = {
            "events": self._event,
            "items": self._item,
            "shelves": self._shelf,
            "examples": self._example,
            "embeddings": self._embedding,
            "models": self._slot,
            "metrics": self._snapshot,
            "alerts": self._alert,
            "dead_letters": self._letter,
        }

    def catalogue(self) -> Iterator[Message]:
        """All items, good ones, to begin with."""
        for number in range(ITEMS):
            item = {"item_id": f"i{number}", "title": f"usb cable {number}"}
            raw = json.dumps(item).encode()
            yield Message(self.topics.items, f"i{number}".encode(), raw, [], "none", good=True)

    def messages(self, count: int) -> Iterator[Message]:
        """So many of them, good and bad."""
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        for _ in range(count):
            yield self.message(self.chance.choices(names, weights)[0])

    def message(self, name: str) -> Message:
        """One for a topic, named as ``Topics`` names it."""
        self._number += 1
        key, value = self._good[name]()
        # Only what shops send can be good: what is made up for an internal topic is at best of the right shape.
        good = name in ("events", "items") and self.chance.random() < GOOD_SHARE
        headers: Headers = []
        raw: bytes | None = json.dumps(value).encode()
        if not good:
            key, raw, headers = self._spoil(key, value)
        return Message(getattr(self.topics, name), key, raw, headers, self.chance.choice(CODECS), good)

    def _spoil(self, key: bytes | None, value: Any) -> tuple[bytes | None, bytes | None, Headers]:
        raw = json.dumps(value).encode()
        spoilt: bytes | None = raw
        match self.chance.randrange(8):
            case 0:
                spoilt = self._bytes()
            case 1:
                spoilt = raw[: self.chance.randrange(len(raw))]
            case 2:
                flipped = bytearray(raw)
                for _ in range(self.chance.randint(1, 8)):
                    flipped[self.chance.randrange(len(flipped))] = self.chance.randrange(256)
                spoilt = bytes(flipped)
            case 3:
                key = self._key(key)
            case 4:
                pass  # the headers alone
            case _:
                spoilt = self._with_odd_field(value)
        headers = self._headers() if self.chance.random() < 0.3 else []
        if self.chance.random() < LARGE_SHARE:
            spoilt = (b'{"type":"' + b"<p>w</p>" * (LARGE // 8))[:LARGE]
        return key, spoilt, headers

    def _with_odd_field(self, value: Any) -> bytes:
        """The value with one of its fields, however deep, replaced by something odd."""
        odd = self.chance.choice(ODD)
        copied = json.loads(json.dumps(value))
        at = copied
        while True:
            names: Any = list(at) if isinstance(at, dict) else range(len(at))
            if not names:
                return odd
            name = self.chance.choice(names)
            if isinstance(at[name], dict | list) and at[name] and self.chance.random() < 0.6:
                at = at[name]
                continue
            at[name] = "\0odd\0"
            return json.dumps(copied).encode().replace(json.dumps("\0odd\0").encode(), odd)

    def _bytes(self) -> bytes | None:
        length = self.chance.choice((0, 1, 7, 100, 5_000))
        made = self.chance.randbytes(length)
        return self.chance.choice((None, b"", made, b"\xef\xbb\xbf{}", b"[" * 20_000, b'{"a":' * 10_000, b"null", b"0"))

    def _key(self, key: bytes | None) -> bytes | None:
        return self.chance.choice(
            (None, b"", b"\0", b"\xff\xfe", b"k" * 60_000, b"\xed\xa0\x80", b"a\0b\0c", self.chance.randbytes(40), key)
        )

    def _headers(self) -> Headers:
        names = ("origin", "reason", "topic", "offset", "partition", "timestamp", "key", "instance", "x" * 2_000, "")
        values = (None, b"", b"\xff" * 40, b"[0,1]", b"99999999999999999999", b"-1", b"NaN", b"h" * 20_000)
        return [
            (self.chance.choice(names), self.chance.choice(values)) for _ in range(self.chance.choice((1, 2, 5, 200)))
        ]

    def _id(self) -> str:
        return f"h{self._number}"

    def _shopper(self) -> str:
        return f"u{self.chance.randrange(SHOPPERS)}"

    def _item_id(self) -> str:
        return f"i{self.chance.randrange(ITEMS)}"

    def _surface(self) -> str:
        return self.chance.choice(("feed", "search", f"free text {self.chance.randrange(SURFACES)}"))

    def _event(self) -> tuple[bytes | None, Any]:
        shopper, kind = self._shopper(), self.chance.choice(("search", "impression", "click", "read", "purchase"))
        event: dict[str, Any] = {"type": kind, "event_id": self._id(), "user_id": shopper}
        event["ts"] = self.now_ms - self.chance.randrange(60_000)
        if kind == "search":
            event["query"] = self.chance.choice(("usb cable", "red hub", "kabel für männer", "数据线", "🔌"))
        elif kind == "impression":
            shown = [{"item_id": self._item_id(), "position": place} for place in range(5)]
            event |= {"shelf_id": f"s{self.chance.randrange(100)}", "surface": self._surface(), "items": shown}
        else:
            event |= {"item_id": self._item_id(), "quantity": 1, "price": 9.99}
        return shopper.encode(), event

    def _item(self) -> tuple[bytes | None, Any]:
        item = self._item_id()
        made = {"item_id": item, "title": f"red usb cable {self._number}", "price": 1.5, "brand": "Acme"}
        return item.encode(), made | {"attributes": {"length": 2.0, "colour": "black"}, "in_stock": True}

    def _shelf(self) -> tuple[bytes | None, Any]:
        shopper = self._shopper()
        items = [
            {"item_id": self._item_id(), "score": 0.5, "buy": 0.1, "read": 0.1, "look": 0.2, "reason": "vector"}
            for _ in range(3)
        ]
        shelf: dict[str, Any] = {"shelf_id": f"s{self.chance.randrange(100)}", "surface": self._surface()}
        shelf |= {"model": "m", "arm": "champion"}
        shelf |= {"made_at": self.now_ms, "event_ts": self.now_ms, "items": items}
        record = {"key": f"shelf:feed:{shopper}", "shopper": shopper, "query": None, "shelf": shelf}
        return shopper.encode(), record | {"propensities": [1.0, 1.0, 1.0], "popularity": [0.1, 0.2, 0.3]}

    def _example(self) -> tuple[bytes | None, Any]:
        shopper = self._shopper()
        made = {"id": f"{self._number:024x}", "ts": self.now_ms, "shopper": shopper, "item_id": self._item_id()}
        return shopper.encode(), made | {"shelf_id": "s1", "surface": "feed", "position": 0, "intent": "look"}

    def _embedding(self) -> tuple[bytes | None, Any]:
        item = f"foreign{self.chance.randrange(50)}"
        made = {"item": {"item_id": item, "title": "t"}, "encoder": "other", "text": "00", "vectors": "AAAA"}
        return item.encode() + b"\0other", made

    def _slot(self) -> tuple[bytes | None, Any]:
        at = {"version": "20991231T000000-nowhere", "at": "2026-01-01T00:00:00Z", "reason": "hostile", "share": 0.5}
        return self.chance.choice((b"champion", b"challenger", b"else")), {"current": at, "history": [at]}

    def _snapshot(self) -> tuple[bytes | None, Any]:
        role = self.chance.choice(("worker", "evaluator", "trainer", "dashboard", "stranger"))
        made = {"role": role, "id": f"stranger-{self._number}", "from_ms": self.now_ms - 1_000, "to_ms": self.now_ms}
        made |= {"counts": {"events": 1}, "gauges": {"lag": 0.0, "items": 1.0}, "sketches": {"score": "AAAA"}}
        return role.encode(), made | {"labels": {"model": "m"}, "series": [["rate_impressions", {"arm": "a"}, 1.0]]}

    def _alert(self) -> tuple[bytes | None, Any]:
        made = {"name": f"hostile_{self.chance.randrange(5)}", "labels": {"surface": self._surface()}}
        made |= {"state": self.chance.choice(("firing", "resolved")), "summary": "none", "evidence": {"rate": 0.1}}
        return b"hostile", made | {"since": self.now_ms, "until": None}

    def _letter(self) -> tuple[bytes | None, Any]:
        return b"shop.events:0", {"type": "poke"}


ODD = (
    b"null",
    b"true",
    b"-1",
    b"1e200",
    b"1e999",
    b"-0.0",
    b"NaN",
    b"Infinity",
    b"1" + b"0" * 400,
    b"9223372036854775808",
    b'""',
    b'"\\ud800"',
    b'"a\\u0000b"',
    b'"\xff\xfe"',
    b'"' + b"x" * 3_000 + b'"',
    b'"' + "\U0001d518".encode() * 300 + b'"',
    b"[]",
    b"{}",
    b"[" * 2_000 + b"]" * 2_000,
    b'{"a":{"a":{"a":1}}}',
    b'"1970-01-01T00:00:00"',
    b'"9999-12-31T23:59:59Z"',
    b"253402300799999",
    b'"' + b"A" * 40_000 + b'"',
)
"""JSON values, and what only looks like one, to stand in the place of a field."""
