"""Records that a schema registry describes are read as JSON is; what cannot be decoded is refused, and a registry that
is away is waited for."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from streams.config import EventsConfig, KafkaConfig
from streams.events.decode import Refusal, decode_event
from streams.events.schema import AnyEvent, Click, Impression
from streams.kafka import registry as registries
from streams.kafka.dead_letters import letter
from streams.kafka.record import Record
from streams.kafka.registry import SchemaDecoder
from tests.streams.schema_registry import CLICK, SchemaRegistry, avro, base64_of, click_file, framed, impression

T0 = 1_768_003_200_000
NOW = 1_790_000_000_000
FIELDS = {"type": "click", "event_id": "e1", "ts": T0, "user_id": "u1", "item_id": "i1", "price": None}


@pytest.fixture
def registry() -> SchemaRegistry:
    found = SchemaRegistry()
    found.put(7, json.dumps(CLICK))
    found.put(8, base64_of(click_file()), "PROTOBUF")
    found.put(9, "{}", "JSON")
    return found


@pytest.fixture
def address(registry: SchemaRegistry) -> Iterator[str]:
    with registry.serve() as where:
        yield where


def decoder(address: str) -> SchemaDecoder:
    return SchemaDecoder(KafkaConfig(schema_registry_url=SecretStr(address)))


def read(found: SchemaDecoder, *values: bytes | None) -> list[AnyEvent | Refusal]:
    """What the worker makes of records' values."""
    records = [Record("t", 0, at, NOW, b"u1", value) for at, value in enumerate(values)]
    decoded = asyncio.run(found.decoded(records))
    return [one.refusal or decode_event(one.value, NOW, EventsConfig()) for one in decoded]


def test_avro_protobuf_and_json_are_the_same_events(address: str, registry: SchemaRegistry) -> None:
    plain = json.dumps(FIELDS).encode()
    shown = impression(
        event_id="e2", user_id="u1", shelf_id="s", surface="feed", ts=datetime.fromtimestamp(T0 / 1000, UTC),
        items=[{"item_id": "i1"}, {"item_id": "i2", "position": 1}], more={"a": 1.5},
    )  # fmt: skip
    priced = avro(CLICK, FIELDS | {"price": Decimal("9.50")})
    events = read(
        decoder(address), plain, framed(7, avro(CLICK, FIELDS)), framed(7, priced), framed(8, shown), framed(9, plain)
    )
    click, same, costly, seen, again = events
    assert isinstance(click, Click) and isinstance(same, Click) and same.time_ms == T0
    assert (same.event_id, same.item_id, same.user_id, same.price) == ("e1", "i1", "u1", None) and again == click
    assert costly.price == 9.5
    assert isinstance(seen, Impression) and seen.session_id is None, "an empty text is no id"
    assert (seen.time_ms, [(one.item_id, one.position) for one in seen.items]) == (T0, [("i1", 0), ("i2", 1)])
    assert sorted(registry.asked) == [
        "/schemas/ids/7", "/schemas/ids/8", "/schemas/ids/8?format=serialized", "/schemas/ids/9"
    ]  # fmt: skip


def test_schemas_that_refer_to_others(address: str, registry: SchemaRegistry) -> None:
    kind = CLICK["fields"][0]["type"] | {"namespace": "shop"}
    fields = [{"name": "type", "type": "shop.Kind"}, *CLICK["fields"][1:]]
    registry.versions["kind", 3] = {"schema": json.dumps(kind), "schemaType": "AVRO"}
    reference = [{"name": "shop.Kind", "subject": "kind", "version": 3}]
    registry.put(17, json.dumps(CLICK | {"fields": fields}), references=reference)
    [event] = read(decoder(address), framed(17, avro(CLICK, FIELDS)))
    assert isinstance(event, Click) and event.item_id == "i1"


def test_what_cannot_be_decoded_is_refused_and_kept_as_it_was(address: str, registry: SchemaRegistry) -> None:
    registry.put(10, "{}", "THRIFT")
    registry.put(11, "no JSON")
    registry.put(12, "!", "PROTOBUF")
    good = avro(CLICK, FIELDS)
    bad = [
        b"\0", b"\0\0\0\0", framed(404, good), framed(404, good), framed(7, b""), framed(7, good[:-3]),
        framed(7, good + b"x"), framed(10, good), framed(11, good), framed(12, good), framed(8, b"\xff" * 9),
        framed(8, bytes([2, 90])), framed(9, b"{"),
    ]  # fmt: skip
    found = decoder(address)
    refusals = read(found, *bad, framed(7, good))
    assert isinstance(refusals.pop(), Click), "the others go on"
    reasons = [one.reason for one in refusals]
    assert reasons == [*["malformed"] * 2, *["schema"] * 2, *["malformed"] * 3, *["schema"] * 3, *["malformed"] * 3]
    assert "no schema 404" in refusals[2].detail and "THRIFT" in refusals[7].detail
    assert sum(path.endswith("/404") for path in registry.asked) == 1, "it is not asked again for a while"
    [other] = asyncio.run(found.decoded([Record("t", 0, 0, 0, None, framed(7, good))]))
    assert other.value != other.raw == letter(other, Refusal("future", ""), 10_000).value, "a letter has what was sent"


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
NOTHING = {"type": "record", "name": "Nothing", "fields": [{"name": "a", "type": "null"}]}


