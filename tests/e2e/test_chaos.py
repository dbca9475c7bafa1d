"""Everything killed at random under load, at its smallest; ``python -m benchmarks.chaos`` is the whole of it."""

from pathlib import Path

import pytest

from benchmarks.chaos import plan
from benchmarks.traces import apart
from tests.benchmark import smoke


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_six_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """In a process of its own: kafka-python leaks sockets when a broker dies, which is an error here."""
    told = smoke("chaos", tmp_path)["chaos"]
    kills, rounds, shoppers = (told["facts"][name] for name in ("kills", "rounds", "shoppers"))
    entries = {row["what"]: row["entries"] for row in told["rows"]}
    assert all(row["equal"] for row in told["rows"])
    assert entries["examples on the topic"] == entries["examples on disk"] == 5 * shoppers * rounds
    assert entries["dead letters"] == 3 * rounds
    assert sum(count for name, count in told["facts"].items() if name.startswith("killed")) == kills == 6


def test_kills_fall_on_all_alike_and_differences_are_told() -> None:
    found = [name for some in plan(100, 40, list("abcde"), seed=3).values() for name, _ in some]
    assert {found.count(name) for name in "abcde"} == {20}
    assert apart({"a": 1}, {"a": 1}) == (0, 0, "")
    assert apart({"a": 1, "d": 1}, {"b": 2}) == (1, 2, "b: None, and not 2")
