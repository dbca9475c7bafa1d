"""The client on a real Redis: which shelf a frontend gets when some are missing."""

from collections.abc import Iterator

import pytest
from redis import Redis

from streams.events.shelf import Shelf, encoder
from streams.redis import keys
from streams.redis.client import ShelfClient

pytestmark = pytest.mark.integration


@pytest.fixture
def client(redis_db: str) -> Iterator[ShelfClient]:
    with Redis.from_url(redis_db) as redis:
        yield ShelfClient(redis)


def put(client: ShelfClient, *names: str) -> None:
    """Shelves that are called after their keys."""
    for key in names:
        value = Shelf(shelf_id=key, surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=[])
        client.redis.set(key, encoder.encode(value))


def got(shelf: Shelf | None) -> str | None:
    return shelf.shelf_id if shelf else None


def test_nothing_at_all_is_none(client: ShelfClient) -> None:
    assert client.feed("u") is client.search("q", "u") is client.similar("i") is client.popular("x") is None


def test_the_nearest_shelf_wins(client: ShelfClient) -> None:
    put(client, keys.popular())
    assert got(client.feed("u")) == got(client.search("q", "u")) == got(client.similar("i")) == keys.popular()
    put(client, keys.popular("Mice"))
    assert got(client.feed("u", "Mice")) == got(client.similar("i", "Mice")) == keys.popular("Mice")
    assert got(client.popular("Mice")) == keys.popular("Mice") and got(client.popular("Pads")) == keys.popular()
    put(client, keys.search("USB cable"))
    assert got(client.search("usb  CABLE", "u")) == keys.search("usb cable")
    put(client, keys.search("usb cable", "u"), keys.feed("ü {1}"), keys.similar("i:1"))
    assert got(client.search("usb cable", "u")) == keys.search("usb cable", "u")
    assert got(client.search("usb cable", "v")) == got(client.search("usb cable")) == keys.search("usb cable")
    assert got(client.feed("ü {1}")) == keys.feed("ü {1}") and got(client.similar("i:1")) == keys.similar("i:1")


def test_under_filters_nothing_is_shown_that_they_exclude(client: ShelfClient) -> None:
    put(client, keys.popular(), keys.search("hose"), keys.search("hose", "u"), keys.feed("u"))
    asked, key = {"brand": ["ACME", "acmé"]}, "brand=acm%C3%A9,acme"
    assert client.search("hose", "u", asked) is client.page(asked, "u") is client.page(asked) is None
    put(client, keys.search("hose", None, key), keys.popular(filtered=key))
    assert got(client.search("HOSE", "u", asked)) == f"shelf:search:hose:{key}"
    assert got(client.page(asked, "u")) == f"shelf:popular:{key}"
    put(client, keys.search("hose", "u", key), keys.feed("u", key))
    assert got(client.search("hose", "u", asked)) == f"shelf:search:hose:{key}:u"
    assert got(client.page(asked, "u")) == f"shelf:feed:u:{key}"
    assert got(client.search("hose", "u", {"brand": []})) == keys.search("hose", "u")
    assert got(client.page({}, "u")) == keys.feed("u") and got(client.page({})) == keys.popular()


def test_it_does_not_wait_long(redis_db: str) -> None:
    client = ShelfClient.from_url(redis_db)
    try:
        assert client.redis.connection_pool.connection_kwargs["socket_timeout"] <= 0.25
        assert client.feed("nobody") is None
    finally:
        client.redis.close()
