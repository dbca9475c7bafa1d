"""The ring: what is put is found at its time, memory stays fixed, and followers learn of late changes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.dashboard.series import SeriesBuffer


def values(ring: SeriesBuffer, key: tuple[str, ...]) -> list[float]:
    return next(line.values for line in ring.get() if line.key == key)


@given(st.lists(st.tuples(st.integers(1, 60), st.floats(-1e6, 1e6, allow_subnormal=False)), max_size=40))
def test_each_step_holds_the_last_value_put_while_it_was_on_the_axis(puts: list[tuple[int, float]]) -> None:
    ring, wanted, newest = SeriesBuffer(step_ms=1_000, steps=10), dict[int, float](), 0
    for step, value in puts:
        ring.put(("a",), step, value)
        newest = max(newest, step)
        if step > newest - 10:
            wanted[step] = value
    shown = [wanted.get(time // 1_000, math.nan) for time in ring.times()]
    if any(not math.isnan(value) for value in shown):
        assert values(ring, ("a",)) == pytest.approx(shown, rel=1e-5, abs=1e-300, nan_ok=True)


def test_series_that_fell_silent_are_forgotten_and_of_too_many_some_are_counted() -> None:
    ring = SeriesBuffer(step_ms=1_000, steps=5, most=2)
    for name in ("a", "b", "c"):
        ring.put((name,), 1, 1.0)
    assert len(ring) == 2 and ring.dropped == 1 and ("c",) not in ring
    ring.advance(6_000)
    assert len(ring) == 0
    ring.put(("c",), 6, 2.0)
    assert values(ring, ("c",))[-1] == 2.0 and len(values(ring, ("c",))) == 5


def test_followers_learn_of_changes_that_points_do_not_tell() -> None:
    ring = SeriesBuffer(step_ms=1_000, steps=5)
    ring.put(("a",), 10, 1.0)
    ring.put(("a",), 11, 1.0)
    before = ring.revision
    ring.put(("a",), 10, 3.0)
    assert ring.revision == before and ring.last()[0].before == 3.0
    ring.put(("a",), 8, 3.0)
    assert ring.revision != before


def test_what_cannot_be_drawn_or_is_too_old_is_passed_over() -> None:
    ring = SeriesBuffer(step_ms=1_000, steps=5)
    ring.put(("a",), 10, 1.0)
    for step, value in ((10, math.nan), (10, math.inf), (5, 2.0), (-3, 2.0)):
        ring.put(("a",), step, value)
    assert [value for value in values(ring, ("a",)) if not math.isnan(value)] == [1.0]


def test_a_long_silence_empties_the_axis() -> None:
    ring = SeriesBuffer(step_ms=1_000, steps=5)
    ring.put(("a",), 10, 1.0)
    ring.put(("a",), 500, 2.0)
    assert [value for value in values(ring, ("a",)) if not math.isnan(value)] == [2.0]
    assert ring.times() == [496_000, 497_000, 498_000, 499_000, 500_000]
