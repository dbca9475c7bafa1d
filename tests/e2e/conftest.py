"""One story for all tests of faults, and what is remembered and counted of it where nothing goes wrong."""

import uuid
from typing import Any

import pytest

from streams.config import KafkaConfig, TopicsConfig
from tests.shop import Shop, databases
from tests.story import Story, live_through, made


@pytest.fixture(scope="session")
def story() -> Story:
    return made()


@pytest.fixture(scope="session")
def undisturbed(
    kafka: KafkaConfig, redis_url: str, tmp_path_factory: pytest.TempPathFactory, story: Story
) -> dict[bytes, Any]:
    """The state after the story, without a fault."""
    topics = TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=4, compacted_partitions=2)
    folder = tmp_path_factory.mktemp("undisturbed")
    with Shop(kafka, databases(redis_url, [5])[0], topics, folder).open() as shop:
        return live_through(shop, story, 0)
