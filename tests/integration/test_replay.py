"""Real histories through replay, Kafka, the evaluator and Redis: its counts are those of a few lines over the file.

RetroTech has impressions and clicks; Online Retail has purchases alone, so a storefront shows what the worker writes.
The whole files are ``python -m benchmarks.replay``.
"""

import csv
import json
import logging
import lzma
import os
import subprocess
import sys
import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks import replay
from evaluator.attribution.join import Attribution, JoinWindow
from evaluator.metrics.impression import AttributedImpression
from evaluator.metrics.rates import Tally, tally
from streams import reporting
from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.events.decode import decode_event
from streams.events.schema import AnyEvent
from streams.events.shelf import record_decoder
from streams.telemetry.meter import Snapshot
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.data, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)

LISTS = 500
DAY_MS = 86_400_000
RATE = "rate_impressions"
Open = Callable[[int, int], Shop]


@pytest.fixture
def shops(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path, data_folder: Path
) -> Iterator[Open]:
    """Makes a shop whose evaluator has this window and grace, and no other clock than the events."""
    opened: list[Any] = []

    def make(window_s: int, grace_s: int) -> Shop:
        config = topics_config.model_copy(update={"prefix": f"{topics_config.prefix}{len(opened)}-"})
        shop = Shop(kafka, redis_db, config, tmp_path)
        shop.env |= {
            "LIVESHELF_EVENTS__MAX_FUTURE_S": str(2 * (window_s + grace_s)),
            "LIVESHELF_EVALUATOR__WINDOW_S": str(window_s),
            "LIVESHELF_EVALUATOR__GRACE_S": str(grace_s),
            "LIVESHELF_EVALUATOR__IDLE_S": "600",
        }
        opened.append(shop.open())
        return opened[-1].__enter__()  # type: ignore[no-any-return]

    yield make
    for shop in reversed(opened):
        shop.__exit__(None, None, None)


def group(shop: Shop) -> str:
    return f"{shop.topics.prefix}{shop.group}-evaluator"


def taken(shop: Shop) -> int:
    return replay.totals(shop.redis, group(shop))["taken"]


def pass_time(shop: Shop, by_ms: int) -> int:
    """Wait until all events are taken, and let time go on from the newest; gives that one's."""
    until(lambda: taken(shop) == shop.ends(shop.topics.events), shop.log("evaluator-1").read_text, 0.25)
    newest = replay.totals(shop.redis, group(shop))["watermark"]
    replay.later(shop.producer, shop.topics.events, range(shop.config.topics.partitions), newest + by_ms)
    return newest


def closed(shop: Shop, window_s: int, grace_s: int) -> Counter[str]:
    """Wait until all events are taken, let time go on until nothing waits, and give the totals."""
    newest = pass_time(shop, JoinWindow(window_s * 1_000, grace_s * 1_000).settled_ms + 1_000)
    until(lambda: not replay.waiting(shop.redis, group(shop)), shop.log("evaluator-1").read_text, 0.25)
    found = replay.totals(shop.redis, group(shop))
    found["newest"] = newest
    return found


# RetroTech -----------------------------------------------------------------------------------------------------------


