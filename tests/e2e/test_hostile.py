"""Nothing that is sent stops anything, at its smallest; ``python -m benchmarks.hostile`` is the whole of it."""

from pathlib import Path

import pytest

from benchmarks.hostility import CODECS, WEIGHTS, Hostility
from streams.kafka.topics import Topics
from tests.benchmark import smoke


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_hostile_records_are_accounted_for_and_end_nothing(tmp_path: Path) -> None:
    told = smoke("hostile", tmp_path)
    assert told["facts"]["processes that ended"] == 0
    assert all(row["equal"] for row in told["rows"])
    assert sum(row["sent"] for row in told["rows"]) > told["facts"]["messages"] / 2


def test_every_topic_and_codec_gets_good_and_bad_records() -> None:
    made = list(Hostility(Topics(), now_ms=1_700_000_000_000, seed=2).messages(2_000))
    assert {one.topic for one in made} == {getattr(Topics(), name) for name in WEIGHTS}
    assert {one.codec for one in made} == set(CODECS)
    for topic in (Topics().events, Topics().items):
        assert {one.good for one in made if one.topic == topic} == {True, False}
    assert any(one.value is None for one in made)
    assert any(one.value and len(one.value) > 900_000 for one in made)
