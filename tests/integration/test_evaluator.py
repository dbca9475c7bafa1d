"""The evaluator as a process on real servers: its counts are those of an offline join, killed or not."""

import json
import logging
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import TopicPartition

from benchmarks.replay import later
from evaluator.attribution.example import LabelledExample
from evaluator.attribution.join import Attribution, JoinWindow
from evaluator.attribution.shelf_store import BUCKETS, bucket
from evaluator.attribution.store import numbers
from evaluator.monitoring.alerts import alert
from evaluator.monitoring.alerts.alert import Alert
from streams import reporting
from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.events.decode import decode_event
from streams.events.schema import AnyEvent
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, encoder
from streams.redis.store import EFFECTS
from streams.telemetry.meter import Snapshot
from tests.clicks import browsing
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)

WINDOW_S, GRACE_S = 600, 120
IDLE_NEVER = "3600"
START = 1_750_000_000_000


def visits(count: int, seed: int, start: int = START) -> list[tuple[int, str, bytes]]:
    """What shoppers saw and did, by event time: key and value."""
    chance, found = random.Random(seed), []
    for number in range(count):
        user, ts = f"u{chance.randrange(300)}", start + number * 1_000 + chance.randrange(1_000)
        items = chance.sample(range(100), 5)
        shown = {
            "type": "impression",
            "event_id": f"v{number}",
            "ts": ts,
            "user_id": user,
            "shelf_id": f"s{number % 50}",
            "surface": "feed" if number % 3 else "search",
            "items": [{"item_id": f"i{item}", "position": place} for place, item in enumerate(items)],
        }
        found.append((ts, user, json.dumps(shown).encode()))
        for act in range(chance.choice([0, 0, 1, 2])):
            later = ts + chance.randrange(1_000_000)  # some after the window
            done = {
                "type": chance.choice(["click", "read", "cart", "purchase"]),
                "event_id": f"a{number}.{act}",
                "ts": later,
                "user_id": user,
                "item_id": f"i{chance.choice(items)}",
                "price": 2.5,
            }
            if chance.random() < 0.7:
                done["shelf_id"] = shown["shelf_id"]
            found.append((later, user, json.dumps(done).encode()))
    return sorted(found)


def mixed(events: list[tuple[int, str, bytes]], seed: int) -> list[tuple[str, bytes]]:
    """Shuffled within the grace, a tenth of them twice, and some records that are no events."""
    chance = random.Random(seed)
    again = chance.sample(events, len(events) // 10)
    order = sorted(((ts + chance.randrange(GRACE_S * 1_000 - 1), user, value) for ts, user, value in [*events, *again]))
    records = [(user, value) for _, user, value in order]
    for _ in range(20):
        records.insert(chance.randrange(len(records)), ("u1", b"{broken"))
    return records


def offline(events: list[tuple[int, str, bytes]]) -> Counter[tuple[str, str, str, int, str]]:
    """Every impression with what it led to, joined in memory."""
    join = Attribution(JoinWindow(WINDOW_S * 1_000, GRACE_S * 1_000))
    for ts, _, value in events:
        event = decode_event(value, ts, EventsConfig())
        assert isinstance(event, AnyEvent)
        join.update(event)
    closed = join.advance(10**15)
    return Counter((one.shopper, one.item_id, one.shelf_id, one.ts, one.intent) for one in closed)


@contextmanager
def opened(shop: Shop) -> Iterator[Shop]:
    """A shop whose evaluators close soon."""
    shop.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": str(WINDOW_S),
        "LIVESHELF_EVALUATOR__GRACE_S": str(GRACE_S),
        "LIVESHELF_EVALUATOR__IDLE_S": "3",
        "LIVESHELF_EVALUATOR__BATCH_EVENTS": "50",
    }
    with shop.open():
        yield shop


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    with opened(Shop(kafka, redis_db, topics_config, tmp_path)) as shop:
        yield shop


def told(made: list[LabelledExample]) -> Counter[tuple[str, str, str, int, str]]:
    return Counter((one.shopper, one.item_id, one.shelf_id, one.ts, one.intent) for one in made)


def close(shop: Shop, events: Sequence[tuple[int, str, bytes]]) -> None:
    """Let time go on in every partition until all impressions are closed, as something later arrives there."""
    until_ms = max(ts for ts, *_ in events) + (WINDOW_S + 2 * GRACE_S) * 1_000
    later(shop.producer, shop.topics.events, range(shop.config.topics.partitions), until_ms)


def left(shop: Shop) -> int:
    """Impressions and outcomes that still wait in Redis."""
    return sum(shop.redis.hlen(key) for key in shop.redis.scan_iter("ls:*:state"))


