"""The inspector on a real Redis: what was found, or what stood in for it."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from redis import Redis

from evaluator.dashboard.inspector import Found, Kind, Question, Titled, Titles, parse, read_shelf
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.redis import keys
from streams.redis.client import ShelfClient

pytestmark = pytest.mark.integration

NOW = 1_790_000_000_000


@pytest.fixture
def client(redis_db: str) -> Iterator[ShelfClient]:
    with Redis.from_url(redis_db) as redis:
        yield ShelfClient(redis)


def put(client: ShelfClient, key: str, surface: str) -> None:
    item = ShelfItem("i1", 0.9, 0.1, 0.2, 0.3, "vector+lexical")
    shelf = Shelf(
        shelf_id=key, surface=surface, model="m1", arm="champion", made_at=NOW - 60_000, event_ts=1, items=[item] * 2
    )
    client.redis.set(key, encoder.encode(shelf))


def found(client: ShelfClient, kind: Kind, value: str = "", user: str = "") -> Found:
    titles = Titles()
    titles.update(Titled("i1", "A kettle"))
    return read_shelf(client, Question(kind, value, user), titles, NOW)


def test_nothing_at_all_says_what_to_do(client: ShelfClient) -> None:
    answer = found(client, "feed", "u1")
    assert not answer.exact and not answer.items and answer.key == "shelf:feed:u1"
    assert "no shelf" in answer.said and "worker" in answer.said


def test_a_shelf_with_titles_and_its_age(client: ShelfClient) -> None:
    put(client, keys.feed("u1"), "feed")
    answer = found(client, "feed", "u1")
    assert answer.exact and answer.said == "The feed of u1." and answer.age_s == 60
    assert (answer.model, answer.arm, answer.shelf_id) == ("m1", "champion", "shelf:feed:u1")
    assert [(row.place, row.item_id, row.title, row.why) for row in answer.items] == [
        (1, "i1", "A kettle", "vector+lexical"),
        (2, "i1", "A kettle", "vector+lexical"),
    ]


@pytest.mark.parametrize(
    ("kind", "value"), [("feed", "u1"), ("search", "hdmi"), ("similar", "i9"), ("popular", "Mice")]
)
def test_what_stands_in_is_told(client: ShelfClient, kind: Kind, value: str) -> None:
    put(client, keys.popular(), "popular")
    answer = found(client, kind, value)
    assert not answer.exact and answer.items and "popular instead" in answer.said and answer.surface == "popular"


def test_a_search_is_someones_own_or_everyones(client: ShelfClient) -> None:
    put(client, keys.search("hdmi cable"), "search")
    assert found(client, "search", "HDMI  Cable").exact
    theirs = found(client, "search", "hdmi cable", "u1")
    assert not theirs.exact and "everyone's" in theirs.said and theirs.key == "shelf:search:hdmi%20cable:u1"
    put(client, keys.search("hdmi cable", "u1"), "search")
    own = found(client, "search", "hdmi cable", "u1")
    assert own.exact and "ranked for u1" in own.said


def test_popular_in_a_segment_and_at_all(client: ShelfClient) -> None:
    put(client, keys.popular(), "popular")
    assert found(client, "popular").exact and found(client, "popular", "all").exact
    put(client, keys.popular("Mice"), "popular")
    assert found(client, "popular", "Mice").exact


def test_titles_are_plain_as_workers_read_them() -> None:
    value = b'{"item_id": "i", "title": "Tea &amp; more", "brand": "M&amp;S", "description": "<p>Hot</p>"}'
    assert parse(SimpleNamespace(key=b"i", value=value), 0) == Titled("i", "Tea & more", ". M&S. Hot")
