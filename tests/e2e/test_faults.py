"""The main promise, with the fault injected: kill -9 mid-stream loses no event, counts none twice, ages no shelf."""

from pathlib import Path
from typing import Any

import pytest

from streams.config import KafkaConfig, TopicsConfig
from tests.shop import Shop, databases
from tests.story import Story, live_through

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KILLS = 3


def test_kill_9_three_times_loses_and_doubles_nothing(
    kafka: KafkaConfig,
    redis_url: str,
    topics_config: TopicsConfig,
    tmp_path: Path,
    story: Story,
    undisturbed: dict[bytes, Any],
) -> None:
    with Shop(kafka, databases(redis_url, [6])[0], topics_config, tmp_path).open() as shop:
        state = live_through(shop, story, KILLS)
    memory = {b"items", b"queries", b"bought", b"own", b"visits", b"searched", b"seen"}
    kinds = memory | {b"cells", b"with", b"trend", b"stats"}
    assert {key.split(b":")[2] for key in state} == kinds
    assert state == undisturbed