@pytest.mark.parametrize(
    ("kind", "content", "why"),
    [
        (NODE, b"\x02" * 500_000 + b"\0", "contains itself"),
        ({"type": "array", "items": NOTHING}, bytes([*[255] * 4, 15, 0]), "no limit to how many"),
        ({"type": "map", "values": {"type": "array", "items": "null"}}, b"", "no limit to how many"),
    ],
)
def test_a_schema_whose_records_have_no_bounds_is_refused(
    address: str, registry: SchemaRegistry, kind: Any, content: bytes, why: str
) -> None:
    registry.put(20, json.dumps({"type": "record", "name": "E", "fields": [{"name": "a", "type": kind}]}))
    [refusal] = read(decoder(address), framed(20, content))
    assert isinstance(refusal, Refusal) and refusal.reason == "schema" and why in refusal.detail


def test_a_decimal_without_end_is_refused_at_once(address: str, registry: SchemaRegistry) -> None:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    registry.put(22, json.dumps({"type": "record", "name": "E", "fields": [{"name": "a", "type": kind}]}))
    size = 64_000
    content = bytes([2 * size & 127 | 128, 2 * size >> 7 & 127 | 128, 2 * size >> 14]) + b"\x7f" * size
    [refusal] = read(decoder(address), framed(22, content))
    assert isinstance(refusal, Refusal) and "a decimal of 64000 bytes" in refusal.detail


def test_a_record_may_stand_at_several_places_of_a_schema(address: str, registry: SchemaRegistry) -> None:
    tag = {"type": "record", "name": "Tag", "fields": [{"name": "of", "type": "string"}]}
    fields = [
        *CLICK["fields"],
        {"name": "tag", "type": tag},
        {"name": "tags", "type": {"type": "array", "items": "Tag"}},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 2}},
    ]
    schema = CLICK | {"fields": fields}
    registry.put(21, json.dumps(schema))
    value = avro(schema, FIELDS | {"tag": {"of": "a"}, "tags": [{"of": "b"}], "code": b"xy"})
    [event] = read(decoder(address), framed(21, value))
    assert isinstance(event, Click) and event.item_id == "i1"


def test_reading_waits_for_a_registry_that_is_away(
    registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registries, "LONGEST_WAIT_S", 0.05)
    with registry.serve() as where:
        pass
    found = decoder(where)
    record = Record("t", 0, 0, NOW, b"u1", framed(7, avro(CLICK, FIELDS)))

    async def waited() -> Sequence[Record]:
        reading = asyncio.create_task(found.decoded([record]))
        while "does not answer" not in found.paused:
            await asyncio.sleep(0.01)
        for status in (503, 401, 404):
            registry.status = status
            with registry.serve():
                while f"refuses: as told (HTTP status code {status}" not in found.paused:
                    await asyncio.sleep(0.01)
        registry.status = 200
        assert not reading.done()
        with registry.serve():
            return await reading

    [decoded] = asyncio.run(waited())
    assert json.loads(decoded.value)["item_id"] == "i1" and not found.paused
    said = [one.message for one in caplog.records]
    assert sum("nothing is lost" in one for one in said) == 1 and "the schema registry answers again" in said


def test_any_bytes_are_an_event_or_a_refusal(address: str) -> None:
    found = decoder(address)

    @settings(deadline=None)
    @given(content=st.binary(max_size=40), number=st.sampled_from([7, 8, 9]))
    def is_read(content: bytes, number: int) -> None:
        [one] = read(found, framed(number, content))
        assert isinstance(one, Refusal) or one.event_id

    is_read()


def test_without_a_registry_such_records_are_no_json() -> None:
    [refusal] = read(SchemaDecoder(KafkaConfig()), framed(7, avro(CLICK, FIELDS)))
    assert isinstance(refusal, Refusal) and refusal.reason == "malformed"
    with pytest.raises(ValueError, match="is an address"):
        KafkaConfig(schema_registry_url=SecretStr("registry:8081"))
