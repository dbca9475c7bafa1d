"""What is deleted or sold out leaves the shelves that lie in Redis, on real servers, whoever is killed meanwhile."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.config import KafkaConfig, TopicsConfig
from streams.redis import keys
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

"""What is promised within five seconds is waited for so long here, where other programs share the machine."""
KINDS = ("kettle", "lamp", "tent")


def item(item_id: str, **more: Any) -> bytes:
    number = int(item_id[1:])
    kind = KINDS[number % 3]
    return json.dumps({"item_id": item_id, "title": f"{kind} {number}", "category": kind, **more}).encode()


ITEMS = [f"i{n}" for n in range(30)]


def event(kind: str, number: int, user: str, **more: Any) -> tuple[str, bytes]:
    told = {"type": kind, "event_id": f"{kind}{number}{user}", "ts": int(time.time() * 1000), "user_id": user, **more}
    return user, json.dumps(told).encode()


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    """A shop with one worker, whose shoppers have shelves of all kinds."""
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.put_items({name: item(name) for name in ITEMS})
        shop.start()
        started(shop, len(ITEMS))
        users = [f"u{n}" for n in range(20)]
        touched = [event("cart", n, user, item_id=ITEMS[n]) for n, user in enumerate(users)]
        shop.produce(shop.topics.events, touched)
        shop.produce(shop.topics.events, [event("search", n, user, query="a kettle") for n, user in enumerate(users)])
        shop.drained()
        until(lambda: holding(shop, "i0") >= {"feed", "search", "similar", "popular"})
        yield shop


def started(shop: Shop, items: int) -> None:
    """Wait until a worker that starts beside whatever else is ready and holds so many items."""
    shop.seen(lambda snapshot: snapshot.gauges.get("items") == items)


def shelves(shop: Shop) -> dict[str, list[str]]:
    """What every shelf shows."""
    found = {key.decode(): shop.shelf(key.decode()) for key in shop.redis.scan_iter("shelf:*")}
    return {key: [one.item_id for one in shelf.items] for key, shelf in found.items() if shelf is not None}


def holding(shop: Shop, *gone: str) -> set[str]:
    """The surfaces that show one of these items."""
    return {key.split(":")[1] for key, shown in shelves(shop).items() if set(gone) & set(shown)}


def test_what_leaves_the_catalogue_leaves_all_shelves_and_may_come_back(shop: Shop) -> None:
    before = shelves(shop)
    shop.put_items({"i0": None, "i1": item("i1", in_stock=False)})
    until(lambda: not holding(shop, "i0", "i1"), lambda: str(holding(shop, "i0", "i1")))
    after = shelves(shop)
    for key, shown in before.items():
        if not key.startswith("shelf:popular:"):  # those are made anew all the time
            assert after[key] == [name for name in shown if name not in ("i0", "i1")]

    shop.put_items({"i0": item("i0"), "i1": item("i1")})
    started(shop, len(ITEMS))
    number = 100

    def shown_again() -> bool:
        nonlocal number
        number += 1
        shop.produce(shop.topics.events, [event("search", number, "u1", query="a kettle")])
        return {"i0"} <= set(shelves(shop)[keys.search("a kettle")])

    until(shown_again, every_s=0.5)
    time.sleep(3)  # longer than the second look at what was withdrawn
    assert "search" in holding(shop, "i0")
    assert shop.counted("shelves.taken_out") > 0


def test_the_popular_shelf_of_a_category_goes_with_its_last_item(shop: Shop) -> None:
    until(lambda: shop.shelf(keys.popular("lamp")))
    shop.put_items(dict.fromkeys(ITEMS[1::3]))
    until(lambda: not holding(shop, *ITEMS[1::3]))
    until(lambda: shop.shelf(keys.popular("lamp")) is None)
    time.sleep(2 * shop.config.shelf.popular_refresh_s)
    assert shop.shelf(keys.popular("lamp")) is None
    assert shop.shelf(keys.popular("tent")) is not None
    shop.put_items(dict.fromkeys(ITEMS))
    until(lambda: not shelves(shop), lambda: str(shelves(shop)))


def test_a_category_called_all_does_not_take_the_place_of_everything(shop: Shop) -> None:
    shop.put_items({"i30": item("i30", category="all")})
    started(shop, len(ITEMS) + 1)
    shop.produce(shop.topics.events, [event("cart", 200 + n, f"u{n}", item_id="i30") for n in range(3)])
    until(lambda: "i30" in shelves(shop).get(keys.popular(), ()), lambda: str(shelves(shop)))
    time.sleep(2 * shop.config.shelf.popular_refresh_s)
    assert {"i30", "i0"} < set(shelves(shop)[keys.popular()])


def test_a_worker_killed_before_it_took_an_item_out_leaves_it_to_the_next(shop: Shop) -> None:
    """Its catalogue knows of the delete, and no record will tell the next one of it."""
    shop.redis.client_pause(4_000)
    shop.put_items({"i0": None})
    until(lambda: shop.ends(shop.topics.embeddings) == len(ITEMS) + 1)
    time.sleep(1)
    shop.kill()
    assert "feed" in holding(shop, "i0")
    shop.start()
    started(shop, len(ITEMS) - 1)
    until(lambda: not holding(shop, "i0"))
