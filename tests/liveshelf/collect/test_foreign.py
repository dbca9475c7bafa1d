"""Bodies of other systems: each element becomes events that the worker takes, is left out, or is refused."""

import json
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from liveshelf.collect.batch import Draft, MalformedError, lines
from liveshelf.collect.foreign import Shape, drafts
from streams.config import EventsConfig
from streams.events.adapters.files import read
from streams.events.adapters.gate import Omission
from streams.events.adapters.mapping import load
from streams.events.adapters.source import Source
from streams.events.decode import Refusal, decode_event
from streams.events.schema import AnyEvent, Impression, encoder

NOW = 1_790_000_000_000
T0 = 1_768_003_200_000
CONFIG = EventsConfig()
SAMPLES = Path(__file__).parents[2] / "streams" / "events" / "samples"
SHAPES: tuple[Shape, ...] = get_args(Shape)


def made(body: Any, shape: Shape, config: EventsConfig = CONFIG) -> list[tuple[int, AnyEvent | Refusal]]:
    """What a worker reads of a body, element by element."""
    parts = lines(body if isinstance(body, bytes) else json.dumps(body).encode())
    found: list[tuple[int, AnyEvent | Refusal]] = []
    for line, one in drafts(parts, shape, NOW, config):
        event = decode_event(one.value, NOW, config) if isinstance(one, Draft) else one
        assert not isinstance(one, Draft) or (not isinstance(event, Refusal) and one.key.decode() == event.shopper)
        found.append((line, event))
    return found


def call(event: str, message: str, **properties: Any) -> dict[str, Any]:
    """A track call."""
    return {
        "type": "track", "event": event, "messageId": message, "userId": "u1", "timestamp": "2026-01-10T00:00:00Z",
        "properties": properties,
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["segment", "ga4"])
def test_it_makes_of_a_body_what_import_makes_of_the_file(shape: Shape, tmp_path: Path) -> None:
    raw = (SAMPLES / f"{shape}.jsonl").read_bytes()
    with Source(SAMPLES / f"{shape}.jsonl") as source:
        entries = list(read(source, "events", load(shape), NOW, CONFIG))
    expected = [
        encoder.encode(one.outcome) if not isinstance(one.outcome, Refusal) else one.outcome.reason for one in entries
    ]
    for body in (raw, b"[" + b",".join(raw.strip().split(b"\n")) + b"]"):
        found = list(drafts(lines(body), shape, NOW, CONFIG))
        assert [one.value if isinstance(one, Draft) else one.reason for _, one in found] == expected
        assert [line for line, _ in found] == [entry.line.number for entry in entries]


def test_a_batch_of_segment_is_its_calls() -> None:
    body = {
        "sentAt": "2026-01-10T00:00:09Z", "context": {"sessionId": "s1"},
        "batch": [
            call("Product List Viewed", "m1", list_id="hot", products=[{"product_id": "A"}, {"sku": "B"}, {"a": 1}]),
            call("Order Completed", "m2", products=[{"sku": "A", "quantity": 2, "price": 9.5}, {"product_id": "B"}]),
            {"type": "track", "event": "Product Viewed", "messageId": "m3", "properties": {"product_id": "A"}},
            call("Order Completed", "m4", products=[]),
            {"type": "identify", "userId": "u1"},
            "nonsense",
            call("Product Viewed", "m3", product_id="A"),
        ],
    }  # fmt: skip
    found = made(body, "segment")
    assert [line for line, _ in found] == [1, 2, 2, 3, 4, 5, 6, 7]
    shown, first, second, read_, empty, other, nonsense, again = (one for _, one in found)
    assert isinstance(shown, Impression) and (shown.shelf_id, shown.event_id) == ("hot", "m1")
    assert [(one.item_id, one.position) for one in shown.items] == [("A", 0), ("B", 1)]
    assert (first.event_id, first.item_id, first.quantity, first.price) == ("m2", "A", 2, 9.5)
    assert (second.event_id, second.item_id) == ("m2-1", "B")
    assert (read_.session_id, read_.time_ms) == ("s1", T0 + 9_000), "the batch's own context and time"
    assert (empty.reason, nonsense.reason) == ("invalid", "invalid")
    assert isinstance(other, Omission) and isinstance(again, Omission) and again.reason == "duplicate"