def made_shelf(shelf_id: str, at: int = 1) -> ShelfRecord:
    items = [ShelfItem(f"i{number}", 1.0, 0.1, 0.1, 0.1, "vector") for number in range(100)]
    shelf = Shelf(shelf_id=shelf_id, surface="feed", model="m7", arm="canary", made_at=at, event_ts=1, items=items)
    return ShelfRecord(key="k", shopper=None, query="tv", shelf=shelf, propensities=[0.5] * 100, history=["i1"])


def test_counts_are_those_of_an_offline_join_through_five_kills(shop: Shop) -> None:
    events = visits(1_500, seed=1)
    records = mixed(events, seed=2)
    wanted = offline(events)
    assert {intent for *_, intent in wanted} == {"buy", "read", "look", "ignore"}
    shelves = [made_shelf(f"s{number}") for number in range(50) for _ in range(40)]
    shop.produce(shop.topics.shelves, [(record.shelf.shelf_id, encoder.encode(record)) for record in shelves])
    step = len(records) // 6
    for kill in range(6):
        shop.produce(shop.topics.events, records[kill * step : (kill + 1) * step if kill < 5 else None])
        shop.start("evaluator-1", "evaluator")
        if kill < 5:
            before = shop.ends(shop.topics.examples) if kill else 0
            until(lambda: shop.ends(shop.topics.examples) > before or left(shop) > 400 * (kill + 1) // 2)  # noqa: B023
            shop.kill("evaluator-1")
    until(lambda: sum(told(shop.examples()).values()) >= wanted.total() and not left(shop))
    made = shop.examples()
    assert told(made) == wanted
    labels = {(one.model, one.arm, one.query, one.propensity) for one in made}
    assert labels == {("m7", "canary", "tv", 0.5)}, "no impression is closed before its shelf is known"
    totals = counted(shop)
    assert {name: totals[f"closed.{name}"] for name in ("buy", "read", "look", "ignore")} == {
        name: sum(count for (*_, intent), count in wanted.items() if intent == name)
        for name in ("buy", "read", "look", "ignore")
    }
    assert not any(name.startswith("late.") for name in totals)
    rates = [shop.redis.hgetall(key) for key in shop.redis.scan_iter("ls:*:rates:*")]
    shown = (float(value) for fields in rates for name, value in fields.items() if name.endswith(b"\xa10"))
    assert sum(shown) == wanted.total()


def saved(shop: Shop) -> dict[bytes, bytes | None]:
    """All that Redis holds of the partitions, as it is now; nobody may write meanwhile."""
    return {key: shop.redis.dump(key) for key in shop.redis.scan_iter("ls:*evaluator.*")}


def counted(shop: Shop) -> Counter[str]:
    """What was counted, over all partitions."""
    found: Counter[str] = Counter()
    for key in set(shop.redis.scan_iter("ls:*:meta")):  # a node of a cluster that came back may tell of them too
        found.update(numbers(shop.redis.hgetall(key)))
    return found


def taken(shop: Shop) -> int:
    """Events of which Redis has what they changed."""
    metas = [shop.redis.hgetall(key) for key in shop.redis.scan_iter("ls:*:meta")]
    return sum(int(meta[b"offset"]) + 1 for meta in metas)


@pytest.mark.parametrize("restarted, more", [(False, True), (True, False)])
def test_commits_that_redis_lost_are_made_again(shop: Shop, restarted: bool, more: bool) -> None:
    """As when a replica takes a master's place without the last it was to be told, or a disc lacks the last second."""
    shop.env |= {"LIVESHELF_EVALUATOR__IDLE_S": IDLE_NEVER, "LIVESHELF_EVALUATOR__INSTANCE": "evaluator-1"}
    events = visits(600, seed=5)
    records = mixed(events, seed=6)
    third = len(records) // 3
    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, records[:third])
    until(lambda: taken(shop) == third)
    before = saved(shop)
    reached = 2 * third if more else len(records)
    shop.produce(shop.topics.events, records[third:reached])
    until(lambda: taken(shop) == reached)
    group = shop.env["LIVESHELF_EVALUATOR__GROUP"]
    until(lambda: committed(shop, group) == reached)
    if restarted:
        shop.stop("evaluator-1")
    with shop.redis.pipeline(transaction=True) as pipe:
        for key in shop.redis.scan_iter("ls:*evaluator.*"):
            pipe.delete(key)
        for key, value in before.items():
            if value is not None:
                pipe.restore(key, 0, value)
        pipe.execute()
    assert taken(shop) == third
    if restarted:
        shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, records[reached:])
    close(shop, events)
    wanted = offline(events)
    until(
        lambda: told(shop.examples()) == wanted and not left(shop),
        lambda: f"{left(shop)} left\n{shop.log('evaluator-1').read_text()}",
    )
    assert "are taken again" in shop.log("evaluator-1").read_text()


