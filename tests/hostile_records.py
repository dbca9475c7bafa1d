"""Records that nobody should send, for every topic: its consumers must pass over them; and good ones beside them."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage

from evaluator.attribution import example as labelled
from evaluator.attribution.example import LabelledExample
from evaluator.monitoring.alerts import alert
from evaluator.monitoring.alerts.alert import Alert
from models.encoded import EncodedItem
from models.store.slots import Promotion, Slot
from models.trigrams import trigrams
from streams.catalog import embedding
from streams.catalog.embedding import Embedding, Origin
from streams.clock import wall_ms
from streams.events import shelf
from streams.events.schema import Item
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, Vector
from streams.telemetry import meter
from streams.telemetry.meter import Meter

YEAR_3000 = 32_503_680_000_000
HUGE = int("9" * 30)


@dataclass(frozen=True, slots=True)
class Sent:
    """One record."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, Any], ...] = ()
    topic: str = "topic"
    partition: int = 0
    offset: int = 0
    timestamp: int = field(default_factory=wall_ms)
    timestamp_type: int = 0


def changed(value: bytes, /, **fields: Any) -> bytes:
    """JSON with some of its fields replaced, whatever they should be."""
    return msgspec.json.encode(msgspec.json.decode(value) | fields)


def anywhere(key: bytes, good: bytes) -> Iterator[Sent]:
    """What is wrong on every topic."""
    chance = random.Random(7)
    for value in (
        b"",
        b"junk",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"12",
        b"NaN",
        b"\xff\xfe\x00",
        b'{"a":"\\ud800"}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        chance.randbytes(1_000),
        chance.randbytes(700_000),
        good[: len(good) // 2],
        good[:-1],
        b"\x93" + good,
        good.replace(b'":', b'":99e', 1) if good[:1] == b"{" else good[::-1],
    ):
        yield Sent(key, value)


def item() -> bytes:
    """A good item."""
    return b'{"item_id":"good","title":"A kettle"}'


def items() -> Iterator[Sent]:
    """Bad ones; for who reads titles only."""
    yield from anywhere(b"bad", item())
    yield from (Sent(None, item()), Sent(b"", item()), Sent(b"\xff", item()), Sent(b"a" * 9_000, item()))
    yield Sent(b"bad", b'{"title":7}')


def shelf_record(shelf_id: str = "good", now: int | None = None) -> bytes:
    """A good shelf record."""
    made = Shelf(
        shelf_id=shelf_id,
        surface="feed",
        model="m1",
        arm="champion",
        made_at=now or wall_ms(),
        event_ts=now or wall_ms(),
        items=[ShelfItem(f"i{number}", 0.5, 0.1, 0.2, 0.3, "vector") for number in range(3)],
    )
    record = ShelfRecord(
        key="shelf:feed:u",
        shopper="u",
        query=None,
        shelf=made,
        propensities=[1.0, 1.0, 0.1],
        history=["h"],
        asked=["tv"],
        weights=[0.5, 0.8],
        popularity=[0.0, 0.5, 1.0],
        sources=["vector", "lexical", "new"],
        vector=Vector("e", bytes(8)),
    )
    return shelf.encoder.encode(record)


def shelves() -> Iterator[Sent]:
    """Bad shelf records."""
    good = shelf_record("bad")
    inner = msgspec.json.decode(good)["shelf"]
    one = inner["items"][0]
    yield from anywhere(b"u", good)
    for fields in (
        {"propensities": [1.0]},
        {"propensities": [1.0, 2.0, 3.0]},
        {"propensities": [1.0, "1", 1.0]},
        {"popularity": [0.5]},
        {"sources": ["vector"]},
        {"sources": ["v" * 100_000] * 3},
        {"weights": [1.0]},
        {"weights": [1e300, 1.0]},
        {"vector": ["e", ""]},
        {"vector": ["e" * 100_000, "AAAA"]},
        {"shopper": "u\n"},
        {"history": ["h"] * 5_000},
        {"shelf": inner | {"made_at": YEAR_3000}},
        {"shelf": inner | {"event_ts": YEAR_3000}},
        {"shelf": inner | {"made_at": -1}},
        {"shelf": inner | {"made_at": HUGE}},
        {"shelf": inner | {"shelf_id": ""}},
        {"shelf": inner | {"shelf_id": "x" * 100_000}},
        {"shelf": inner | {"items": [one | {"score": 1e308}] * 3}},
        {"shelf": inner | {"items": [one | {"score": None}] * 3}},
        {"shelf": inner | {"items": [one | {"look": 7.0}] * 3}},
        {"shelf": inner | {"items": [one | {"item_id": 5}] * 3}},
        {"shelf": None},
    ):
        yield Sent(b"u", changed(good, **fields))


def encoded(dim: int = 4, width: int = 4, item_id: str = "good", version: str = "mini") -> bytes:
    """A good embedding, of some widths."""
    vectors = EncodedItem.quantise(
        np.eye(1, width, dtype=np.float32), np.eye(1, dim, dtype=np.float32)[0], [7], trigrams("tap")
    )
    made = Item(item_id=item_id, title="A tap")
    return embedding.encoder.encode(Embedding(made, version, "hash", vectors.to_bytes()))


def embeddings() -> Iterator[Sent]:
    """Bad embeddings of any encoder."""
    good, key, origin = encoded(item_id="bad"), embedding.key("bad", "mini"), (Origin(0, 5).header(),)
    yield from anywhere(key, good)
    for bad in (None, b"", b"bad", b"\0", b"bad\0", b"\0mini", b"\xff\0mini", b"bad\0\xff", b"b\nad\0mini", b"a" * 999):
        yield Sent(bad, good, origin)
    yield from (Sent(None, None), Sent(b"bad", None, origin))
    for header in (None, b"", b"here", b"1", b"1:", b":1", b"-1:2", b"1:2:3:4", b"9" * 5_000 + b":1", b"\xff:\xfe"):
        yield Sent(key, good, (("origin", header),))
        yield Sent(key, None, (("origin", header),))
    yield Sent(embedding.key("other", "mini"), good, origin)
    yield Sent(embedding.key("bad", "other"), good, origin)


def unfit(dim: int, width: int, item_id: str, version: str) -> Iterator[bytes]:
    """Embeddings that an encoder of these widths cannot use."""
    yield encoded(128, width, item_id, version)
    yield encoded(dim, 7, item_id, version)
    made = embedding.decoder.decode(encoded(dim, width, item_id, version))
    for number in (float("nan"), float("inf"), 60_000.0):
        halves = struct.pack("<e", number)
        for at in (10, 12):  # the token's scale, and the mean's first value
            vectors = made.vectors[:at] + halves + made.vectors[at + 2 :]
            yield embedding.encoder.encode(msgspec.structs.replace(made, vectors=vectors))
    for vectors in (b"", b"LE", made.vectors[:-1], made.vectors + b"x"):
        yield embedding.encoder.encode(msgspec.structs.replace(made, vectors=vectors))


def slot(share: float = 0.1) -> bytes:
    """A good slot."""
    return msgspec.json.encode(Slot(Promotion("m2", datetime(2026, 11, 24, tzinfo=UTC), "a test", share)))


def slots() -> Iterator[Sent]:
    """Bad slots."""
    good = slot()
    current = msgspec.json.decode(good)["current"]
    yield from (one for one in anywhere(b"bad", good) if one.value != b"{}")  # an empty slot is one
    for key in (None, b"", b"\xff", b"../etc", b"a b", b"A", b"x" * 1_000):
        yield from (Sent(key, good), Sent(key, None))
    for fields in (
        {"share": 7.0},
        {"share": -0.1},
        {"share": None},
        {"version": ""},
        {"version": "x" * 10_000},
        {"version": 7},
        {"at": "3000-01-01T00:00:00Z"},
        {"at": "2026-11-24T00:00:00"},
        {"at": HUGE},
        {"reason": "x" * 100_000},
    ):
        yield Sent(b"bad", changed(good, current=current | fields))
    yield Sent(b"bad", changed(good, history=[current] * 5_000))


def snapshot(name: str = "good", now: int | None = None, role: str = "worker") -> bytes:
    """A good snapshot."""
    gauge = Meter(role, name, (now or wall_ms()) - 1_000)
    gauge.count("events", 3)
    for ms in (0.0, 1.0, 9.0):
        gauge.time("score", ms)
    gauge.series = [meter.Series("rate_clicks", {"surface": "feed"}, 1.0)]
    return meter.encoder.encode(gauge.snapshot(now or wall_ms()))


def sketches() -> Iterator[bytes]:
    """Sketches that cannot be added to others."""
    [good] = msgspec.json.decode(snapshot(), type=meter.Snapshot).sketches.values()

    def made(change: Callable[[Any], object]) -> bytes:
        message = SketchMessage.FromString(good)
        change(message)
        return bytes(message.SerializeToString())

    for gamma in (0.0, 1.0, -2.0, 1e308, float("nan"), float("inf"), 1.5):
        yield made(lambda one, gamma=gamma: setattr(one.mapping, "gamma", gamma))  # type: ignore[misc]
    yield made(lambda one: setattr(one.mapping, "indexOffset", 1e9))
    for first in (1_000_000_000, -1_000_000_000):
        yield made(lambda one, first=first: setattr(one.positiveValues, "contiguousBinIndexOffset", first))  # type: ignore[misc]
    for count in (-1.0, float("nan"), float("inf"), 1e300):
        yield made(lambda one, count=count: setattr(one, "zeroCount", count))  # type: ignore[misc]
        yield made(lambda one, count=count: one.positiveValues.contiguousBinCounts.append(count))  # type: ignore[misc]
    yield made(lambda one: one.positiveValues.contiguousBinCounts.extend([1.0] * 50_000))
    yield made(lambda one: one.positiveValues.binCounts.update({2_000_000_000: 1.0}))
    yield made(lambda one: one.negativeValues.contiguousBinCounts.extend([1.0] * 9))
    yield b"\xff" * 100


def snapshots() -> Iterator[Sent]:
    """Bad snapshots."""
    good = snapshot("bad")
    yield from anywhere(b"worker", good)
    for sketch in sketches():
        decoded = msgspec.json.decode(good, type=meter.Snapshot)
        yield Sent(b"worker", meter.encoder.encode(msgspec.structs.replace(decoded, sketches={"score": sketch})))
    for fields in (
        {"to_ms": YEAR_3000},
        {"from_ms": YEAR_3000},
        {"to_ms": -HUGE},
        {"to_ms": HUGE},
        {"counts": {"events": HUGE}},
        {"counts": {"events": -1}},
        {"counts": {"events": 1.5}},
        {"gauges": {"lag": 1e300}},
        {"gauges": {"lag": "x"}},
        {"gauges": {str(number): 1.0 for number in range(5_000)}},
        {"labels": {"model": "x" * 500_000}},
        {"series": [["n" * 900_000, {}, 1.0]]},
        {"series": [["rate_clicks", {"surface": "x" * 100_000}, 1.0]]},
        {"series": [["rate_clicks", {}, -1e308]]},
        {"series": [["r", {}, 1]] * 30_000},
        {"role": "x" * 10_000},
        {"id": None},
    ):
        yield Sent(b"worker", changed(good, **fields))


def told(name: str = "good", now: int | None = None) -> bytes:
    """A good alert."""
    made = Alert(
        name=name, labels={"arm": "a"}, state="firing", summary="", evidence={"rate": 0.1}, since=now or wall_ms()
    )
    return alert.encoder.encode(made)


def alerts() -> Iterator[Sent]:
    """Bad alerts."""
    good = told("bad")
    yield from anywhere(b"bad", good)
    for fields in (
        {"since": YEAR_3000},
        {"since": -1},
        {"since": HUGE},
        {"until": YEAR_3000 * 1_000},
        {"state": "burning"},
        {"evidence": {"rate": 1e300}},
        {"evidence": {"rate": HUGE}},
        {"evidence": {"rate": []}},
        {"labels": {"arm": 5}},
        {"labels": {"arm": "x" * 100_000}},
        {"labels": {str(number): "x" for number in range(1_000)}},
        {"name": "x" * 10_000},
        {"summary": None},
    ):
        yield Sent(b"bad", changed(good, **fields), (("source", None),))


def example(id: str = "good", now: int | None = None) -> bytes:
    """A good example."""
    made = LabelledExample(
        id=id,
        ts=now or wall_ms(),
        shopper="u",
        item_id="i",
        shelf_id="s",
        surface="feed",
        position=0,
        intent="look",
        history=["h"],
        asked=["tv"],
        weights=[0.5, 0.8],
        propensity=0.5,
    )
    return labelled.encoder.encode(made)


def examples() -> Iterator[Sent]:
    """Bad examples."""
    good = example("bad")
    yield from anywhere(b"u", good)
    for fields in (
        {"ts": YEAR_3000},
        {"ts": -1},
        {"ts": HUGE},
        {"intent": "love"},
        {"intent": "look\n"},
        {"position": -1},
        {"position": HUGE},
        {"weights": [1.0]},
        {"weights": [1.0, 1e300]},
        {"popularity": 7.0},
        {"propensity": -1.0},
        {"value": 1e300},
        {"history": ["h"] * 50_000},
        {"id": ""},
        {"item_id": "x" * 1_000},
        {"query": "x" * 100_000},
    ):
        yield Sent(b"u", changed(good, **fields))


BAD: dict[str, Callable[[], Iterator[Sent]]] = {
    "items": items,
    "shelves": shelves,
    "embeddings": embeddings,
    "slots": slots,
    "snapshots": snapshots,
    "alerts": alerts,
    "examples": examples,
}


def mixed(good: Sequence[Sent], bad: Sequence[Sent]) -> list[Sent]:
    """Bad records with good ones among them, one of these at the end."""
    found = list(bad)
    for number, one in enumerate(good[:-1]):
        found.insert((number + 1) * len(found) // len(good), one)
    return [*found, good[-1]]
