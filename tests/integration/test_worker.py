"""Workers as processes on real servers: catalogue changes, restarts, scale-out, and a broker that goes away."""

import itertools
import json
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liveshelf.stack.kafka import LocalKafka
from models.intents import TREND_WEIGHTS
from streams.config import KafkaConfig, TopicsConfig
from streams.events.filters import Filter
from streams.kafka.dead_letter_topic import replay
from streams.redis import keys
from tests.shop import Shop, databases, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)  # it cannot read what Faust adds to a membership, and says so

WORDS = ("red", "blue", "usb", "hdmi", "cable", "hub", "charger", "mouse", "pad")


def item(item_id: str, title: str, **more: Any) -> bytes:
    return json.dumps({"item_id": item_id, "title": title, **more}).encode()


ITEMS = {f"i{n}": item(f"i{n}", f"{WORDS[n % 9]} {WORDS[n // 9]} {n}", price=n) for n in range(40)}


def search(query: str, event_id: str, user: str = "u") -> tuple[str, bytes]:
    event = {"type": "search", "event_id": event_id, "ts": int(time.time() * 1000), "user_id": user, "query": query}
    return user, json.dumps(event).encode()


def touches(count: int, seed: int) -> list[tuple[str, bytes]]:
    """Events of forty shoppers; within the caps, so that their state is the same in any order."""
    rng = random.Random(seed)
    now = int(time.time() * 1000)
    found = []
    for n in range(count):
        user = f"u{rng.randrange(40)}"
        event = {"event_id": f"e{n}", "ts": now - rng.randrange(600_000), "user_id": user}
        event |= {"type": rng.choice(["click", "read", "cart", "purchase"]), "item_id": rng.choice(list(ITEMS))}
        found.append((user, json.dumps(event).encode()))
    return found


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    """A shop with one worker that is ready and holds the catalogue."""
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.put_items(ITEMS)
        shop.start()
        shop.ready(len(ITEMS))
        yield shop


def shown(shop: Shop, query: str, event_id: str) -> list[str]:
    """Search, and wait for the shelf that answers this very event."""
    asked = int(time.time() * 1000)
    shop.produce(shop.topics.events, [search(query, event_id)])
    shelf = until(
        lambda: (found := shop.shelf(keys.search(query))) is not None and found.event_ts >= asked and found,
        every_s=0.02,
    )
    return [one.item_id for one in shelf.items]


def test_updates_and_deletes_show_and_a_price_needs_no_encoding(shop: Shop) -> None:
    asked = itertools.count()

    def first(new: bool) -> None:
        """Search until the new item stands first, or is not there."""
        wanted = ["new"] if new else []
        until(lambda: [id for id in shown(shop, "zebra telescope", f"s{next(asked)}") if id == "new"] == wanted)
        assert (shown(shop, "zebra telescope", f"s{next(asked)}")[0] == "new") == new

    first(new=False)
    shop.put_items({"new": item("new", "Zebra telescope 3000")})
    first(new=True)
    shop.put_items({"new": item("new", "Zebra telescope 3000", price=3, in_stock=False)})
    first(new=False)
    shop.put_items({"new": item("new", "Zebra telescope 3000", price=3)})
    first(new=True)
    shop.put_items({"new": None})
    first(new=False)

    until(lambda: shop.counted("items.deleted") == 1, every_s=0.3)
    assert shop.counted("items.encoded") == len(ITEMS) + 1
    assert shop.counted("items.reused") == 2