def measured(**changes: Any) -> dict[str, Any]:
    """A body of Google's Measurement Protocol."""
    return {
        "client_id": "99.17", "timestamp_micros": T0 * 1000,
        "events": [
            {"name": "view_item_list", "params": {"session_id": "7", "item_list_id": "hot", "items": {"item_id": "A"}}},
            {"name": "purchase", "timestamp_micros": str(T0 * 1000 + 5_000_000), "params": {
                "transaction_id": "T1", "items": [{"item_id": "A", "quantity": 2, "price": "9.50"}, {"item_id": "B"}]}},
            {"name": "view_search_results", "params": {"search_term": "desk lamp"}},
            {"name": "page_view"},
            7,
        ],
    } | changes  # fmt: skip


def test_a_body_of_the_measurement_protocol() -> None:
    found = made(measured(user_id="u7"), "ga4")
    assert [line for line, _ in found] == [1, 2, 2, 3, 4, 5]
    shown, first, second, search, other, nonsense = (one for _, one in found)
    assert (shown.user_id, shown.session_id, shown.time_ms, shown.items[0].item_id) == ("u7", "99.17", T0, "A")
    assert shown.shelf_id.startswith("99.17-7-hot")
    assert (first.item_id, first.quantity, first.price, first.time_ms) == ("A", 2, 9.5, T0 + 5_000)
    assert second.item_id == "B" and search.query == "desk lamp"
    assert isinstance(other, Omission) and nonsense.reason == "invalid"
    timeless, timed = (made(measured(timestamp_micros=given), "ga4") for given in (None, T0 * 1000))
    assert "timestamp_micros" in timeless[0][1].detail and timeless[1][1].event_id == timed[1][1].event_id


def test_documents_of_ubi() -> None:
    query = {"query_id": "q1", "client_id": "c1", "user_query": "lamp", "timestamp": "2026-01-10T00:00:00Z"}
    click = {
        "action_name": "click", "query_id": "q1", "client_id": "c1", "timestamp": "2026-01-10T00:00:01Z",
        "event_attributes": {"object": {"object_id": "A"}, "position": {"ordinal": 3}},
    }  # fmt: skip
    action = {"index": {"_index": "ubi_events", "_id": "17"}}
    bulk = "\n".join(map(json.dumps, [query, action, click, {"action_name": "page_exit"}])).encode()
    (_, search), (line, touch), (_, unknown) = made(bulk, "ubi")
    assert (search.query, search.shopper, line, unknown.reason) == ("lamp", "c1", 3, "unknown_action")
    assert (touch.event_id, touch.item_id, touch.position, touch.shelf_id) == ("ubi_events-17", "A", 3, "q1")
    assert next(one.event_id for _, one in made([query, click], "ubi")) == search.event_id


@pytest.mark.parametrize("shape", SHAPES)
def test_a_repeated_delivery_has_the_same_ids(shape: Shape) -> None:
    bodies: dict[Shape, Any] = {
        "segment": {"batch": [call("Order Completed", "m2", products=[{"product_id": "A"}, {"product_id": "A"}])]},
        "ga4": measured(),
        "ubi": {"action_name": "add_to_cart", "client_id": "c", "timestamp": "2026-01-10T00:00:01Z",
                "event_attributes": {"object": {"object_id": "A"}}},
    }  # fmt: skip
    once, again = (
        [one.event_id for _, one in made(bodies[shape], shape) if not isinstance(one, Refusal)] for _ in range(2)
    )
    assert once == again and len(set(once)) == len(once) >= 1


def test_times_are_read_where_a_topic_has_other_units() -> None:
    seconds = EventsConfig(epoch_unit="s")
    assert [one.time_ms for _, one in made(measured(), "ga4", seconds)[:1]] == [T0]


