"""Reading ranges of time, and the sample of all history."""

from collections import Counter
from itertools import chain
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.store.archive import Archive, merged
from evaluator.retraining.store.columns import SCHEMA, table
from evaluator.retraining.store.reservoir import Reservoir, rank
from evaluator.retraining.store.store import END, ExampleStore
from tests.evaluator.examples.made import FIRST, HOUR_MS, NOW, config, example


def test_columns_are_the_fields_of_an_example() -> None:
    assert SCHEMA.names == list(LabelledExample.__struct_fields__)


def test_a_range_is_read_to_the_millisecond(tmp_path: Path) -> None:
    taken = [example(number, ts=number * HOUR_MS // 2) for number in range(10)]
    archive = Archive(tmp_path)
    assert list(archive.read(0, END)) == [] and archive.rehearsal(END) == [] and archive.count(0, END) == 0
    with ExampleStore(config(tmp_path)) as store:
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
    with ExampleStore(config(tmp_path)) as store:
        store.update([(0, place, one) for place, one in enumerate(taken)], NOW)
        assert (store.waiting(0), store.waiting(taken[15].ts)) == (20, 5)
        store.flush(NOW)
        assert store.waiting(0) == 0
    assert archive.newest() == taken[-1].ts
    assert archive.back(END, 3, "feed", "b") == taken[14].ts
    assert archive.back(taken[10].ts, 2, "feed", "b") == taken[6].ts
    assert archive.back(END, 99, "feed", "b") == taken[0].ts, "the first one, where there are fewer"
    assert archive.back(END, 1, "search", "b") is None


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