def committed(shop: Shop, group: str) -> int:
    """How many events a group has committed."""
    offsets = shop.admin.list_group_offsets(group)
    return sum(max(0, at.offset) for at in offsets.get(group, offsets).values())


def shelves_read(shop: Shop) -> int:
    """Shelf records that all buckets have."""
    marks = [shop.redis.hgetall(key) for key in shop.redis.scan_iter("ls:*:marks")]
    if len(marks) < BUCKETS:
        return 0
    return sum(min(int(one[name]) for one in marks) for name in marks[0] if name.endswith(b".offset"))


def shown_once(number: int) -> bytes:
    return json.dumps(
        {
            "type": "impression",
            "event_id": f"v{number}",
            "ts": wall_ms(),
            "user_id": f"u{number}",
            "shelf_id": f"s{number}",
            "surface": "feed",
            "items": [{"item_id": "i1", "position": 0}],
        }
    ).encode()


def click(number: int, name: str) -> tuple[str, bytes]:
    """An event that comes of nothing that was shown."""
    event = {"type": "click", "event_id": f"{name}{number}", "ts": wall_ms(), "user_id": f"u{number}", "item_id": "x"}
    return f"u{number}", json.dumps(event).encode()


@pytest.mark.parametrize("restarted, gone", [(False, False), (True, False), (False, True)])
def test_shelves_that_redis_lost_are_read_again(shop: Shop, restarted: bool, gone: bool) -> None:
    """As when one master of a cluster dies, and with it its last shelves, or all. Kafka was told that they are done."""
    shop.env |= {f"LIVESHELF_EVALUATOR__{name}": "2" for name in ("WINDOW_S", "GRACE_S", "IDLE_S")}
    shop.env["LIVESHELF_EVALUATOR__INSTANCE"] = "evaluator-1"
    count, group = 40, shop.env["LIVESHELF_EVALUATOR__GROUP"]

    def make(first: int, last: int) -> None:
        made = [made_shelf(f"s{number}", wall_ms() if first else 1) for number in range(first, last)]
        shop.produce(shop.topics.shelves, [(record.shelf.shelf_id, encoder.encode(record)) for record in made])
        until(lambda: shelves_read(shop) == last and committed(shop, f"{group}-shelves") == last)

    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, [click(number, "before") for number in range(count)])
    until(lambda: taken(shop) == count)
    make(0, 10)
    before = saved(shop)
    make(10, count)
    shop.produce(shop.topics.events, [(f"u{number}", shown_once(number)) for number in range(10, count)])
    until(lambda: len(shop.examples()) == count - 10 and committed(shop, group) == 2 * count - 10)
    made, twice = shop.examples(), 2 * shop.ends(shop.topics.examples)
    if restarted:
        shop.stop("evaluator-1")
    lost = f".shelves.{bucket('s10')}}}:".encode()
    with shop.redis.pipeline(transaction=True) as pipe:
        for key in shop.redis.scan_iter("ls:*evaluator.*"):
            if b".shelves." not in key or lost in key:
                pipe.delete(key)
        for key, value in before.items():
            if value is not None and (b".shelves." not in key or (lost in key and not gone)):
                pipe.restore(key, 0, value)
        pipe.execute()
    if restarted:
        shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, [click(number, "after") for number in range(count)])
    log = shop.log("evaluator-1")
    until(lambda: shop.ends(shop.topics.examples) >= twice, why=lambda: log.read_text()[-5_000:])
    assert sorted(shop.examples(), key=str) == sorted(made, key=str)
    assert {(one.model, one.arm, one.query) for one in made} == {("m7", "canary", "tv")}
    until(lambda: shelves_read(shop) == count)
    assert len(list(shop.redis.scan_iter("ls:*.shelves.*:shelf:*"))) == count
    assert "shelves: Redis lost what came after" in log.read_text()


