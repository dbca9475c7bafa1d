"""The local servers, for real."""

import pytest
import redis
from streams import topics
from streams.config import KafkaConfig, TopicsConfig

pytestmark = pytest.mark.integration


def test_fixtures(kafka: KafkaConfig, redis_url: str, redis_db: str, topics_config: TopicsConfig) -> None:
    assert topics.create(kafka, topics_config)
    assert topics.create(kafka, topics_config) == []
    with redis.Redis.from_url(redis_db) as client:
        assert client.dbsize() == 0
