"""Bodies of any bytes: each is taken apart, each object becomes a record that the worker takes, or is refused."""

import gzip
import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from liveshelf.collect.batch import Draft, MalformedError, event_draft, forget_draft, item_draft, lines, tombstone
from liveshelf.collect.body import BodyError, Inflater
from streams.config import EventsConfig
from streams.events.decode import Deleted, Refusal, decode_event, decode_item
from streams.events.schema import Item

NOW = 1_767_225_600_000
CONFIG = EventsConfig()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.dictionaries(
    st.sampled_from(["type", "event_id", "ts", "user_id", "session_id", "item_id", "title", "query", "items"]),
    JSON | st.sampled_from(["click", "search", "forget", NOW, "u1"]),
)
BODIES = st.binary() | (FIELDS | st.lists(JSON)).map(lambda one: json.dumps(one).encode())


@given(BODIES)
@example(b"[" * 200_000)
@example(b'{"a":' * 200_000)
@example(b'{"type":"click","user_id":"\\ud800"}')
@example(b'{"item_id":"\\ud800"}')
@example(b'{"item_id":' + b"9" * 5_000 + b"}")
def test_any_body_becomes_records_that_the_worker_takes_or_refusals(body: bytes) -> None:
    try:
        found = lines(body)
    except MalformedError:
        found = [body]
    for raw in found:
        for trusted in (True, False):
            event = event_draft(raw, NOW, CONFIG, trusted=trusted)
            if isinstance(event, Draft):
                assert not isinstance(taken := decode_event(event.value, NOW, CONFIG), Refusal)
                assert event.key.decode() == taken.shopper
        item = item_draft(raw, CONFIG)
        if isinstance(item, Draft):
            assert isinstance(decode_item(item.key, item.value, CONFIG), Item)
        forget_draft(raw, "f", NOW, CONFIG)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_id_is_deleted_or_refused(name: str) -> None:
    found = tombstone(name, CONFIG)
    if isinstance(found, Draft):
        assert decode_item(found.key, found.value, CONFIG) == Deleted(name)


@given(st.lists(st.dictionaries(st.text(), st.integers()), min_size=1, max_size=5), st.sampled_from(["array", "lines"]))
def test_an_array_and_lines_are_the_same(objects: list[dict[str, int]], form: str) -> None:
    encoded = [msgspec.json.encode(one) for one in objects]
    body = b"[" + b" , ".join(encoded) + b"]" if form == "array" else b"\r\n\r\n".join(encoded)
    assert lines(body) == encoded


@given(st.binary(max_size=300), st.integers(1, 400), st.integers(1, 9), st.booleans())
def test_gzip_in_any_pieces_is_what_was_compressed_or_too_much(data: bytes, most: int, step: int, twice: bool) -> None:
    packed = gzip.compress(data) + (gzip.compress(b"") if twice else b"")
    inflater = Inflater(most)
    try:
        found = b"".join(inflater.add(packed[at : at + step]) for at in range(0, len(packed), step))
        inflater.close()
    except BodyError as error:
        assert error.status == 413 and len(data) > most
    else:
        assert found == data and len(data) <= most


@given(st.binary(max_size=100))
def test_any_bytes_decompress_or_are_refused(data: bytes) -> None:
    inflater = Inflater(1_000)
    try:
        inflater.add(data)
        inflater.close()
    except BodyError as error:
        assert error.status in (400, 413)
