"""A worker process counts what shoppers do with variants for their product, as its catalogue groups them now."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.config import KafkaConfig, TopicsConfig
from streams.redis import keys
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SIZES = [f"hoodie-{size}" for size in range(8)]
OTHERS = {name: json.dumps({"item_id": name, "title": name}).encode() for name in ("cup", "lamp", "rug")}


def hoodies(group: str | None) -> dict[str, bytes]:
    return {
        size: json.dumps({"item_id": size, "title": f"Hoodie {size}", "group_id": group}).encode() for size in SIZES
    }


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env["LIVESHELF_SHELF__SIMILAR_REFRESH_S"] = "0.001"
        shop.put_items(OTHERS | hoodies(None))
        shop.start()
        shop.ready(len(OTHERS) + len(SIZES))
        yield shop


def act(kind: str, user: str, item: str, number: int) -> tuple[str, bytes]:
    event = {"type": kind, "event_id": f"{kind}-{user}-{item}-{number}", "ts": int(time.time() * 1000)}
    return user, json.dumps(event | {"user_id": user, "item_id": item}).encode()


def after_a_click(shop: Shop, item: str, key: str, number: int, user: str = "z") -> dict[str, str]:
    """The reasons on a shelf that a click makes anew."""
    asked = int(time.time() * 1000)
    shop.produce(shop.topics.events, [act("click", user, item, number)])
    made = until(lambda: (found := shop.shelf(key)) is not None and found.event_ts >= asked and found)
    return {one.item_id: one.reason for one in made.items}


def test_sizes_that_come_to_a_product_while_a_worker_runs_share_what_was_done_with_each(shop: Shop) -> None:
    last = SIZES[-1]
    bought = [act("purchase", f"v{n}", item, n) for n, size in enumerate(SIZES[:-1]) for item in (size, "cup")]
    shop.produce(shop.topics.events, bought)
    until(lambda: all(shop.shelf(keys.feed(f"v{n}")) for n in range(len(SIZES) - 1)))
    alone = after_a_click(shop, last, keys.similar(last), 0)
    assert not alone["cup"].startswith("together")
    shop.put_items(hoodies("hoodie"))
    numbers = iter(range(1, 1_000))
    until(
        lambda: after_a_click(shop, last, keys.similar(last), next(numbers)).get("cup") == f"together:{last}",
        every_s=0.3,
    )
    shown = after_a_click(shop, "cup", keys.feed("y"), 0, "y")
    assert len([item for item in shown if item.startswith("hoodie")]) == 1, shown
    shop.put_items(hoodies(None))
    until(
        lambda: not after_a_click(shop, last, keys.similar(last), next(numbers))["cup"].startswith("together"),
        every_s=0.3,
    )