def agrees(shop: Shop) -> None:
    """In Redis, in the totals, in the snapshots and in the status, to the last click and at every place."""
    wanted = replay.offline(0, LISTS)
    found = closed(shop, replay.WINDOW_S, replay.GRACE_S)
    shown, clicked = wanted.total
    assert replay.in_redis(shop.redis, group(shop)) == wanted
    assert (found["closed.look"], found["closed.ignore"]) == (clicked, shown - clicked)
    assert not [name for name in found if name.startswith(("late", "orphan"))]
    day = replay.within_24h(LISTS, found["newest"], found["newest"] + 1_000)
    until(lambda: replay.in_snapshot(snapshot(shop), "24h") == day.total, lambda: repr(snapshot(shop).series[:9]))
    told = subprocess.run(
        [sys.executable, "-m", "liveshelf", "status"],
        env=os.environ | shop.env | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "nan" not in told, "no worker has timed anything"
    rows = [line.split("│") for line in told.splitlines() if "search" in line and "24h" in line]
    assert any(f"{day.total[0]:,}" in (cell.strip() for cell in row) for row in rows), told
    assert any(f"{day.total[1] / day.total[0]:.2%}" in (cell.strip() for cell in row) for row in rows), told


def snapshot(shop: Shop) -> Snapshot:
    return until(lambda: reporting.snapshots(shop.config, wall_ms() - 3_000, "evaluator"))[-1]  # type: ignore[no-any-return]


def test_click_rates_of_a_replayed_history_are_those_of_the_file(shops: Open, tmp_path: Path) -> None:
    shop = shops(replay.WINDOW_S, replay.GRACE_S)
    shop.start("evaluator-1", "evaluator")
    sending = replay.replaying(shop.env, tmp_path, replay.records(LISTS))
    assert sending.wait(60) == 0, sending.log.read_text()
    agrees(shop)
    events = replay.read(shop.config.kafka, shop.topics.events)
    shop.stop("evaluator-1")

    again = shops(replay.WINDOW_S, replay.GRACE_S)
    again.start("evaluator-1", "evaluator")
    history = [one for one in events if one[1] != b"later"]
    assert len(history) == replay.records(LISTS)
    shuffled = replay.mixed(history, replay.GRACE_S * 1_000, seed=1)
    assert len(shuffled) == len(history) + len(history) // 10
    again.produce(again.topics.events, [(key.decode(), value) for key, value in shuffled])
    agrees(again)


def test_five_kills_in_the_middle_of_a_replay_change_nothing(shops: Open, tmp_path: Path) -> None:
    shop, count = shops(replay.WINDOW_S, replay.GRACE_S), replay.records(LISTS)
    shop.start("evaluator-1", "evaluator")
    sending = replay.replaying(shop.env, tmp_path, count, "--rate", str(count / 12))
    for kill in range(1, 6):
        until(lambda: taken(shop) > count * kill // 8, shop.log("evaluator-1").read_text)  # noqa: B023
        shop.kill("evaluator-1")
        shop.start("evaluator-1", "evaluator")
    assert sending.wait(60) == 0, sending.log.read_text()
    agrees(shop)


# Online Retail -------------------------------------------------------------------------------------------------------

WINDOW_S, GRACE_S = 7 * 86_400, 30 * 86_400
"""A week to come back and buy; and, at three days a second, ten seconds for worker and storefront to answer."""

SPEED = 3 * 86_400
ON_SCREEN = 10


def september(data_folder: Path, folder: Path) -> Path:
    """The lines of September 2011 of customers who came on five days or more."""
    path = data_folder / "online_retail" / "transactions_to_2011-09-30.csv.xz"
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        day, customer = header.index("InvoiceDate"), header.index("CustomerID")
        month = [row for row in rows if row[day] >= "2011-09"]
    days = defaultdict(set)
    for row in month:
        days[row[customer]].add(row[day][:10])
    out = folder / "september.csv"
    with out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in month if row[customer] and len(days[row[customer]]) > 4)])
    return out


class Storefront(threading.Thread):
    """Shows every feed to its shopper as soon as it is written: the first ten items, a second after what it is about.

    No two feeds of a shopper are seen in the same millisecond, so that which one was seen last is never a question.
    """

    def __init__(self, shop: Shop) -> None:
        super().__init__(daemon=True)
        self.shop, self.over = shop, threading.Event()
        self.read, self.seen = 0, Counter[str]()

    def run(self) -> None:
        kafka, topics = self.shop.config.kafka.client(), self.shop.topics
        feeds = KafkaConsumer(topics.shelves, **kafka, group_id=None, auto_offset_reset="earliest")
        screen = KafkaProducer(**kafka, acks="all")
        while not self.over.is_set():
            for records in feeds.poll(timeout_ms=50).values():
                for record in records:
                    self.show(screen, record.value)
                screen.flush()
                self.read += len(records)
        screen.close()
        feeds.close()

    def show(self, screen: KafkaProducer, value: bytes) -> None:
        made = record_decoder.decode(value)
        if made.shelf.surface != "feed" or made.shopper is None or not made.shelf.items:
            return
        self.seen[made.shopper] += 1
        first = [{"item_id": item.item_id, "position": n} for n, item in enumerate(made.shelf.items[:ON_SCREEN])]
        event = {
            "type": "impression",
            "event_id": f"seen-{made.shelf.shelf_id}",
            "ts": made.shelf.event_ts + 1_000 + self.seen[made.shopper],
            "user_id": made.shopper,
            "shelf_id": made.shelf.shelf_id,
            "surface": "feed",
            "items": first,
        }
        screen.send(self.shop.topics.events, key=made.shopper.encode(), value=json.dumps(event).encode())


@dataclass
class Sums:
    """What came of the impressions: how many led to a purchase, purchases that no impression led to, and revenue."""

    impressions: int = 0
    bought: int = 0
    pence: int = 0
    orphans: int = 0
    late: int = 0


def partitions(shop: Shop) -> list[list[bytes]]:
    """Each partition's events, in the order of offsets."""
    numbers = [TopicPartition(shop.topics.events, n) for n in range(shop.config.topics.partitions)]
    shop.reader.assign(numbers)
    shop.reader.seek_to_beginning()
    ends, found = shop.reader.end_offsets(numbers), defaultdict(list)
    while any(shop.reader.position(number) < ends[number] for number in numbers):
        for number, records in shop.reader.poll(timeout_ms=500).items():
            found[number.partition] += [record.value for record in records]
    return list(found.values())


