"""Topics on a real broker: made once, as the settings say, and left alone afterwards."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from typer.testing import CliRunner

from liveshelf.cli.app import app
from streams.clock import BY_BROKER, wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka.topic_reader import contents
from streams.kafka.topics import DEAD_LETTER_HEADROOM, Change, Topics, apply, create, differences, plan
from tests.logged import logged
from tests.shop import until


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
def test_events_are_dated_by_the_broker_whatever_their_producer_says(
    kafka: KafkaConfig, topics_config: TopicsConfig
) -> None:
    create(kafka, topics_config)
    producer = KafkaProducer(**kafka.client())
    before = wall_ms()
    for ahead_ms in (-86_400_000, 0, 3_000_000):
        producer.send(Topics(topics_config.prefix).events, b"x", timestamp_ms=before + ahead_ms).get()
    producer.close()
    found = list(contents(StreamsConfig(kafka=kafka, topics=topics_config), Topics(topics_config.prefix).events))
    assert [one.timestamp_type for one in found] == [BY_BROKER] * 3
    assert all(before - 1_000 <= one.timestamp <= wall_ms() + 1_000 for one in found)


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


@pytest.mark.integration
def test_settings_that_change_later_change_topics_when_asked(
    kafka: KafkaConfig, topics_config: TopicsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    create(kafka, topics_config)
    topics, made = Topics(topics_config.prefix), plan(topics_config)
    assert differences(kafka, topics_config) == []
    later = topics_config.model_copy(
        update={"max_message_bytes": 1_500_000, "partitions": 6, "compacted_partitions": 3, "retention_hours": 96.0}
    )
    with caplog.at_level(logging.WARNING, "streams.kafka.topics"):
        assert create(kafka, later) == []
    [line] = logged(caplog, "streams.kafka.topics")
    assert f"{topics.events} max.message.bytes 1048576 (settings: 1500000)" in line
    assert "\n" not in line

    done = apply(kafka, later)
    assert {(one.topic, one.what) for one in done} == {
        *((name, "max.message.bytes") for name in made),
        *((name, "retention.ms") for name in made if made[name]["configs"].get("retention.ms") == "259200000"),
    }
    until(lambda: {one.change for one in differences(kafka, later)} == {Change.PARTITIONS, Change.NEVER})
    assert apply(kafka, later) == [], "partitions only when asked"
    assert {one.topic for one in apply(kafka, later, partitions=True)} == {
        topics.events,
        topics.shelves,
        topics.examples,
        topics.dead_letters,
    }
    until(lambda: {one.topic for one in differences(kafka, later)} == {topics.items, topics.embeddings})
    left = differences(kafka, later)
    assert {one.change for one in left} == {Change.NEVER}, "each key would have a record in two partitions"
    size = KafkaProducer(**kafka.client(), acks="all", max_request_size=2_000_000, compression_type=None)
    size.send(topics.events, key=b"u", value=b"x" * 1_400_000).get(timeout=30)
    size.close()


@pytest.mark.integration
def test_a_shorter_retention_and_fewer_partitions_are_not_applied_unasked(
    kafka: KafkaConfig, topics_config: TopicsConfig
) -> None:
    create(kafka, topics_config)
    less = topics_config.model_copy(update={"retention_hours": 1.0, "partitions": 2, "max_message_bytes": 500_000})
    assert {one.what for one in apply(kafka, less)} == {"max.message.bytes"}
    until(lambda: {one.what for one in differences(kafka, less)} == {"retention.ms", "partitions"})
    assert {one.what for one in apply(kafka, less, shorter=True, partitions=True)} == {"retention.ms"}
    until(lambda: {one.change for one in differences(kafka, less)} == {Change.NEVER})


@pytest.mark.integration
def test_the_command_shows_and_changes(
    kafka: KafkaConfig, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(kafka, topics_config)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    for name, value in {"PREFIX": topics_config.prefix, "PARTITIONS": "5", "COMPACTED_PARTITIONS": "2"}.items():
        monkeypatch.setenv(f"LIVESHELF_TOPICS__{name}", value)
    monkeypatch.setenv("COLUMNS", "300")
    run = CliRunner().invoke
    shown = run(app, ["topics", "apply", "--dry-run"])
    assert shown.exit_code == 0 and "--partitions" in shown.output, shown.output
    assert len(differences(kafka, topics_config)) == 0, "nothing was changed"
    assert "--partitions" in run(app, ["topics", "apply"]).output
    done = run(app, ["topics", "apply", "--partitions"])
    assert "Partitions cannot be taken away again" in " ".join(done.output.split())
    until(lambda: "as the settings say" in run(app, ["topics", "apply"]).output)


def test_catalogues_are_compacted_and_letters_have_room_for_their_headers() -> None:
    config = TopicsConfig(prefix="p-", retention_hours=0.5, max_message_bytes=1_000)
    topics, made = Topics("p-"), plan(config)
    compacted = {name for name, topic in made.items() if topic["configs"]["cleanup.policy"] == "compact"}
    assert compacted == {topics.items, topics.embeddings, topics.models, topics.skipped}
    assert made[topics.events]["configs"]["retention.ms"] == "1800000"
    assert made[topics.dead_letters]["configs"]["max.message.bytes"] == str(1_000 + DEAD_LETTER_HEADROOM)
    assert all(name.startswith("p-") for name in made)
