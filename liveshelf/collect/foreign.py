"""Takes events in the shapes of other systems apart: calls of Segment, rows and measurements of Google Analytics, and
documents of OpenSearch UBI become our events, by the presets that ``liveshelf import`` uses.

Total and pure: the clock is an argument. Knows nothing of HTTP or of how records are sent.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Literal

from liveshelf.collect.batch import Draft, Outcome
from streams.config import EventsConfig
from streams.events.adapters.documents import parsed
from streams.events.adapters.gate import DUPLICATE, Entry, Omission, Validator, wire
from streams.events.adapters.mapper import Mapper
from streams.events.adapters.mapping import MappingConfig, load
from streams.events.adapters.source import Line
from streams.events.adapters.ubi import Ubi
from streams.events.decode import Refusal, refuse

Shape = Literal["segment", "ga4", "ubi"]
"""Systems whose events are taken as they are."""

Record = dict[str, Any]


def drafts(parts: Iterable[bytes], shape: Shape, came_ms: int, config: EventsConfig) -> Iterator[Outcome]:
    """The records of a body's objects; each with the place of its element, from 1: a call of Segment's batch, a
    measurement of Google's, a line of UBI's.

    What the preset leaves out, such as calls that say nothing of items, is an `Omission`, and so is an event that the
    body has twice.

    Examples
    --------
    >>> viewed = b'{"event":"Product Viewed","messageId":"m","userId":"u","properties":{"product_id":"i"}}'
    >>> body = [b'{"sentAt":"2026-01-10T00:00:00Z","batch":[' + viewed + b',{"type":"page"}]}']
    >>> [(place, found.__class__.__name__) for place, found in drafts(body, "segment", 2**41, EventsConfig())]
    [(1, 'Draft'), (2, 'Omission')]
    """
    validator = Validator(came_ms, config)
    lines = (Line(number, raw) for number, raw in enumerate(parts, 1))
    if shape == "ubi":
        entries = Ubi(_preset(shape), validator).entries(lines)
    else:
        entries = _mapped(lines, Mapper("events", _preset(shape), validator), _ELEMENTS[shape])
    for entry in entries:
        found = entry.outcome
        if not isinstance(found, Refusal):
            assert not hasattr(found, "title"), "presets of events make no items"
            yield entry.line.number, Draft(found.shopper.encode(), wire(found, config))
        elif found.reason == DUPLICATE:
            yield entry.line.number, Omission(found.reason, found.detail)
        else:
            yield entry.line.number, found


@cache
def _preset(name: Shape) -> MappingConfig:
    return load(name)


def _mapped(lines: Iterable[Line], mapper: Mapper, elements: Callable[[Record], Iterable[Any]]) -> Iterator[Entry]:
    number = 0
    for line in lines:
        record = parsed(line)
        for element in [record] if isinstance(record, Refusal) else elements(record):
            number += 1
            place = Line(number, line.raw)
            if isinstance(element, Refusal):
                yield Entry(place, element)
            elif not isinstance(element, dict):
                yield Entry(place, refuse("invalid", f"Expected `object`, got `{type(element).__name__}`"))
            else:
                yield from _entries(place, element, mapper)


def _entries(place: Line, element: Record, mapper: Mapper) -> Iterator[Entry]:
    try:
        for outcome in mapper.outcomes(element):
            yield Entry(place, outcome)
    except (ValueError, OverflowError) as error:  # such as a number of 5,000 digits for a name
        yield Entry(place, refuse("invalid", str(error)))
    except RecursionError:
        yield Entry(place, refuse("malformed", "nested too deep"))


def _calls(record: Record) -> Iterable[Any]:
    """Segment's calls: those of a batch have its time and its context, where they have none of their own."""
    batch = record.get("batch")
    if not isinstance(batch, list):
        return [record]
    shared = {name: record[name] for name in ("sentAt", "context") if name in record}
    return [shared | call if isinstance(call, dict) else call for call in batch]


def _rows(record: Record) -> Iterable[Any]:
    """Rows of Google's export: a body of its Measurement Protocol becomes one for each of its events."""
    events = record.get("events")
    if not isinstance(events, list):
        return [record]
    return [_row(record, event) if isinstance(event, dict) else event for event in events]


def _row(body: Record, event: Record) -> Record | Refusal:
    given = event.get("params")
    params: Record = given if isinstance(given, dict) else {}
    time_us = event.get("timestamp_micros") or body.get("timestamp_micros")
    if not time_us:
        return refuse(
            "invalid", "Object missing required field `timestamp_micros`: without it a repeated delivery is a new event"
        )
    named = {"ga_session_id": params.get("session_id")} | params
    return {
        "event_name": event.get("name"),
        "event_timestamp": time_us,
        "user_id": body.get("user_id"),
        "user_pseudo_id": body.get("client_id") or body.get("app_instance_id"),
        "items": params.get("items"),
        "event_params": [{"key": name, "value": value} for name, value in named.items() if name != "items"],
    }


_ELEMENTS: dict[str, Callable[[Record], Iterable[Any]]] = {"segment": _calls, "ga4": _rows}
