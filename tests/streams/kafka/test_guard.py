"""The guard of every topic: whatever a record's bytes are, it answers with a value or a refusal, and never raises."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.attribution import example
from evaluator.dashboard import inspector as titles
from evaluator.monitoring.alerts import topic as alerts
from streams.catalog import embedding
from streams.clock import AHEAD_MS, wall_ms
from streams.events import shelf
from streams.events.decode import Refusal
from streams.kafka import dead_letters
from streams.kafka.guard import Guard, Parse, parsed
from streams.serving import announcement
from streams.telemetry import meter
from streams.telemetry.meter import Meter
from tests import hostile_records as hostile
from tests.hostile_records import Sent
from tests.logged import logged

PARSES: dict[str, Parse[Any]] = {
    "items": titles.parse,
    "shelves": shelf.parse,
    "embeddings": embedding.parse,
    "slots": announcement.parse,
    "snapshots": meter.parse,
    "alerts": alerts.parse,
    "examples": example.parse,
    "dead letters": lambda message, _: dead_letters.parse(message),
}
GOOD = {
    "items": Sent(b"good", hostile.item()),
    "shelves": Sent(b"u", hostile.shelf_record()),
    "embeddings": Sent(embedding.key("good", "mini"), hostile.encoded()),
    "slots": Sent(b"champion", hostile.slot()),
    "snapshots": Sent(b"worker", hostile.snapshot()),
    "alerts": Sent(b"good", hostile.told()),
    "examples": Sent(b"u", hostile.example()),
}
MAYBE = st.none() | st.binary(max_size=300)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["origin", "source", "offset", "partition", "timestamp", "reason", "key"]), MAYBE)
)


def message(key: Any, value: Any, headers: Any = (), timestamp: int = 0) -> Any:
    return SimpleNamespace(topic="t", partition=0, offset=1, key=key, value=value, headers=headers, timestamp=timestamp)


@pytest.mark.parametrize("topic", PARSES)
@given(key=MAYBE, value=MAYBE, headers=HEADERS, timestamp=st.integers(-(1 << 63), 1 << 63))
@settings(max_examples=100, deadline=None)
def test_any_bytes_lead_to_a_value_or_a_refusal(topic: str, key: Any, value: Any, headers: Any, timestamp: int) -> None:
    found = parsed(PARSES[topic], message(key, value, headers, timestamp), wall_ms())
    if isinstance(found, Refusal):
        assert found.reason in {"malformed", "invalid", "future"}, found


@pytest.mark.parametrize("topic", GOOD)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_so_do_good_records_that_were_damaged(topic: str, data: st.DataObject) -> None:
    value = bytearray(GOOD[topic].value or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = parsed(PARSES[topic], message(GOOD[topic].key, bytes(value), GOOD[topic].headers), wall_ms())
    if isinstance(found, Refusal):
        assert found.reason in {"malformed", "invalid", "future"}, found


@pytest.mark.parametrize("topic", GOOD)
def test_good_records_are_taken_and_hostile_ones_refused(topic: str) -> None:
    assert not isinstance(parsed(PARSES[topic], GOOD[topic], wall_ms()), Refusal)
    taken = [one for one in hostile.BAD[topic]() if not isinstance(parsed(PARSES[topic], one, wall_ms()), Refusal)]
    assert taken == []


def test_a_clock_that_is_an_hour_ahead_is_believed_and_no_more() -> None:
    now = wall_ms()
    for ahead, refused in ((AHEAD_MS, False), (AHEAD_MS + 2_000, True)):
        found = parsed(shelf.parse, Sent(b"u", hostile.shelf_record(now=now + ahead)), now)
        assert isinstance(found, Refusal) == refused


def test_refusals_are_counted_and_logged_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    gauge = Meter("worker", "w", 0)
    guard = Guard("slots", announcement.parse, gauge)
    with caplog.at_level(logging.WARNING):
        for number in range(1_000):
            assert isinstance(
                guard(SimpleNamespace(topic="t", partition=3, offset=number, key=b"\n\x1b", value=b"{")), Refusal
            )
    assert gauge.snapshot(1).counts == {"unreadable.slots": 1_000}
    [line] = logged(caplog, "streams.kafka.guard")
    assert "t[3]@0" in line and "\n" not in line and "\x1b" not in line


def test_what_cannot_be_taken_counts_as_refused_too() -> None:
    def take(_: object) -> None:
        raise OverflowError("too much")

    guard = Guard("slots", announcement.parse)
    assert not guard.hand(GOOD["slots"], take) and guard.refused == 1
    assert guard.hand(GOOD["slots"], lambda _: None) and guard.refused == 1
