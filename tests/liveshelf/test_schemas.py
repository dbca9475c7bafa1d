"""The published schemas are current, and say the same as the decoders."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from liveshelf import schemas
from streams.config import TopicsConfig
from streams.events.schema import EVENT_TYPES, event_decoder, item_decoder
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, encoder
from streams.kafka.topics import plan

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
FORMATS = jsonschema.FormatChecker(formats=())
CLICK: dict[str, Any] = {"type": "click", "event_id": "e", "ts": 5, "user_id": "u", "item_id": "i"}
ITEM: dict[str, Any] = {"item_id": "i", "title": "t"}


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def _is_on_the_calendar(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value.upper()).tzinfo is not None


def checker(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas.files()[name], format_checker=FORMATS)


EVENT, ITEMS = checker("event.json"), checker("item.json")


@pytest.mark.parametrize("name", schemas.files())
def test_committed_documents_are_current(name: str) -> None:
    """When this fails: ``liveshelf schemas --out docs/schemas``, and look at what the change means for shops."""
    assert (FOLDER / name).read_text("utf-8") == schemas.text(schemas.files()[name])


def test_no_document_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(schemas.files())


def test_write_makes_the_folder_and_says_what_it_wrote(tmp_path: Path) -> None:
    written = schemas.write(tmp_path / "a" / "b")
    assert {path.name for path in written} == set(schemas.files())
    assert all(json.loads(path.read_text("utf-8")) for path in written)


@pytest.mark.parametrize("name", [name for name in schemas.files() if name != "asyncapi.json"])
def test_documents_are_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.files()[name])


def test_asyncapi_tells_every_topic_as_it_is_created() -> None:
    document = schemas.asyncapi()
    told = {channel["address"]: channel["bindings"]["kafka"] for channel in document["channels"].values()}
    planned = plan(TopicsConfig())
    assert set(told) == set(planned)
    for name, settings_ in planned.items():
        assert told[name]["partitions"] == settings_["num_partitions"]
        assert told[name]["topicConfiguration"]["cleanup.policy"] == [settings_["configs"]["cleanup.policy"]]


def test_every_reference_in_asyncapi_leads_somewhere() -> None:
    document = schemas.asyncapi()
    waiting: list[Any] = [document]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if "$ref" in here:
                target: Any = document
                for part in here["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            waiting.extend(here.values())
        elif isinstance(here, list):
            waiting.extend(here)


def test_shelves_we_write_pass_their_schemas() -> None:
    shelf = Shelf(
        shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1,
        items=[ShelfItem("i", 1.0, 0.1, 0.2, 0.3, "vector")],
    )  # fmt: skip
    record = ShelfRecord(key="k", shopper="u", query=None, shelf=shelf, propensities=[1.0])
    checker("shelf.json").validate(json.loads(encoder.encode(shelf)))
    checker("shelf-record.json").validate(json.loads(encoder.encode(record)))


LONG_IDS = ["x" * 256, "x" * 257, "é" * 256]
IDS = st.one_of(st.sampled_from(["", "a", "é 😀", "a\n", "\x00", "\x7f", " ", *LONG_IDS]), st.text(max_size=5))
EDGES = [10**30, -1, 1_000_000, 1_000_001, 253_402_300_799_999, 253_402_300_800_000]
# A whole number written with a point is an integer to JSON Schema and none to us: docs/events.md says so.
FRACTIONS = st.floats(-10, 10).filter(lambda value: not value.is_integer())
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 300), st.sampled_from(EDGES), FRACTIONS, IDS)
MOMENTS = [
    "2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00",
    "2024-02-30T00:00:00Z",
    "2024-01-01T00:00:00.123+05:30",
    "2024-01-01",
    "0000-01-01T00:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01t00:00:00z",
    "2024-01-01T00:00:60Z",
    "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00+0530",
    "2024-01-01T00:00Z",
    "20240101T000000Z",
    "2024-01-01T00:00:00.1234567890Z",
    "2024-01-01 00:00:00Z",
    "2024-01-01T00:00:00Z\n",
]
TIMES = st.one_of(
    SCALARS,
    st.sampled_from(MOMENTS),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
)
SHOWN = st.lists(
    st.one_of(SCALARS, st.fixed_dictionaries({}, optional={"item_id": IDS, "position": SCALARS})), max_size=3
)
ANYTHING = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(IDS, SCALARS, max_size=2))
NEAR_EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from([*(kind.__struct_config__.tag for kind in EVENT_TYPES), "poke", None])},
    optional={"event_id": IDS, "ts": TIMES, "user_id": ANYTHING, "session_id": ANYTHING, "item_id": IDS, "query": IDS}
    | {"shelf_id": IDS, "surface": IDS, "items": st.one_of(SHOWN, ANYTHING), "position": SCALARS, "price": SCALARS}
    | {"quantity": SCALARS, "rating": SCALARS, "text": SCALARS, "filters": ANYTHING, "else": ANYTHING},
)
NEAR_CLICKS = st.builds(
    lambda changed: CLICK | changed,
    st.fixed_dictionaries({}, optional={"ts": TIMES, "user_id": ANYTHING, "position": SCALARS, "price": SCALARS}),
)
NEAR_PROFILES = st.builds(
    lambda attributes: CLICK | {"type": "profile", "attributes": attributes},
    st.one_of(ANYTHING, st.dictionaries(st.one_of(IDS, st.sampled_from(["segment", "x" * 65])), ANYTHING, max_size=3)),
)
NEAR_ITEMS = st.builds(
    lambda changed: ITEM | changed,
    st.fixed_dictionaries(
        {},
        optional={"item_id": IDS, "title": IDS, "price": SCALARS, "currency": IDS, "in_stock": SCALARS}
        | {"attributes": ANYTHING, "sponsored": ANYTHING, "brand": SCALARS},
    ),
)


def decodes(decoder: msgspec.json.Decoder[Any], value: Any) -> bool:
    try:
        decoder.decode(json.dumps(value).encode())
        return True
    except msgspec.ValidationError:
        return False


@pytest.mark.parametrize("moment", MOMENTS)
def test_schema_and_decoder_read_the_same_times(moment: str) -> None:
    assert EVENT.is_valid(CLICK | {"ts": moment}) == decodes(event_decoder, CLICK | {"ts": moment})


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(NEAR_EVENTS, NEAR_CLICKS, NEAR_PROFILES))
@example(CLICK | {"type": "profile", "attributes": {"segment": "gold", "born": 1980, "vip": True, "region": None}})
@example(CLICK)
@example(CLICK | {"user_id": None})
@example(CLICK | {"user_id": None, "session_id": "s"})
def test_schema_accepts_an_event_exactly_when_the_decoder_does(value: dict[str, Any]) -> None:
    assert EVENT.is_valid(value) == decodes(event_decoder, value)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(NEAR_ITEMS)
@example(ITEM)
def test_schema_accepts_an_item_exactly_when_the_decoder_does(value: dict[str, Any]) -> None:
    assert ITEMS.is_valid(value) == decodes(item_decoder, value)
