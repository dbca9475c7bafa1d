"""The live join on a real Redis and a real broker: an event that breaks it is as if it were no event."""

import asyncio
import dataclasses
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import date

import msgspec
import pytest
import redis as sync
from redis.asyncio import Redis

from evaluator.attribution import partition
from evaluator.attribution.items import Items
from evaluator.attribution.join import Attribution
from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.attribution.shelf_store import OffsetRange
from evaluator.attribution.store import JoinStore
from evaluator.attribution.stream_join import StreamJoin
from evaluator.config import EvaluatorConfig
from evaluator.metrics.impression import View
from streams.clock import BY_BROKER, wall_ms
from streams.config import EventsConfig, KafkaConfig, StateConfig, StreamsConfig, TopicsConfig
from streams.events.schema import AnyEvent
from streams.kafka import dead_letters, topics
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

pytestmark = pytest.mark.integration

HOUR = 3_600_000


def records(config: TopicsConfig, bad: bytes) -> list[Record]:
    """Events of one partition, of which three are given."""
    found = []
    for number in range(12):
        event = {"event_id": f"e{number}", "ts": HOUR + number, "user_id": f"u{number % 3}"}
        event |= {"type": "click", "item_id": "i"} if number % 2 else {
            "type": "impression", "shelf_id": "s", "surface": "feed", "items": [{"item_id": "i", "position": 0}],
        }  # fmt: skip
        value = bad if number in (3, 4, 9) else json.dumps(event).encode()
        found.append(Record(Topics(config.prefix).events, 0, number, 9 * HOUR, b"u", value))
    return found


def state(
    kafka: KafkaConfig,
    url: str,
    config: TopicsConfig,
    batches: Sequence[Sequence[Record]],
    every: Sequence[Record] = (),
    meanwhile: Callable[[StreamJoin, "Redis"], Awaitable[None]] | None = None,
    progress: Callable[[], None] = lambda: None,
    clock: Callable[[], int] = wall_ms,
    forgotten: Mapping[str, int] | None = None,
) -> tuple[dict[bytes, dict[bytes, bytes]], dict[str, int]]:
    """What Redis holds after batches, and what was counted; a process for each, that may read again what there was. Or
    one for all, and something happens before the last batch."""
    group, meter = uuid.uuid4().hex, Meter("evaluator", "e", 0)

    async def gone(*_: int) -> bool:
        return False

    class Forgetting(StateStore):
        async def forgotten(self, shoppers: Sequence[str]) -> dict[str, int]:
            return {one: until for one, until in (forgotten or {}).items() if one in shoppers}

    async def read_again(_: int, first: int, before: int | None) -> AsyncGenerator[Sequence[Record]]:
        assert before is not None
        yield [record for record in every if first <= record.offset < before]

    async def run() -> None:
        client = Redis.from_url(url)
        store = JoinStore(client, group, state_ttl_s=100, rates_ttl_s=100, shelf_ttl_s=100)
        await store.shelves.begin(0, 0)
        await store.shelves.remember({}, [OffsetRange(0, 0, 1, 10 * HOUR)])
        streams = StreamsConfig(kafka=kafka, topics=config, events=EventsConfig(earliest=date(1970, 1, 1)))
        async with Producer(streams, meter) as send:
            for number, batch in enumerate(batches):
                if not number or meanwhile is None:
                    join = StreamJoin(
                        store, send, meter, Topics(config.prefix), EvaluatorConfig(), streams.events, Items(), 1,
                        DeadLetterWriter(send, config), gone, read_again, None, progress, clock,
                        Forgetting(client, StateConfig()),
                    )  # fmt: skip
                if meanwhile is not None and number == len(batches) - 1:
                    await meanwhile(join, client)
                await asyncio.gather(*await join.process(batch))
        await client.aclose()

    asyncio.run(run())
    with sync.Redis.from_url(url) as client:
        keys = [key for key in client.keys(f"*{group}.0*") if client.type(key) == b"hash"]
        found = {key.replace(group.encode(), b""): client.hgetall(key) for key in keys}
        for values in found.values():
            values.pop(b"commit", None)  # a name that nobody else has
        return found, meter.snapshot(1).counts


