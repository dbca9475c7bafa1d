"""Meters: sketches merge to what one sketch would have said."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.telemetry.meter import (
    LABEL_LETTERS,
    Meter,
    Series,
    Snapshot,
    decoder,
    encoder,
    fitted,
    label_value,
    quantiles,
    total,
)
from streams.telemetry.sketch import ACCURACY

durations = st.lists(st.floats(0.01, 1e5), min_size=1, max_size=40)


def taken(values: list[float], weight: int = 1) -> Snapshot:
    meter = Meter("worker", "w", now_ms=0)
    for value in values:
        meter.time("score", value, weight)
    return decoder.decode(encoder.encode(meter.snapshot(1)))


@given(durations, durations, st.floats(0, 1))
def test_merged_sketches_are_one_sketch(left: list[float], right: list[float], level: float) -> None:
    apart = quantiles([taken(left), taken(right)], "score", [level])
    assert apart == pytest.approx(quantiles([taken(left + right)], "score", [level]))


@given(durations)
def test_quantiles_are_as_exact_as_said(values: list[float]) -> None:
    lowest, highest = quantiles([taken(values, weight=3)], "score", (0, 1))
    assert lowest == pytest.approx(min(values), rel=1.01 * ACCURACY)
    assert highest == pytest.approx(max(values), rel=1.01 * ACCURACY)


def test_counts_begin_anew_and_gauges_stay() -> None:
    meter = Meter("worker", "w", now_ms=5)
    meter.count("events")
    meter.count("events", 2)
    meter.gauges["lag"] = 7.0
    meter.time("write", -1.0)
    first, second = meter.snapshot(10), meter.snapshot(20)
    assert (first.from_ms, first.to_ms, second.from_ms, second.to_ms) == (5, 10, 10, 20)
    assert total([first, second], "events") == 3 and total([second], "events") == 0
    assert first.gauges == second.gauges == {"lag": 7.0}
    assert quantiles([first], "write", [0.5]) == [0.0]
    assert math.isnan(quantiles([second], "write", [0.5])[0])


def test_what_is_no_number_is_left_out() -> None:
    meter = Meter("worker", "w", now_ms=0)
    meter.gauges = {"a": math.nan, "b": math.inf, "c": 1.0}
    meter.series = [Series("s", {"l": "1"}, -math.inf), Series("s", {"l": "2"}, 2.0)]
    found = decoder.decode(fitted(meter.snapshot(1), 10_000))
    assert found.gauges == {"c": 1.0} and [one.value for one in found.series] == [2.0]


@given(st.text())
def test_label_values_are_short_and_can_be_shown(text: str) -> None:
    shown = label_value(text)
    assert len(shown) <= LABEL_LETTERS and label_value(shown) == shown
    assert shown.encode().decode() == shown
    assert not set(shown) & {chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
