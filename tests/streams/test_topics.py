"""Topics on a real broker: made once, as the settings say, and left alone afterwards."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaAdminClient

from streams.config import KafkaConfig, TopicsConfig
from streams.topics import DEAD_LETTER_HEADROOM, Topics, create, plan


@pytest.mark.integration
def test_all_are_made_once_with_partitions_and_settings(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    assert create(kafka, topics_config) == list(plan(topics_config))
    assert create(kafka, topics_config) == []
    admin = KafkaAdminClient(**kafka.client())
    try:
        found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(plan(topics_config)))}
    finally:
        admin.close()
    assert found == {name: topic["num_partitions"] for name, topic in plan(topics_config).items()}


@pytest.mark.integration
def test_only_what_is_missing_is_made(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    made = plan(topics_config)
    events = Topics(topics_config.prefix).events
    admin = KafkaAdminClient(**kafka.client())
    try:
        admin.create_topics({name: topic for name, topic in made.items() if name != events}, wait_for_metadata=True)
    finally:
        admin.close()
    assert create(kafka, topics_config) == [events]


@pytest.mark.integration
def test_roles_that_start_together_do_not_fight(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: create(kafka, topics_config), range(4)))
    assert create(kafka, topics_config) == []
    assert any(made)


def test_catalogues_are_compacted_and_letters_have_room_for_their_headers() -> None:
    config = TopicsConfig(prefix="p-", retention_hours=0.5, max_message_bytes=1_000)
    topics, made = Topics("p-"), plan(config)
    compacted = {name for name, topic in made.items() if topic["configs"]["cleanup.policy"] == "compact"}
    assert compacted == {topics.items, topics.embeddings, topics.models, topics.skipped}
    assert made[topics.events]["configs"]["retention.ms"] == "1800000"
    assert made[topics.dead_letters]["configs"]["max.message.bytes"] == str(1_000 + DEAD_LETTER_HEADROOM)
    assert all(name.startswith("p-") for name in made)