def test_a_search_with_filters_has_a_shelf_of_its_own_that_obeys_them(shop: Shop) -> None:
    teas = {f"tea{n}": item(f"tea{n}", f"Thé vert {n}", category="Épicerie > Thés", price=n) for n in range(8)}
    lamp = {"lamp": item("lamp", "红色台灯", category="家居 > 灯具", brand="Ikea", attributes={"颜色": ["红", "白"]})}
    shop.put_items(teas | lamp)
    shop.ready(len(ITEMS) + len(teas) + 1)

    def found(at: str, key: str, filters: dict[str, Any], **more: Any) -> set[str]:
        """Send a search, and read what answers this very event."""
        asked = int(time.time() * 1000)
        event = {"type": "search", "event_id": at, "ts": asked, "user_id": "u", "filters": filters} | more
        shop.produce(shop.topics.events, [("u", json.dumps(event).encode())])
        shelf = until(lambda: (there := shop.shelf(key)) is not None and there.event_ts >= asked and there)
        return {one.item_id for one in shelf.items}

    def key_of(filters: dict[str, Any]) -> str:
        return Filter.of(filters).key

    tea = {"category": ["E\u0301PICERIE>the\u0301s"], "price": {"min": 2, "max": 4}}
    key = "shelf:search:red%20usb:category=%C3%A9picerie>th%C3%A9s&price<=4&price>=2"
    assert keys.search("red usb", None, key_of(tea)) == key
    assert found("f1", key, tea, query="red USB") == {"tea2", "tea3", "tea4"}, "none of them is near the query"
    shop.put_items({"tea3": item("tea3", "Thé vert 3", category="Épicerie > Thés", price=9)})
    tries = itertools.count()
    until(lambda: found(f"p{next(tries)}", key, tea, query="red usb") == {"tea2", "tea4"}, every_s=0.2)
    red = {"category": "家居", "颜色": "红"}
    assert found("f2", keys.feed("u", key_of(red)), red) == {"lamp"}
    assert found("f3", keys.popular(filtered=key_of(red | {"brand": "no"})), red | {"brand": "no"}) == set()
    assert shop.redis.get(keys.search("red usb")) is None, "a search with filters is none without"


def test_a_restarted_worker_is_ready_without_encoding_anything_again(shop: Shop) -> None:
    before = shown(shop, "red usb", "s1")
    shop.kill()
    encoded = shop.counted("items.encoded")
    shop.start()
    first = shop.ready()[0]
    assert first.gauges["items"] == len(ITEMS), "ready with the whole catalogue, at once"
    assert set(shown(shop, "red usb", "s2")[:5]) == set(before[:5])
    assert shop.counted("items.encoded") == encoded == len(ITEMS)