def test_a_call_with_many_elements_is_not_copied_for_each() -> None:
    """Twenty thousand names beside twenty thousand products: as many copies would take gigabytes."""
    many = call("Order Completed", "m1", products=[{}] * 20_000) | {f"n{number}": 1 for number in range(20_000)}
    found = drafts(lines(json.dumps(many).encode()), "segment", NOW, CONFIG)
    assert [next(found)[1].reason for _ in range(3)] == ["invalid"] * 3


WORDS = (
    "batch events event event_name name params properties products items item_id product_id messageId userId client_id "
    "user_pseudo_id timestamp timestamp_micros event_timestamp action_name user_query query_id event_attributes object "
    "object_id position event_params key value index _id context type sentAt"
)
NAMES = st.sampled_from(WORDS.split())
VALUES = st.sampled_from(
    ["Product List Viewed", "Order Completed", "purchase", "view_item_list", "click", "impression", "A", T0, T0 * 1000]
)
RECORDS = st.recursive(
    VALUES | st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(body=st.binary() | st.dictionaries(NAMES, RECORDS).map(lambda one: json.dumps(one).encode()))
@example(body=b'{"event":' + b"9" * 5_000 + b"}")
@example(body=b'{"event_name":' + b"[" * 800 + b"]" * 800 + b',"action_name":' + b"[" * 800 + b"]" * 800 + b"}")
@example(body=b'{"batch":' + b"[" * 200_000)
@example(body=b'{"event":"Product Viewed","userId":"\\ud800","messageId":"m","properties":{"product_id":"\\ud800"}}')
@example(body=b'{"client_id":"c","events":[{"name":"purchase","timestamp_micros":1e999,"params":{"items":[{}]}}]}')
@example(body=b'{"client_id":"c","events":[{"name":["purchase"],"timestamp_micros":[1],"params":{"items":[[]]}}]}')
@example(body=b'{"batch":[{"event":"Product Viewed","context":7,"timestamp":{},"userId":{"a":1},"messageId":[1]}]}')
@example(body=b'{"index":{"_id":{}}}\n{"action_name":"click","event_attributes":{"object":[]},"timestamp":[]}')
@example(body=b'{"index":{"_id":[1],"_index":7}}\n{"action_name":["click"],"timestamp":1e300,"user_id":[]}')
def test_any_body_becomes_events_or_refusals(body: bytes) -> None:
    try:
        parts = lines(body)
    except MalformedError:
        parts = [body]
    for shape in SHAPES:
        for _, one in drafts(parts, shape, NOW, CONFIG):
            if isinstance(one, Draft):
                assert not isinstance(event := decode_event(one.value, NOW, CONFIG), Refusal)
                assert one.key.decode() == event.shopper


@pytest.mark.parametrize("message", [[], {}, ["m"], {"a": 1}])
def test_an_id_that_is_no_text_is_refused_and_the_others_are_taken(message: Any) -> None:
    body = [call("Product Viewed", message, product_id="A"), call("Product Viewed", "m", product_id="A")]
    [(_, refusal), (_, event)] = made(body, "segment")
    assert isinstance(refusal, Refusal) and refusal.reason == "invalid" and not isinstance(event, Refusal)


@pytest.mark.parametrize("product", [1, {}])
def test_of_a_list_without_end_the_first_elements_are_looked_at(product: Any) -> None:
    listed = [{"product_id": "A"}, *[product] * 10_000, {"product_id": "B"}]
    [(_, seen)] = made([call("Product List Viewed", "m", list_id="l", products=listed)], "segment")
    assert isinstance(seen, Impression) and [one.item_id for one in seen.items] == ["A"]


def test_an_order_of_many_products_is_taken_one_by_one() -> None:
    body = json.dumps(call("Order Completed", "m", products=[{"product_id": "A"}] * 100_000)).encode()
    began = time.process_time()
    first = next(drafts([body], "segment", NOW, CONFIG))
    decoding = time.process_time()
    json.loads(body)
    assert isinstance(first[1], Draft)
    assert decoding - began < 10 * (time.process_time() - decoding) + 0.2
