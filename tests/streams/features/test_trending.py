import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.features.trending import Trending

HOUR = 3_600_000
counts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 50), max_size=8)


def trending(**changes: float) -> Trending:
    return Trending(**({"bucket_s": 3_600, "buckets": 4, "half_life": 2.0} | changes))  # type: ignore[arg-type]


@given(st.dictionaries(st.integers(0, 9), counts), st.integers(9, 12))
def test_scores_are_the_decayed_sum_over_the_window(by_bucket: dict[int, dict[str, int]], now: int) -> None:
    demand = Trending(3_600, 4, half_life=2.0)
    expected: dict[str, float] = {}
    for bucket in sorted(by_bucket):
        demand.update("all", bucket, by_bucket[bucket])
        if bucket > now - 4:
            for item, count in by_bucket[bucket].items():
                expected[item] = expected.get(item, 0) + count * 0.5 ** ((now - bucket) / 2)
    ranked = demand.get("all", now * HOUR, 100)
    assert dict(ranked) == pytest.approx({item: score for item, score in expected.items() if score})
    assert ranked == sorted(ranked, key=lambda pair: (-pair[1], pair[0]))


@given(st.permutations([(bucket, {"a": bucket, "b": 5 - bucket}) for bucket in range(1, 5)]))
def test_order_of_updates_does_not_matter(updates: list[tuple[int, dict[str, int]]]) -> None:
    shuffled, ordered = trending(), trending()
    for bucket, seen in updates:
        shuffled.update("all", bucket, seen)
    for bucket, seen in sorted(updates, key=lambda update: update[0]):
        ordered.update("all", bucket, seen)
    assert dict(shuffled.get("all", 4 * HOUR, 5)) == pytest.approx(dict(ordered.get("all", 4 * HOUR, 5)))


def test_an_update_replaces_the_bucket() -> None:
    demand = trending()
    demand.update("all", 1, {"a": 3})
    assert demand.get("all", HOUR, 5) == [("a", 3.0)]
    demand.update("all", 1, {"a": 1, "b": 2})
    assert demand.get("all", HOUR, 5) == [("b", 2.0), ("a", 1.0)]


def test_an_empty_segment_falls_back_to_all() -> None:
    demand = trending()
    assert demand.get("phones", HOUR, 5) == []
    demand.update("all", 1, {"a": 1})
    demand.update("phones", 1, {"p": 1})
    assert demand.get("phones", HOUR, 5) == [("p", 1.0)]
    demand.update("all", 9, {"a": 1})
    assert demand.get("phones", 9 * HOUR, 5) == [("a", 1.0)]


def test_old_buckets_end_and_future_ones_do_not_weigh_more() -> None:
    demand = trending()
    demand.update("all", 1, {"old": 100})
    demand.update("all", 6, {"ahead": 1})
    demand.update("all", 5, {"now": 1})
    assert demand.get("all", 5 * HOUR, 5) == [("ahead", 1.0), ("now", 1.0)]


def test_equal_scores_are_ordered_by_id() -> None:
    demand = trending()
    demand.update("all", 1, {"b": 1, "c": 1, "a": 1})
    assert [item for item, _ in demand.get("all", HOUR, 2)] == ["a", "b"]


def test_memory_is_bounded() -> None:
    demand = trending(keep=3, segments=2)
    demand.update("all", 1, {"x": 1})
    for name in ("s1", "s2", "s3"):
        demand.update(name, 1, {f"{name}{n}": n for n in range(1, 10)})
    assert [item for item, _ in demand.get("s3", HOUR, 10)] == ["s39", "s38", "s37"]
    assert demand.get("s1", HOUR, 10) == [("x", 1.0)]
    for bucket in range(1, 50):
        demand.update("all", bucket, {"x": 1})
    assert len(demand.get("all", 49 * HOUR, 10)) == 1
