"""Reading ranges of time, splitting them, and the sample of all history."""

import random
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attribution.example import Labelled
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.columns import SCHEMA, table, view_times
from evaluator.retraining.store.merge import merged
from evaluator.retraining.store.reservoir import Reservoir, rank
from evaluator.retraining.store.split import cut
from evaluator.retraining.store.store import END, Store
from models.training.examples import ExamplesError
from tests.evaluator.examples.made import FIRST, HOUR_MS, NOW, config, example


def test_columns_are_the_fields_of_an_example() -> None:
    assert SCHEMA.names == list(Labelled.__struct_fields__)


def test_a_range_is_read_to_the_millisecond(tmp_path: Path) -> None:
    taken = [example(number, ts=number * HOUR_MS // 2) for number in range(10)]
    archive = Archive(tmp_path)
    assert list(archive.read(0, END)) == [] and archive.rehearsal(END) == [] and archive.count(0, END) == 0
    with Store(config(tmp_path)) as store:
        store.update([(0, place, one) for place, one in enumerate(taken)], NOW)
        store.flush(NOW)
    for first, last in ((0, 10), (3, 7), (4, 4), (9, 10)):
        since, until = taken[first].ts, taken[last].ts if last < 10 else END
        assert list(archive.read(since, until)) == taken[first:last]
        assert archive.count(since, until) == last - first
    assert archive.count(taken[2].ts + 1, taken[3].ts + 1) == 1


def test_counting_back_finds_when_the_nth_example_of_an_arm_was_seen(tmp_path: Path) -> None:
    taken = [example(number, ts=number * HOUR_MS // 3) for number in range(20)]  # the even ones are of arm b
    archive = Archive(tmp_path)
    assert archive.newest() is None and archive.back(END, 1, "feed", "b") is None
    with Store(config(tmp_path)) as store:
        store.update([(0, place, one) for place, one in enumerate(taken)], NOW)
        assert (store.waiting(0), store.waiting(taken[15].ts)) == (20, 5)
        store.flush(NOW)
        assert store.waiting(0) == 0
    assert archive.newest() == taken[-1].ts
    assert archive.back(END, 3, "feed", "b") == taken[14].ts
    assert archive.back(taken[10].ts, 2, "feed", "b") == taken[6].ts
    assert archive.back(END, 99, "feed", "b") == taken[0].ts, "the first one, where there are fewer"
    assert archive.back(END, 1, "search", "b") is None


def test_no_view_is_on_both_sides_and_the_newest_are_judged_by(tmp_path: Path) -> None:
    views = [(view * 60_000 // 3 * 3, f"u{view % 5}", f"s{view}") for view in range(100)]
    taken = [
        example(10 * number + item, ts, shopper, shelf)
        for number, (ts, shopper, shelf) in enumerate(views)
        for item in range(4)
    ]
    random.Random(3).shuffle(taken)
    with Store(config(tmp_path, flush_rows=30)) as store:
        store.update([(0, place, one) for place, one in enumerate(taken)], NOW)
        store.flush(NOW)
    archive = Archive(tmp_path)
    since, middle, until = archive.split(0, END, 0.1)
    older, newer = list(archive.read(since, middle)), list(archive.read(middle, until))
    assert len(older) == 360 and len(newer) == 40
    assert max(one.ts for one in older) < min(one.ts for one in newer)
    sides = [{(one.shopper, one.shelf_id, one.ts) for one in side} for side in (older, newer)]
    assert not sides[0] & sides[1]
    assert all(one.ts < middle for one in archive.rehearsal(middle))


@given(st.lists(st.integers(0, 20), max_size=40).map(sorted), st.floats(0.01, 0.99))
def test_a_cut_leaves_something_on_both_sides(times: list[int], share: float) -> None:
    try:
        found = cut(lambda: times, share)
    except ExamplesError:
        assert not times or times.count(times[0]) > (1 - share) * len(times) - 1
        return
    assert times[0] < found <= times[-1]
    assert sum(time >= found for time in times) >= share * len(times)


@given(st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=5), st.integers(1, 4))
def test_merging_sorts_whatever_the_batches(parts: list[list[int]], size: int) -> None:
    numbers = iter(range(1_000))
    made = [[example(next(numbers), ts=time) for time in part] for part in parts]
    sources = []
    for some in made:
        whole = table(some)
        sources.append([whole.slice(place, size) for place in range(0, len(whole), size)])
    found = [row for part in merged(sources) for row in part.to_pylist()]
    assert found == table(chain.from_iterable(made)).to_pylist()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("uv"), st.sampled_from("st")), max_size=20))
def test_views_are_counted_once(views: list[tuple[int, str, str]]) -> None:
    whole = table([example(number, *view) for number, view in enumerate(views)])
    found = list(view_times([whole.slice(place, 3) for place in range(0, len(whole), 3)]))
    assert Counter(found) == Counter(FIRST + ts for ts, _, _ in set(views))


@given(st.lists(st.integers(0, 200)), st.lists(st.integers(0, 200)), st.integers(1, 30))
def test_samples_of_two_histories_make_that_of_both(left: list[int], right: list[int], size: int) -> None:
    one, other, both = Reservoir(size), Reservoir(size), Reservoir(size)
    for number in left:
        one.update(example(number))
    for number in right:
        other.update(example(number))
    for number in right + left:
        both.update(example(number))
    one.merge(other)
    assert one.get() == both.get()
    lowest = sorted({example(number).id for number in left + right}, key=rank)[:size]
    assert {kept.id for kept in one.get()} == set(lowest)


def test_a_sample_that_is_made_larger_later_favours_nobody() -> None:
    small = Reservoir(10)
    for number in range(1_000):
        small.update(example(number))
    large = Reservoir(100, small.get(), small.bound)
    for number in range(1_000, 2_000):
        large.update(example(number))
    new = {example(number).id for number in range(1_000, 2_000)}
    assert 3 <= sum(one.id in new for one in large.get()) <= 25, "about as many as of the first thousand"
    assert all(rank(one.id) < small.bound for one in large.get())


def test_the_sample_is_uniform_over_time() -> None:
    reservoir = Reservoir(1_000)
    for number in range(20_000):
        reservoir.update(example(number, ts=number))
    tenths = Counter((one.ts - FIRST) // 2_000 for one in reservoir.get())
    assert sum((tenths[tenth] - 100) ** 2 / 100 for tenth in range(10)) < 27.9, "chi-squared, 9 degrees, 0.1 %"


def test_a_split_needs_two_moments(tmp_path: Path) -> None:
    with pytest.raises(ExamplesError, match="wait for more examples"):
        Archive(tmp_path).split(0, END, 0.1)
    with pytest.raises(ValueError, match="share to judge by"):
        Archive(tmp_path).split(0, END, 1.0)