def test_an_event_that_breaks_alone_is_as_if_it_were_none(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.create(kafka, topics_config)
    hostile = json.dumps({"type": "click", "event_id": "hostile", "ts": 2 * HOUR, "user_id": "u1", "item_id": "i"})
    update = Attribution.update

    def breaks(self: Attribution, event: AnyEvent) -> None:
        update(self, event)
        if event.event_id == "hostile":
            raise ZeroDivisionError("by a hostile event")

    monkeypatch.setattr(Attribution, "update", breaks)
    given = records(topics_config, hostile.encode())
    plain, _ = state(kafka, redis_db, topics_config, [records(topics_config, b"{")])
    whole, counts = state(kafka, redis_db, topics_config, [given])
    assert whole == plain, "they moved the offset, and nothing else"
    assert (counts["events"], counts["refused"]) == (9, 3)
    letters = list(dead_letters.read(kafka, topics_config))
    assert sorted((one.reason, one.source.offset) for one in letters) == [
        ("internal", 3),
        ("internal", 4),
        ("internal", 9),
    ]
    assert all("evaluator" in one.detail and "by a hostile event" in one.detail for one in letters)
    assert all(one.source.value == hostile.encode() for one in letters)
    again, _ = state(kafka, redis_db, topics_config, [given[:5], given[:5], given[2:9], given])
    assert again == plain, "however they fall into batches, and taken again"
    healed, _ = state(kafka, redis_db, topics_config, [given[:2], given[7:8], given[10:]], given)
    assert healed == plain, "what Redis lost is read again, and what broke then breaks nothing now"


def test_what_a_forgotten_shopper_saw_gives_no_example_and_counts_in_the_rates(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig
) -> None:
    topics.create(kafka, topics_config)
    given = records(topics_config, b"{")
    later = json.dumps({"type": "click", "event_id": "l", "ts": 3 * HOUR, "user_id": "v", "item_id": "i"}).encode()
    given.append(Record(given[0].topic, 0, 12, 9 * HOUR, b"v", later))
    whole, counts = state(kafka, redis_db, topics_config, [given])
    config = topics_config.model_copy(update={"prefix": f"{topics_config.prefix}x-"})
    topics.create(kafka, config)
    without, fewer = state(kafka, redis_db, config, [given], forgotten={"u0": HOUR + 3, "u2": HOUR - 1, "nobody": HOUR})
    assert (counts["closed"], fewer["closed"], fewer["examples.forgotten"]) == (3, 3, 1)
    assert without == whole, "rates and totals are the same"
    made = [
        json.loads(one.value)["shopper"]
        for one in contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).examples)
    ]
    assert sorted(made) == ["u1", "u2"], "of u2 an earlier time was forgotten"


def test_a_partition_that_redis_lost_altogether_is_taken_again_from_where_it_was_begun(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig
) -> None:
    async def lost(_: StreamJoin, client: "Redis") -> None:
        await client.flushdb()

    topics.create(kafka, topics_config)
    given = records(topics_config, b"{")
    plain, _ = state(kafka, redis_db, topics_config, [given[2:]])
    healed, _ = state(kafka, redis_db, topics_config, [given[2:5], given[5:9], given[9:]], given, lost)
    assert healed == plain, "and nothing of what came before"


@pytest.mark.parametrize("dated_by", ["its broker", "its producer", "its producer, who claims anything"])
def test_the_same_log_counts_the_same_whenever_it_is_read(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, dated_by: str
) -> None:
    """Three events tell of a time two hours after they came; where nobody but they and their producer says so, one who
    reads them before it has come refuses them."""
    topics.create(kafka, topics_config)
    came, later = 9 * HOUR, {"type": "click", "event_id": "later", "ts": 11 * HOUR, "user_id": "u1", "item_id": "i"}
    plain, _ = state(kafka, redis_db, topics_config, [records(topics_config, b"{")])
    given = [
        dataclasses.replace(
            one,
            timestamp_ms=11 * HOUR if dated_by == "its producer, who claims anything" else came,
            timestamp_type=BY_BROKER if dated_by == "its broker" else 0,
        )
        for one in records(topics_config, json.dumps(later).encode())
    ]
    for now in {"its broker": (0, came, 20 * HOUR), "its producer": (came, 20 * HOUR)}.get(dated_by, (came,)):
        found, counts = state(kafka, redis_db, topics_config, [given], clock=lambda now=now: now)  # type: ignore[misc]
        assert (found, counts["refused"]) == (plain, 3), now