def joined(topic: Sequence[Sequence[bytes]]) -> Sums:
    """By the offline join."""
    found = Sums()
    for values in topic:
        join, ended = Attribution(JoinWindow(WINDOW_S * 1_000, GRACE_S * 1_000)), list[AttributedImpression]()
        for value in values:
            event = decode_event(value, wall_ms(), EventsConfig())
            assert isinstance(event, AnyEvent)
            join.update(event)
            ended += join.advance(event.time_ms)
        ended += join.advance(10**15)
        sums = Tally()
        for one in ended:
            sums.add(tally(one))
        counts = join.get()
        found.impressions += sums.impressions
        found.bought += sums.purchases
        found.pence += round(100 * sums.revenue)
        found.orphans += counts.orphans.total()
        found.late += counts.late.total()
    return found


def counted(topic: Sequence[Sequence[bytes]]) -> Sums:
    """By sorting what each shopper saw of each item, and looking for the last sight before each purchase."""
    found = Sums()
    sights: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    purchases: dict[str, dict[str, Any]] = {}
    for values in topic:
        newest = 0
        for event in map(json.loads, values):
            if event["ts"] < newest - GRACE_S * 1_000:
                found.late += event["type"] != "search"
                continue
            newest = max(newest, event["ts"])
            if event["type"] == "impression":
                for shown in event["items"]:
                    sights[event["user_id"], shown["item_id"]].add(event["ts"])
            elif event["type"] == "purchase":
                purchases[event["event_id"]] = event
    led: set[tuple[str, str, int]] = set()
    times = {key: sorted(some) for key, some in sights.items()}
    for bought in purchases.values():
        key = bought["user_id"], bought["item_id"]
        before = bisect_right(times.get(key, []), bought["ts"])
        if before and bought["ts"] - times[key][before - 1] <= WINDOW_S * 1_000:
            led.add((*key, times[key][before - 1]))
            found.pence += round(100 * bought["price"] * bought["quantity"])
        else:
            found.orphans += 1
    found.impressions, found.bought = sum(map(len, times.values())), len(led)
    return found


def live(shop: Shop, totals: Mapping[str, int]) -> Sums:
    """By the evaluator, from Redis."""
    rates = Counter[str]()
    for (what, _), value in replay.rates(shop.redis, group(shop)).items():
        rates[what] += value
    assert rates["impressions"] == totals["closed.buy"] + totals["closed.ignore"]
    assert rates["purchases"] == rates["clicks"] == totals["closed.buy"]
    late = sum(count for name, count in totals.items() if name.startswith("late."))
    pence = round(100 * rates["revenue"])
    return Sums(int(rates["impressions"]), int(rates["purchases"]), pence, totals["orphan.purchase"], late)


def owners(shop: Shop) -> set[tuple[str, bool]]:
    """The arms that what was seen is counted for, and whether a model is named: by the feeds' own records."""
    return {(one.labels["arm"], bool(one.labels["model"])) for one in snapshot(shop).series if one.name == RATE}


def test_what_shoppers_buy_next_is_held_against_what_they_were_shown(
    shops: Open, data_folder: Path, tmp_path: Path
) -> None:
    shop = shops(WINDOW_S, GRACE_S)
    path = september(data_folder, tmp_path)
    command = [sys.executable, "-m", "liveshelf"]
    env = os.environ | shop.env
    subprocess.run(
        [*command, "import", "items", str(path), "--preset", "online_retail_items"],
        env=env, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    shop.start("evaluator-1", "evaluator")
    shop.start()
    shop.ready(shop.ends(shop.topics.items))
    front = Storefront(shop)
    front.start()
    subprocess.run(
        [*command, "replay", str(path), "--preset", "online_retail", "--speed", str(SPEED)],
        env=env, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    until(lambda: shop.committed() == shop.ends(shop.topics.events), shop.log().read_text, 0.25)
    until(lambda: front.read == shop.ends(shop.topics.shelves))  # no shelf comes of what is shown
    front.over.set()
    front.join()
    pass_time(shop, (WINDOW_S + GRACE_S + 1) * 1_000)
    until(lambda: owners(shop) == {("champion", True)}, lambda: repr(owners(shop)))
    totals = closed(shop, WINDOW_S, GRACE_S)
    topic = partitions(shop)
    wanted = counted(topic)
    assert joined(topic) == wanted
    assert live(shop, totals) == wanted
    assert wanted.late == 0
    assert wanted.bought > 20 and wanted.orphans > 1_000
