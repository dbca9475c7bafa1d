"""Items are deleted on a real broker: by their ids, and by a file that does not have them any more."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from rich.console import Console
from typer.testing import CliRunner, Result

from liveshelf.cli.app import app
from liveshelf.ingest import importer
from liveshelf.ingest.importer import import_items, wait_for_workers
from liveshelf.ingest.removals import ItemState, item_states
from liveshelf.ingest.summary import ImportSummary
from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.adapters.mapping import load
from streams.kafka import topics
from streams.kafka.topic_reader import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

AHEAD_MS = 60_000


@pytest.fixture(autouse=True)
def settings(kafka: KafkaConfig, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands find this test's broker and topics, and no settings of anybody else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("LIVESHELF_TOPICS__PREFIX", topics_config.prefix)
    monkeypatch.setenv("COLUMNS", "500")
    topics.create(kafka, topics_config)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def put(kafka: KafkaConfig, config: TopicsConfig, *records: tuple[str, int, int]) -> None:
    """Send items: id, partition, timestamp."""
    producer = KafkaProducer(**kafka.client(), acks="all")
    for item_id, partition, timestamp_ms in records:
        value = json.dumps({"item_id": item_id, "title": "a lamp"}).encode()
        producer.send(
            topics.Topics(config.prefix).items, value, item_id.encode(), partition=partition, timestamp_ms=timestamp_ms
        )
    producer.close()


def records(kafka: KafkaConfig, config: TopicsConfig) -> list[Any]:
    return list(contents(StreamsConfig(kafka=kafka, topics=config), topics.Topics(config.prefix).items))


def standing(kafka: KafkaConfig, config: TopicsConfig) -> dict[str, ItemState]:
    return item_states(StreamsConfig(kafka=kafka, topics=config), lambda _done, _total: None)


def living(kafka: KafkaConfig, config: TopicsConfig) -> set[str]:
    return {item_id for item_id, one in standing(kafka, config).items() if one.live}


def test_items_are_deleted_by_their_ids(kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path) -> None:
    now = wall_ms()
    put(kafka, topics_config, ("a", 0, now), ("b", 1, now), ("c d", 1, now), ("kept", 0, now))
    # By two partitioners, and by a clock that is ahead: the older record must not come back either.
    put(kafka, topics_config, ("twice", 0, now), ("twice", 1, now + AHEAD_MS))
    file = tmp_path / "gone.txt"
    file.write_bytes("\ufeffc d\r\n\nnever\n".encode())

    told = run("items", "delete", "a", "twice", "a", "--file", str(file))
    assert (told.exit_code, told.output.splitlines()) == (
        0,
        [f"not on {topics_config.prefix}shop.items: never", "3 items deleted."],
    )
    tombstones = [one for one in records(kafka, topics_config) if one.value is None]
    assert sorted((one.key.decode(), one.partition) for one in tombstones) == [
        ("a", 0), ("c d", 1), ("twice", 0), ("twice", 1),
    ]  # fmt: skip
    assert all(one.timestamp > now + AHEAD_MS for one in tombstones if one.key == b"twice")
    assert living(kafka, topics_config) == {"b", "kept"}
    assert all(not one.holding for item_id, one in standing(kafka, topics_config).items() if item_id not in "b kept")

    again = run("items", "delete", "a", "never")
    assert again.exit_code == 1
    assert "deleted already: a\n" in again.output and "0 items deleted." in again.output
    file.write_bytes(b"kept\na\x00b\n")
    for arguments in (("a" * 257,), ("",), ("kept", "a\nb"), ("--file", str(file)), ()):
        assert run("items", "delete", *arguments).exit_code == 2, arguments
    assert len([one for one in records(kafka, topics_config) if one.value is None]) == 4


def test_a_file_deletes_what_it_no_longer_has(kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path) -> None:
    path, now = tmp_path / "items.csv", wall_ms()
    put(kafka, topics_config, *((f"i{n}", n % 2, now - 1_000) for n in range(10)), ("i3", 0, now + AHEAD_MS))

    def sync(rows: list[str], **options: Any) -> ImportSummary:
        path.write_text("id,name\n" + "".join(f"{row}\n" for row in rows))
        summary = import_items(
            path, kafka=kafka, topics=topics_config, events=EventsConfig(), console=Console(quiet=True),
            mapping=load(fields=["item_id=id", "title=name"]), **{"sync": 0.2} | options,
        )  # fmt: skip
        screen = Console(width=300)
        with screen.capture() as shown:
            screen.print(summary.table())
        said.append(shown.get())
        return summary

    said: list[str] = []
    everything = {f"i{n}" for n in range(10)}
    rows = [f"i{n},a lamp" for n in range(10) if n not in {3, 4}]
    before = len(records(kafka, topics_config))

    dry = sync([*rows, "new,a desk"], dry_run=True)
    assert (dry.exit_code, dry.sent, dry.verdict and dry.verdict.gone) == (0, 9, ("i3", "i4"))
    assert all(word in said[-1] for word in ("would send", "would delete", "of 10 live items", "i3", "i4"))
    assert len(records(kafka, topics_config)) == before, "a dry run sends nothing"

    refused = sync([*rows, "i8,"])
    assert refused.exit_code == 1 and "1 lines were refused" in said[-1]
    too_many = sync(rows[:7])
    assert too_many.exit_code == 1
    assert "3 of 10 live items (30 %) are not in the file" in said[-1]
    assert living(kafka, topics_config) == everything

    done = sync([*rows, "new,a desk"])
    assert (done.exit_code, done.sent) == (0, 9)
    assert "of 10 live items" in said[-1] and "deleted" in said[-1]
    assert living(kafka, topics_config) == everything - {"i3", "i4"} | {"new"}
    assert all(not standing(kafka, topics_config)[gone].holding for gone in ("i3", "i4"))
    assert sync([*rows[:5], "new,a desk"], sync=1.0).exit_code == 0
    assert living(kafka, topics_config) == {row.split(",")[0] for row in rows[:5]} | {"new"}
    with pytest.raises(ValueError, match="part of a file"):
        sync(rows, limit=1)


def test_the_command_synchronizes_only_when_asked(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path, now = tmp_path / "items.jsonl", wall_ms()
    put(kafka, topics_config, ("a", 0, now - 1_000), ("b", 1, now - 1_000))
    path.write_text(json.dumps({"item_id": "a", "title": "a lamp"}))
    assert run("import", "items", str(path)).exit_code == 0
    assert living(kafka, topics_config) == {"a", "b"}
    told = run("import", "items", str(path), "--sync")
    assert told.exit_code == 1 and "--allow-deletes 0.5" in told.output
    for options in (("--sync", "--limit", "1"), ("--allow-deletes", "1"), ("--sync", "--allow-deletes", "2")):
        assert run("import", "items", str(path), *options).exit_code == 2, options
    assert living(kafka, topics_config) == {"a", "b"}
    assert run("import", "items", str(path), "--sync", "--allow-deletes", "0.5").exit_code == 0
    assert living(kafka, topics_config) == {"a"}


def test_an_import_waits_until_a_group_has_taken_all_items(
    kafka: KafkaConfig, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "IDLE_S", 0)
    put(kafka, topics_config, *((f"i{n}", n % 2, wall_ms()) for n in range(10)))
    topic, group = topics.Topics(topics_config.prefix).items, f"{topics_config.prefix}group"
    steps, told = list[tuple[int, int | None]](), list[str]()
    with closing(KafkaConsumer(**kafka.client(), group_id=group, enable_auto_commit=False)) as worker:

        def step(done: int, total: int | None) -> None:
            steps.append((done, total))
            if len(steps) > 1:  # a worker takes three items of a partition between two looks
                offset = OffsetAndMetadata(min(5, 3 * (len(steps) // 2)), "", -1)
                worker.commit({TopicPartition(topic, len(steps) % 2): offset})

        wait_for_workers(kafka, topics_config, group, step, told.append, every_s=0.01)
        assert steps[0] == steps[1] == (0, 10) and steps[-1] == (10, 10)
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert len(told) == 1 and f"group {group}" in told[0]
        steps.clear()
        wait_for_workers(kafka, topics_config, group, step, told.append)
        assert steps == [(0, 0)], "nothing is left: it returns at once"
