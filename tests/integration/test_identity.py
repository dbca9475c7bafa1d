"""A shopper who logs in, has a profile and is forgotten, through worker, evaluator, trainer and command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluator.attribution.example import LabelledExample
from evaluator.retraining.store.archive import Archive
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.features.shopper import shard
from streams.redis import keys
from streams.redis.keys import own
from tests.shop import HANG_S, Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ITEMS = {f"i{n}": json.dumps({"item_id": f"i{n}", "title": f"hdmi cable {n}"}).encode() for n in range(8)}


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": "1",
        "LIVESHELF_EVALUATOR__GRACE_S": "1",
        "LIVESHELF_EVALUATOR__IDLE_S": "1",
        "LIVESHELF_EXAMPLES__FOLDER": str(tmp_path / "examples"),
        "LIVESHELF_EXAMPLES__FLUSH_S": "1",
        "LIVESHELF_LEARNING__FOLDER": str(tmp_path / "learning"),
        "LIVESHELF_SHELF__POPULAR_REFRESH_S": "1",
    }
    with shop.open() as shop:
        shop.put_items(ITEMS)
        for name, role in (("worker-1", "worker"), ("evaluator-1", "evaluator"), ("trainer-1", "trainer")):
            shop.start(name, role)
        until(lambda: shop.redis.exists(keys.popular()), lambda: shop.log().read_text()[-3000:])
        yield shop


def event(kind: str, event_id: str, ts: int, **more: Any) -> tuple[str, bytes]:
    """An event on the partition of its shopper."""
    fields = {"type": kind, "event_id": event_id, "ts": ts, **more}
    return more.get("user_id", more.get("session_id")), json.dumps(fields).encode()


def shown(event_id: str, ts: int, who: str) -> tuple[str, bytes]:
    items = [{"item_id": f"i{place}", "position": place} for place in range(2)]
    return event("impression", event_id, ts, user_id=who, shelf_id="s", surface="feed", items=items)


def on_disk(folder: Path) -> list[LabelledExample]:
    return list(Archive(folder / "examples").read(0, 1 << 62))


def test_a_shopper_logs_in_and_is_forgotten(shop: Shop, tmp_path: Path) -> None:
    now = wall_ms()
    old = [
        event("search", "q", now, session_id="s", query="hdmi"),
        event("click", "c1", now + 1, session_id="s", item_id="i1"),
        event("profile", "p", now + 2, user_id="u", attributes={"segment": "trade", "born": "1980-1989"}),
        event("click", "c2", now + 3, user_id="u", session_id="s", item_id="i2"),
        event("search", "q2", now + 4, user_id="u", query="cable"),
        event("click", "c3", now + 5, user_id="v", item_id="i2"),
        shown("n1", now + 6, "u"),
        shown("n2", now + 6, "v"),
    ]
    shop.produce(shop.topics.events, old)
    number = shard("u", shop.config.state.shards)
    mine = own(number, "items", "u")
    until(lambda: shop.redis.zrange(mine, 0, -1) == [b"c\x1fi1\x1fc1", b"c\x1fi2\x1fc2"])
    until(lambda: shop.redis.exists(keys.popular("trade")))
    until(lambda: {one.shopper for one in on_disk(tmp_path)} == {"u", "v"}, lambda: f"{on_disk(tmp_path)}")
    assert shop.redis.exists(keys.feed("u"), keys.feed("s"), keys.search("cable", "u")) == 3

    command = [sys.executable, "-m", "liveshelf", "forget", "u", "--wait", str(HANG_S)]
    told = subprocess.run(
        command, env=os.environ | shop.env, capture_output=True, text=True, check=True, timeout=HANG_S
    )
    receipt = json.loads(told.stdout)
    assert receipt["known"] and receipt["shoppers"] == ["u", "s"]
    assert receipt["removed"]["items"] == 3 and receipt["removed"]["shelves"] >= 3
    until(lambda: {one.shopper for one in on_disk(tmp_path)} == {"v"}, lambda: f"{on_disk(tmp_path)}")

    again = [*old, shown("n3", now + 7, "u"), shown("n4", wall_ms(), "v")]
    shop.produce(shop.topics.events, again)
    shop.drained()
    until(lambda: len(on_disk(tmp_path)) == 4, lambda: f"{on_disk(tmp_path)}")
    assert {one.shopper for one in on_disk(tmp_path)} == {"v"}
    assert not shop.redis.exists(keys.feed("u"), keys.feed("s"), keys.search("cable", "u"), mine)
    until(lambda: shop.counted("events.forgotten") == 4, lambda: "the two of each of user and session", every_s=0.3)
    shop.produce(shop.topics.events, [event("click", "c9", wall_ms(), user_id="u", item_id="i5")])
    until(lambda: shop.redis.exists(keys.feed("u")))
    assert shop.redis.zrange(mine, 0, -1) == [b"c\x1fi5\x1fc9"]