def test_what_is_closed_again_is_measured_once(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(_: StreamJoin, client: "Redis") -> None:
        await client.delete(*await client.keys("ls:*.0}:meta"), *await client.keys("ls:*.0}:state"))

    topics.create(kafka, topics_config)
    seen, update = list[tuple[str, int]](), LiveMetrics.update

    def sees(self: LiveMetrics, views: Sequence[View]) -> None:
        seen.extend((view.shopper, view.ts) for view in views)
        update(self, views)

    monkeypatch.setattr(LiveMetrics, "update", sees)
    given, event = records(topics_config, b"{"), {"type": "click", "ts": 9 * HOUR, "user_id": "u1", "item_id": "i"}
    for number in (12, 13):
        late = json.dumps({**event, "event_id": f"late{number}"}).encode()
        given.append(Record(Topics(topics_config.prefix).events, 0, number, 9 * HOUR, b"u", late))
    state(kafka, redis_db, topics_config, [given[:13], given[13:]], given, lost)
    assert len(seen) == len(set(seen)) == 3


def test_what_another_took_meanwhile_and_redis_lost_is_taken_again(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig
) -> None:
    """A partition was another's for a moment; Redis is back where it was before, which is what is known here."""

    async def revoked(join: StreamJoin, _: "Redis") -> None:
        join.revoked()

    topics.create(kafka, topics_config)
    given = records(topics_config, b"{")
    plain, _ = state(kafka, redis_db, topics_config, [given])
    healed, _ = state(kafka, redis_db, topics_config, [given[:5], given[9:]], given, revoked)
    assert healed == plain


def test_what_one_event_closes_goes_in_many_commits_each_of_which_is_progress(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.create(kafka, topics_config)
    late = json.dumps({"type": "click", "event_id": "late", "ts": 9 * HOUR, "user_id": "u1", "item_id": "i"}).encode()
    given = [*records(topics_config, b"{"), Record(Topics(topics_config.prefix).events, 0, 12, 9 * HOUR, b"u", late)]
    whole, _ = state(kafka, redis_db, topics_config, [given])
    progress = list[None]()
    monkeypatch.setattr(partition, "MOST_CHANGES", 2)
    steps, _ = state(kafka, redis_db, topics_config, [given], progress=lambda: progress.append(None))
    assert steps == whole and len(progress) > 4


def test_figures_that_break_hold_nothing_up(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.create(kafka, topics_config)
    given = records(topics_config, b"{")
    plain, _ = state(kafka, redis_db, topics_config, [given])

    def breaks(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(StreamJoin, "_measure", breaks)
    found, counts = state(kafka, redis_db, topics_config, [given])
    assert found == plain
    assert counts["figures.failed"] == 1
    assert list(dead_letters.read(kafka, topics_config)) == [], "the decoder's refusals are the worker's to write"


def test_an_idle_partition_delays_no_monitor(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig) -> None:
    """And what it gets in a batch with others reaches the monitors in the order of time."""
    topics.create(kafka, topics_config)
    first, now, seen = records(topics_config, b"{}"), [10 * HOUR], list[tuple[str, float]]()

    def shown(hours: Sequence[int], surface: str, partition: int) -> list[Record]:
        events = [msgspec.json.decode(first[0].value or b"") | {"ts": at * HOUR, "surface": surface} for at in hours]
        return [
            dataclasses.replace(
                first[0], partition=partition, offset=20 + at, timestamp_ms=now[0], value=json.dumps(event).encode()
            )
            for at, event in zip(hours, events, strict=True)
        ]

    async def one_goes_idle(join: StreamJoin, _: "Redis") -> None:
        join.metrics.load({}, {})
        update = join.metrics.monitors.update

        def note(view: View) -> None:
            seen.append((view.surface, view.ts / HOUR))
            update(view)

        join.metrics.monitors.update = note  # type: ignore[method-assign]
        join.config = join.config.model_copy(update={"idle_s": 0.0})
        await asyncio.gather(*await join.process([dataclasses.replace(one, partition=1) for one in first]))
        await join.keep([0, 1])
        for _attempt in range(2):
            await asyncio.gather(*await join.advance_idle([1]))
        seen.clear()
        now[0] = 30 * HOUR
        await join.store.shelves.remember({}, [OffsetRange(0, 1, 2, 30 * HOUR)])
        await asyncio.gather(*await join.process(shown((12, 14), "search", 0)))
        assert ("search", 12.0) in seen, "what partition 0 attributed waits for partition 1, which is idle"
        seen.clear()
        await asyncio.gather(*await join.process([*shown((16, 18), "search", 0), *shown((15, 17), "feed", 1)]))
        assert [time for _, time in seen] == sorted(time for _, time in seen) and ("feed", 15.0) in seen

    state(kafka, redis_db, topics_config, [first, []], meanwhile=one_goes_idle, clock=lambda: now[0])