def test_a_second_worker_takes_half_and_nothing_is_lost_or_doubled(
    shop: Shop, kafka: KafkaConfig, redis_url: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    events = touches(800, seed=1)
    for start in range(0, 400, 100):
        shop.produce(shop.topics.events, events[start : start + 100])
    shop.start("worker-2")
    # Events keep coming, one at a time, until the second worker has its share and for some time after.
    rest = iter(events[400:])
    until(lambda: shop.produce(shop.topics.events, [next(rest)]) and shares(shop) == [2, 2], every_s=0.2)
    shop.produce(shop.topics.events, rest)
    shop.drained()
    together = shop.state()
    shop.stop("worker-2")

    alone_config = topics_config.model_copy(update={"prefix": f"{topics_config.prefix}alone-"})
    with Shop(kafka, databases(redis_url, (7,))[0], alone_config, tmp_path).open() as alone:
        alone.start()
        alone.produce(alone.topics.events, events)
        alone.drained()
        assert together == alone.state()


def shares(shop: Shop) -> list[int]:
    """How many partitions of the events each member of the group has."""
    members = shop.admin.describe_groups([shop.group])[shop.group]["members"]
    return sorted(
        sum(len(part["partitions"]) for part in parts if part["topic"] == shop.topics.events)
        for parts in ((member["member_assignment"] or {}).get("assigned_partitions", []) for member in members)
    )


def test_a_broker_that_restarts_is_a_pause(redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> None:
    with (
        LocalKafka(tmp_path / "kafka") as broker,
        Shop(KafkaConfig(bootstrap_servers=broker.address), redis_db, topics_config, tmp_path).open() as shop,
    ):
        shop.put_items(ITEMS)
        shop.start()
        shop.ready(len(ITEMS))
        events = touches(600, seed=3)
        shop.produce(shop.topics.events, events[:300])
        shop.disconnect()
        broker.stop()
        time.sleep(1.5)
        assert shop.workers["worker-1"].running, shop.log().read_text()
        broker.start()
        shop.connect()
        shop.produce(shop.topics.events, events[300:])
        shop.drained()
        counted = sum(int(n) for key, held in shop.state().items() if b":trend:" in key for n in held.values())
        acts = [json.loads(value) for _, value in events]
        mine: dict[tuple[str, str, int], int] = {}
        for act in acts:
            at = act["user_id"], act["item_id"], act["ts"] // 3_600_000
            mine[at] = max(mine.get(at, 0), TREND_WEIGHTS[act["type"]])
        assert counted == sum(mine.values())


def test_a_bot_gets_its_feed_and_makes_no_demand(shop: Shop) -> None:
    """Twenty pages of ten items, all of them clicked; the last items are shown after it is marked."""
    now = int(time.time() * 1000)
    ids = list(ITEMS)
    for page in range(20):
        ts, some = now - 1_000_000 + 30_000 * page, ids[30:] if page > 12 else ids[:10]
        about = {"user_id": "bot", "shelf_id": f"s{page}"}
        shown = [{"item_id": id, "position": place} for place, id in enumerate(some)]
        events: list[dict[str, Any]] = [{"type": "impression", "surface": "feed", "items": shown}]
        events += [{"type": "click", "item_id": id} for id in some]
        told = [event | about | {"event_id": f"{page}.{n}", "ts": ts + n} for n, event in enumerate(events)]
        shop.produce(shop.topics.events, [("bot", json.dumps(event).encode()) for event in told])
        if page in (12, 19):
            shop.drained()  # no batch holds what came before the mark and the last items
    counted = {item for key, held in shop.state().items() if b":trend:" in key for item in held}
    assert counted == {id.encode() for id in ids[:10]}
    shelf = shop.shelf(keys.feed("bot"))
    assert shelf is not None and shelf.event_ts == now - 1_000_000 + 30_000 * 19 + 10
    marks = list(shop.redis.scan_iter("ls:*:bot:bot"))
    assert len(marks) == 1 and shop.redis.ttl(marks[0]) > 0


def test_nothing_is_committed_before_redis_has_answered(shop: Shop) -> None:
    shop.produce(shop.topics.events, touches(100, seed=5))
    shop.drained()
    before = shop.committed()
    shop.redis.client_pause(5_000)
    shop.produce(shop.topics.events, touches(200, seed=6))
    time.sleep(3)  # three commit intervals
    assert shop.committed() == before
    shop.drained()


def test_dead_letters_are_replayed_once(kafka: KafkaConfig, topics_config: TopicsConfig, shop: Shop) -> None:
    bad: list[tuple[str, bytes | None]] = [("u", b"{"), ("v", None), ("w", b'{"type":"poke"}')]
    sent = shop.produce(shop.topics.events, bad)
    shop.drained()
    found = {(letter.source.topic, letter.source.partition, letter.source.offset): letter for letter in shop.letters()}
    assert set(found) == set(sent)
    assert [found[place].source.value for place in sent] == [value for _, value in bad]
    assert [found[place].source.key for place in sent] == [b"u", b"v", b"w"]
    assert [found[place].reason for place in sent] == ["malformed", "empty", "invalid"]

    shop.stop()
    group = f"{shop.group}-letters"
    assert replay(kafka, topics_config, group).sent == 3
    assert shop.ends(shop.topics.events) == 6
    assert replay(kafka, topics_config, group).sent == 0
    again = replay(kafka, topics_config, group, reason="empty", again=True)
    assert (again.sent, again.other) == (1, 2)
    assert shop.ends(shop.topics.events) == 7