def test_two_evaluators_share_the_partitions_and_hand_them_over(shop: Shop) -> None:
    shop.env["LIVESHELF_EVALUATOR__IDLE_S"] = IDLE_NEVER  # what came after one has ended would be late
    shop.env["LIVESHELF_EVALUATOR__SESSION_TIMEOUT_S"] = "6"  # one that has ended is missed after so long
    events = visits(600, seed=3, start=wall_ms() - 3 * 3_600_000)
    records = mixed(events, seed=4)
    shop.start("evaluator-1", "evaluator")
    shop.start("evaluator-2", "evaluator")
    shop.produce(shop.topics.events, records[: len(records) // 2])
    until(lambda: left(shop) > 200 or shop.ends(shop.topics.examples) > 100)
    shop.stop("evaluator-1")
    shop.produce(shop.topics.events, records[len(records) // 2 :])
    close(shop, events)
    wanted = offline(events)
    until(
        lambda: sum(told(shop.examples()).values()) >= wanted.total() and not left(shop),
        lambda: f"{left(shop)} left, {[shop.redis.hgetall(key) for key in shop.redis.scan_iter('ls:*:meta')]}",
    )
    assert told(shop.examples()) == wanted
    until(lambda: shown(shop) == wanted.total(), lambda: f"{shown(shop)} of {wanted.total()} shown")
    shop.start("evaluator-1", "evaluator")
    until(lambda: sharing(shop) == 2)
    until(lambda: shown(shop) == wanted.total(), lambda: f"{shown(shop)} of {wanted.total()}: each counts once")


def test_touches_beside_expected_ones_are_counted_through_a_kill(shop: Shop) -> None:
    shop.env["LIVESHELF_STATE__EFFECTS_HALF_LIFE_S"] = str(9 * 365 * 86_400)
    now, total, touched = wall_ms(), 0, 0
    shelves = [made_shelf(f"s{number}") for number in range(50)]
    shop.produce(shop.topics.shelves, [(record.shelf.shelf_id, encoder.encode(record)) for record in shelves])
    for hours in (5, 2):
        shop.start("evaluator-1", "evaluator")
        until(lambda: shelves_read(shop) == len(shelves))
        events = [
            (ts, user, value.replace(b'"event_id": "', b'"event_id": "%d.' % hours))
            for ts, user, value in visits(200, seed=hours, start=now - hours * 3_600_000)
        ]
        shop.produce(shop.topics.events, [(user, value) for _, user, value in events])
        close(shop, events)
        wanted = offline(events)
        total += wanted.total()
        touched += sum(count for (*_, intent), count in wanted.items() if intent != "ignore")
        whole = pytest.approx((0.3 * total, touched), rel=1e-3)
        until(
            lambda whole=whole: counted_places(shop) == whole,  # type: ignore[misc]
            lambda whole=whole: f"{counted_places(shop)} instead of {whole}",  # type: ignore[misc]
        )
        shop.kill("evaluator-1")


def counted_places(shop: Shop) -> tuple[float, float]:
    """Expected touches and touches of all places on pages."""
    rows = [struct.unpack("<ddq", value) for name, value in shop.redis.hgetall(EFFECTS).items() if b" place " in name]
    return sum(expected for expected, *_ in rows), sum(touches for _, touches, _ in rows)


def latest(shop: Shop) -> list[Snapshot]:
    """The last snapshot of each evaluator that runs."""
    found = reporting.snapshots(shop.config, wall_ms() - 3_000, "evaluator")
    return list({snapshot.id: snapshot for snapshot in found}.values())


def shown(shop: Shop) -> int:
    """Impressions of the last day, as the evaluators tell them together."""
    series = [one for snapshot in latest(shop) for one in snapshot.series]
    return int(sum(one.value for one in series if one.name == "rate_impressions" and one.labels["window"] == "24h"))


def sharing(shop: Shop) -> int:
    """Evaluators that have something to tell of."""
    return sum(any(one.name == "rate_impressions" for one in snapshot.series) for snapshot in latest(shop))


def test_fewer_clicks_raise_an_alert_and_more_take_it_back(shop: Shop) -> None:
    shop.env |= {
        "LIVESHELF_EVALUATOR__WATCH_LEARN": "2000",
        "LIVESHELF_EVALUATOR__WATCH_RUN_LENGTH": "5000",
        "LIVESHELF_EVALUATOR__WATCH_RECOVER": "1000",
    }
    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, browsing([(0.2, 900), (0.02, 500), (0.3, 900)]))
    told = until(lambda: found if len(found := alerts(shop)) >= 2 else None)
    assert [(one.state, one.name, one.labels) for one in told] == [
        ("firing", "click_rate_drop", {"surface": "feed", "arm": ""}),
        ("resolved", "click_rate_drop", {"surface": "feed", "arm": ""}),
    ]
    assert float(told[0].evidence["rate"]) < 0.1 < float(told[0].evidence["reference"])
    assert told[1].until is not None and told[1].since == told[0].since


def alerts(shop: Shop) -> list[Alert]:
    """All of the topic, in order."""
    partition = TopicPartition(shop.topics.alerts, 0)
    shop.reader.assign([partition])
    shop.reader.seek_to_beginning()
    end, found = shop.reader.end_offsets([partition])[partition], []
    while shop.reader.position(partition) < end:
        for records in shop.reader.poll(timeout_ms=500).values():
            found += [alert.decoder.decode(record.value) for record in records]
    return found
