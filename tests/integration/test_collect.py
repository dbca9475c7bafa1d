"""The collector as shops have it: the real command, on a real Kafka and a real Redis."""

import gzip
import json
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from liveshelf.stack.kafka import LocalKafka
from streams.clock import wall_ms
from streams.config import EventsConfig, KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.decode import Deleted, decode_event, decode_item
from streams.events.schema import Click, Forget, Item
from streams.events.shelf import Shelf, ShelfItem, encoder
from streams.kafka.topics import Topics
from streams.redis import keys
from streams.reporting import snapshots
from tests.collectors import KEYS, PAGE, READ, WRITE, client, collecting, records
from tests.shop import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

ORIGIN = "https://www.shop.example"


@pytest.fixture(scope="module")
def topics() -> TopicsConfig:
    return TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=4, compacted_partitions=2)


@pytest.fixture(scope="module")
def address(
    kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    env = environment(kafka.bootstrap_servers, redis_url, topics) | {"LIVESHELF_COLLECT__ORIGINS": f'["{ORIGIN}"]'}
    with collecting(env, tmp_path_factory.mktemp("collect") / "log") as (where, process):
        yield where
        process.terminate()
        assert process.wait() == 0


def environment(kafka: str, redis_url: str, topics: TopicsConfig) -> dict[str, str]:
    """The settings of a collector with all keys."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "REDIS_URL": redis_url,
        "LIVESHELF_TOPICS__PREFIX": topics.prefix,
        "LIVESHELF_TOPICS__PARTITIONS": str(topics.partitions),
        "LIVESHELF_TOPICS__COMPACTED_PARTITIONS": str(topics.compacted_partitions),
        **KEYS,
    }


def click(user: str = "u1", **fields: Any) -> dict[str, Any]:
    """A valid event."""
    return {
        "type": "click",
        "event_id": uuid.uuid4().hex,
        "ts": wall_ms(),
        "user_id": user,
        "item_id": "1234",
        **fields,
    }


def on_topic(kafka: KafkaConfig, topic: str, ids: set[str]) -> dict[str, tuple[bytes | None, bytes, int]]:
    """The records of these events, by id."""
    found = {}
    for key, value, partition in records(kafka, topic):
        if value is not None and (one := json.loads(value).get("event_id")) in ids:
            found[one] = key, value, partition
    return found


@pytest.mark.parametrize("form", ["single", "array", "lines", "pretty", "curl", "gzip", "beacon"])
def test_events_are_on_their_topic_once_they_are_acknowledged(
    address: str, kafka: KafkaConfig, topics: TopicsConfig, form: str
) -> None:
    events = [
        click(f"u{number % 5}", note="kept as it came") for number in range(1 if form in ("single", "pretty") else 20)
    ]
    lines = "\n".join(map(json.dumps, events)).encode()
    body, headers, key = {
        "single": (json.dumps(events[0]).encode(), {"Content-Type": "application/json"}, WRITE),
        "array": (json.dumps(events).encode(), {"Content-Type": "application/json; charset=utf-8"}, WRITE),
        "lines": (lines + b"\r\n\r\n", {"Content-Type": "application/x-ndjson"}, WRITE),
        "pretty": (json.dumps(events[0], indent=2).encode(), {}, WRITE),
        "curl": (lines, {"Content-Type": "application/x-www-form-urlencoded"}, WRITE),
        "gzip": (gzip.compress(lines), {"Content-Encoding": "gzip"}, WRITE),
        "beacon": (lines, {"Content-Type": "text/plain;charset=UTF-8", "Origin": ORIGIN}, None),
    }[form]
    with client(address, key) as http:
        answer = http.post("/events", content=body, headers=headers, params={} if key else {"key": PAGE})
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(events), "refused": 0, "refusals": []})
    found = on_topic(kafka, Topics(topics.prefix).events, {event["event_id"] for event in events})
    assert len(found) == len(events)
    partitions: dict[bytes | None, set[int]] = {}
    for event in events:
        key_there, value, partition = found[event["event_id"]]
        assert json.loads(value) == event and key_there == event["user_id"].encode()
        assert isinstance(decode_event(value, wall_ms(), EventsConfig()), Click), "the worker takes it"
        partitions.setdefault(key_there, set()).add(partition)
    assert all(len(some) == 1 for some in partitions.values()), "a shopper's events stay in order"


def test_what_is_not_valid_is_told_line_by_line(address: str, kafka: KafkaConfig, topics: TopicsConfig) -> None:
    good = click("", session_id="s1")
    del good["user_id"]
    late = click(ts=wall_ms() + 3_600_000)
    text = "\n".join([json.dumps(good), "nonsense", json.dumps({"type": "poke"}), json.dumps(late), '{"a": "\\ud800"}'])
    with client(address) as http:
        answer = http.post("/events", content=text.encode() + b'\n{"type": "\xff"}')
        nothing = http.post("/events", content=b"nonsense")
        empty = http.post("/events", content=b" \n ")
    told = answer.json()
    assert answer.status_code == 202 and (told["accepted"], told["refused"]) == (1, 5)
    assert [(one["line"], one["reason"]) for one in told["refusals"]] == [
        (2, "malformed"),
        (3, "invalid"),
        (4, "future"),
        (5, "malformed"),
        (6, "malformed"),
    ]
    assert "poke" in told["refusals"][1]["detail"]
    assert nothing.status_code == 400 and nothing.json()["refused"] == 1
    assert empty.status_code == 400 and "empty" in empty.json()["error"]
    found = on_topic(kafka, Topics(topics.prefix).events, {good["event_id"], late["event_id"]})
    assert [key for key, _, _ in found.values()] == [b"s1"]


def test_values_of_another_form_are_taken_as_the_worker_takes_them(
    address: str, kafka: KafkaConfig, topics: TopicsConfig
) -> None:
    numbers = click() | {"user_id": 17, "item_id": 42}
    guest = click() | {"user_id": "null", "session_id": "s17"}
    with client(address) as http:
        assert http.post("/events", json=[numbers, guest]).json()["accepted"] == 2
        assert http.post("/items", json={"item_id": 42, "title": "<b>Lamp</b>", "price": "9,99 EUR"}).status_code == 202
    found = on_topic(kafka, Topics(topics.prefix).events, {numbers["event_id"], guest["event_id"]})
    assert found[numbers["event_id"]][0] == b"17" and found[guest["event_id"]][0] == b"s17"
    [(key, value)] = [(key, value) for key, value, _ in records(kafka, Topics(topics.prefix).items) if key == b"42"]
    item = decode_item(key, value, EventsConfig())
    assert isinstance(item, Item) and (item.title, item.price) == ("Lamp", 9.99)


def test_another_systems_events_are_taken_in_its_shape(address: str, kafka: KafkaConfig, topics: TopicsConfig) -> None:
    name, products = uuid.uuid4().hex, [{"product_id": "A", "quantity": 2}, {"product_id": "B"}, {"product_id": ""}]
    order = {"event": "Order Completed", "messageId": name, "userId": "u9", "timestamp": "2026-01-10T00:00:00Z"}
    body = {"batch": [order | {"properties": {"products": products}}, {"type": "page"}, order | {"messageId": "x"}]}
    with client(address) as http:
        sent = http.post("/events?format=segment", json=body)
        page = http.post("/events?format=segment", json={"type": "page"}, headers={"Authorization": f"Bearer {PAGE}"})
        many = http.post("/events?format=segment", json=order | {"properties": {"products": products * 400}})
        for path in ("/events?format=other", "/events?format=segment&format=ga4", "/items?format=segment"):
            wrong = http.post(path, json=body)
            assert wrong.status_code == 400 and "format" in wrong.json()["error"]
        own = http.post("/events", json=body)
    assert (sent.status_code, page.status_code, many.status_code, own.status_code) == (202, 202, 413, 400)
    told = sent.json()
    assert (told["accepted"], told["refused"], told["left_out"]) == (2, 2, 1)
    assert [(one["line"], one["reason"]) for one in told["refusals"]] == [(1, "invalid"), (3, "invalid")]
    assert [(one["line"], one["reason"]) for one in told["omissions"]] == [(2, "no rule for others")]
    found = on_topic(kafka, Topics(topics.prefix).events, {name, f"{name}-1"})
    assert [json.loads(value)["item_id"] for _, value, _ in found.values()] == ["A", "B"]
    assert {key for key, _, _ in found.values()} == {b"u9"} and len({at for _, _, at in found.values()}) == 1


def test_items_are_upserted_and_deleted(address: str, kafka: KafkaConfig, topics: TopicsConfig) -> None:
    awkward = "a/b %é?"
    items = [{"item_id": awkward, "title": "Lamp"}, {"item_id": "2", "title": "Desk", "price": 9.5}, {"item_id": "3"}]
    with client(address) as http:
        sent = http.post("/items", json=items)
        path = "/items/a%2Fb%20%25%C3%A9%3F"
        gone = http.delete(path)
        nameless = http.delete("/items/" + "x" * 300)
        page = http.delete(path, headers={"Authorization": f"Bearer {PAGE}"})
    assert sent.status_code == 202 and sent.json()["accepted"] == 2 and sent.json()["refusals"][0]["line"] == 3
    assert (gone.status_code, gone.json()["accepted"]) == (202, 1)
    assert nameless.status_code == 400 and page.status_code == 403
    found = [(key, value) for key, value, _ in records(kafka, Topics(topics.prefix).items) if key == awkward.encode()]
    decoded = [decode_item(key, value, EventsConfig()) for key, value in found]
    assert isinstance(decoded[0], Item) and decoded[-1] == Deleted(awkward)


def test_a_shopper_is_forgotten(address: str, kafka: KafkaConfig, topics: TopicsConfig) -> None:
    with client(address) as http:
        answer = http.post("/forget", json={"user_id": "gone", "session_id": "s9"})
        nobody = http.post("/forget", json={})
        wrong = http.post("/forget", content=b"[]")
        page = http.post("/forget", json={"user_id": "gone"}, headers={"Authorization": f"Bearer {PAGE}"})
        trick = http.post(
            "/events",
            json=[click() | {"type": "forget"}, click() | {"type": "profile", "attributes": {"a": 1}}],
            headers={"Authorization": f"Bearer {PAGE}"},
        )
    assert answer.status_code == 202
    assert (nobody.status_code, wrong.status_code, page.status_code, trick.status_code) == (400, 400, 403, 400)
    assert {one["reason"] for one in trick.json()["refusals"]} == {"key"}
    event_id = answer.json()["event_id"]
    [(key, value, _)] = on_topic(kafka, Topics(topics.prefix).events, {event_id}).values()
    event = decode_event(value, wall_ms(), EventsConfig())
    assert key == b"gone" and isinstance(event, Forget) and event.session_id == "s9"


def test_keys_and_origins(address: str) -> None:
    body = {"json": click()}
    with client(address, None) as http:
        for right in ({"X-API-Key": PAGE}, {"Authorization": f"bearer {WRITE}"}):
            assert http.post("/events", headers=right, **body).status_code == 202
        for wrong in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer é".encode()}, {"Authorization": PAGE}):
            answer = http.post("/events", headers=wrong, **body)
            assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert http.post("/events", headers={"X-API-Key": READ}, **body).status_code == 403
        assert http.post("/items", headers={"X-API-Key": PAGE}, json={"item_id": "1", "title": "t"}).status_code == 403
        assert http.get("/shelf/popular/all", headers={"X-API-Key": PAGE}).status_code == 403
        assert http.get("/metrics").status_code == 401
        for origin in ("https://evil.example", "null", ORIGIN + ".evil.example", "http://www.shop.example"):
            assert http.post("/events", headers={"X-API-Key": PAGE, "Origin": origin}, **body).status_code == 403
        known = http.post("/events", headers={"X-API-Key": PAGE, "Origin": ORIGIN}, **body)
        assert known.headers["Access-Control-Allow-Origin"] == ORIGIN and "Origin" in known.headers["Vary"]
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
        assert http.options("/events", headers={"Origin": ORIGIN, **asked}).status_code == 200
        foreign = http.options("/events", headers={"Origin": "https://evil.example", **asked})
        assert foreign.status_code == 400 and "Access-Control-Allow-Origin" not in foreign.headers


def put(redis_url: str, key: str, surface: str) -> bytes:
    """A shelf that is called after its key."""
    item = ShelfItem("i1", 0.5, 0.1, 0.2, 0.3, "trending")
    value = encoder.encode(
        Shelf(shelf_id=key, surface=surface, model="m", arm="a", made_at=1, event_ts=1, items=[item])
    )
    with Redis.from_url(redis_url) as redis:
        redis.set(key, value, ex=600)
    return value


def test_shelves_with_their_fallbacks(address: str, redis_url: str) -> None:
    run = uuid.uuid4().hex
    put(redis_url, keys.popular(), "popular")
    with client(address, READ) as http:

        def got(path: str, **parameters: str) -> str:
            answer = http.get(f"/shelf/{path}", params=parameters)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["shelf_id"])

        assert got(f"feed/{run}") == got(f"search/{run}", user="u") == got(f"similar/{run}") == keys.popular()
        put(redis_url, keys.feed(f"{run}/ü {{1}}"), "feed")
        assert got(f"feed/{run}%2F%C3%BC%20%7B1%7D") == keys.feed(f"{run}/ü {{1}}")
        put(redis_url, keys.search(run), "search")
        assert got(f"search/%20{run.upper()}%20", user="u") == keys.search(run)
        put(redis_url, keys.search(run, "u"), "search")
        assert got(f"search/{run}", user="u") == keys.search(run, "u")
        put(redis_url, keys.popular(f"Mice {run}"), "popular")
        assert got(f"popular/Mice%20{run}") == got("similar/x", segment=f"Mice {run}") == keys.popular(f"Mice {run}")
        filtered = f"brand={run}&price<=50"
        assert http.get(f"/shelf/feed/{run}", params={"filter": filtered}).status_code == 404, "no shelf without it"
        put(redis_url, keys.popular(filtered=filtered), "popular")
        assert got("popular/all", filter=filtered) == got("feed/u", filter=f"price<=50.0&Brand={run.upper()}")
        for path, parameters, said in (
            ("search/x", {"filter": "brand"}, "no term"),
            ("feed/x", {"user": "u"}, "user is for a search"),
            ("similar/x", {"filter": "brand=a"}, "filter is for"),
            ("popular/all", {"filter": "price=9"}, "no filter can ask"),
            ("nonsense/x", {}, "surface"),
            ("feed/%FF", {}, "UTF-8"),
            ("feed/x", {"colour": "red"}, "colour"),
        ):
            answer = http.get(f"/shelf/{path}", params=parameters)
            assert answer.status_code == 400 and said in answer.json()["error"], answer.text
        assert "twice" in http.get("/shelf/search/x?user=a&user=b").json()["error"]


def test_a_shelf_that_is_known_is_not_sent_again(address: str, redis_url: str) -> None:
    user = uuid.uuid4().hex
    value = put(redis_url, keys.feed(user), "feed")
    put(redis_url, keys.popular(), "popular")
    with client(address, READ) as http:
        first = http.get(f"/shelf/feed/{user}")
        assert first.content == value and first.headers["Cache-Control"] == "private, no-cache"
        again = http.get(f"/shelf/feed/{user}", headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304 and not again.content
        assert http.get("/shelf/popular/all").headers["Cache-Control"] == "public, max-age=5"


def test_bodies_are_limited_and_no_input_is_taken_wrong(address: str) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9)
    with client(address) as http:
        for content, headers, status, said in (
            (b"x" * 1_048_577, {}, 413, "limit"),
            (bomb, {"Content-Encoding": "gzip"}, 413, "decompressed"),
            (b"no gzip", {"Content-Encoding": "gzip"}, 400, "no gzip"),
            (gzip.compress(b"{}" * 9)[:-9], {"Content-Encoding": "gzip"}, 400, "end is missing"),
            (b"{}", {"Content-Encoding": "br"}, 415, "gzip"),
            (b"{}", {"Content-Type": "text/html"}, 415, "not taken"),
            (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "UTF-8"),
            (b"[" * 100_000, {}, 400, "none of it"),
            (b"[1, 2", {}, 400, "none of it"),
            (b"[]", {}, 400, "empty"),
            (b"{}\n" * 1_001, {}, 413, "1001 objects"),
            (json.dumps(click(note="x" * 70_000)).encode(), {}, 400, "oversized"),
            (b"\xef\xbb\xbf{}", {}, 400, "malformed"),
            (json.dumps(click()).encode("utf-16"), {}, 400, "malformed"),
        ):
            answer = http.post("/events", content=content, headers=headers)
            assert answer.status_code == status and said in answer.text, (content[:20], answer.text)
        for path in ("/", "/events/x", "/../etc/passwd", "/shelf", "/static/app.py"):
            assert http.get(path).status_code == 404
        wrong = http.get("/events")
        assert wrong.status_code == 405 and wrong.json()["error"]


def talk(address: str, *parts: bytes, timeout_s: float = 60.0) -> bytes:
    """Send bytes as they are; what comes back until the server closes the connection or has answered."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=timeout_s) as wire:
        for part in parts:
            wire.sendall(part)
        return wire.recv(65_536)


def test_junk_and_slow_senders_are_answered_or_let_go(address: str) -> None:
    head = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITE}\r\n".encode()
    assert b" 400 " in talk(address, b"\x16\x03\x01\x02nonsense\r\n\r\n").split(b"\r\n")[0]
    assert b" 400 " in talk(address, head + b"Content-Length: -5\r\n\r\n").split(b"\r\n")[0]
    assert b" 400 " in talk(address, head + b"Bad Header: 1\r\n\r\n").split(b"\r\n")[0]
    assert b" 413 " in talk(address, head + b"Content-Length: 99999999999\r\n\r\n").split(b"\r\n")[0]
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    more = (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 20
    assert b" 413 " in talk(address, head + chunked, more).split(b"\r\n")[0]
    assert b" 408 " in talk(address, head + b"Content-Length: 50\r\n\r\n{").split(b"\r\n")[0]
    with client(address) as http:
        assert http.post("/events", json=click()).status_code == 202


LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40)
NAMES = ["Authorization", "X-API-Key", "Origin", "Host", "Content-Type", "Content-Encoding", "X-Forwarded-For"]
STATED = {200, 202, 304, 400, 401, 403, 404, 405, 408, 413, 415, 421, 429}


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT"]),
    st.sampled_from(["/events", "/items", "/items/", "/forget", "/shelf/feed/", "/shelf/search/", "/metrics", "/"]),
    st.binary(max_size=12).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw)),
    st.sampled_from(["", "?filter=", "?user=", "?key=", "?segment=&"]),
    st.lists(
        st.tuples(st.sampled_from(NAMES) | LATIN, LATIN | st.sampled_from(["gzip", "text/plain", ORIGIN])), max_size=4
    ),
    st.booleans(),
    st.binary(max_size=60) | st.sampled_from([b"{}", b'{"user_id": 1}', b"[[]]", b'{"item_id": 1e400}', b"null"]),
)
def test_no_request_is_an_error_of_the_collector(
    address: str, method: str, path: str, rest: str, query: str, named: list[tuple[str, str]], known: bool, body: bytes
) -> None:
    lines = [f"{method} {path}{rest}{query}{rest if query else ''} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"Authorization: Bearer {WRITE}"] * known + [f"{name}: {value}" for name, value in named]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1")
    answer = talk(address, head + body)
    assert int(answer.split(b" ", 2)[1]) in STATED, (head + body, answer)


def test_metrics_and_description(address: str) -> None:
    with client(address) as http:
        http.post("/events", json=click())
        text = until(
            lambda: (said := http.get("/metrics").text) and "liveshelf_collector_events_total" in said and said
        )
        assert "liveshelf_collector_takes 1.0" in text and "liveshelf_collector_status_202_total" in text
        document = http.get("/openapi.json", headers={"Authorization": ""}).json()
    assert document["openapi"] == "3.1.0" and "Click" in document["components"]["schemas"]


def test_it_reports_as_other_roles_do(kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path: Path) -> None:
    token = "token-of-prometheus"
    env = environment(kafka.bootstrap_servers, redis_url, topics) | {"LIVESHELF_METRICS__TOKEN": token}
    with collecting(env, tmp_path / "log") as (where, _), client(where, token) as prometheus, client(where) as http:
        assert prometheus.get("/metrics").status_code == 200
        assert [prometheus.get("/shelf/popular/all").status_code, prometheus.post("/events").status_code] == [403, 403]
        assert http.post("/events", json=[click()] * 3).status_code == 202
        config = StreamsConfig(kafka=kafka, topics=topics)

        def told() -> bool:
            return any(one.counts.get("events") == 3 for one in snapshots(config, 0, "collector"))

        until(told, (tmp_path / "log").read_text)


def test_too_many_are_told_to_wait(kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path: Path) -> None:
    env = environment(kafka.bootstrap_servers, redis_url, topics) | {
        "LIVESHELF_COLLECT__ADDRESS_PER_S": "0.01",
        "LIVESHELF_COLLECT__KEY_PER_S": "0.5",
        "LIVESHELF_COLLECT__BURST_S": "10",
        "LIVESHELF_COLLECT__PROXIES": '["127.0.0.1"]',
    }
    with collecting(env, tmp_path / "log") as (where, _), client(where, PAGE) as page, client(where) as server:
        assert page.post("/events", json=[click()] * 3).status_code == 202
        second = page.post("/events", json=click())
        assert second.status_code == 429 and int(second.headers["Retry-After"]) > 100
        elsewhere = {"X-Forwarded-For": "203.0.113.9"}
        assert page.post("/events", json=click(), headers=elsewhere).status_code == 202, "another visitor of the proxy"
        assert server.post("/events", json=[click()] * 20).status_code == 202, "the shop's own address is not limited"
        assert server.post("/events", json=click()).status_code == 429, "but its key is"
        assert page.get("/healthz").status_code == 200


def test_what_is_held_in_memory_is_bounded(
    kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path: Path
) -> None:
    env = environment(kafka.bootstrap_servers, redis_url, topics) | {"LIVESHELF_COLLECT__MEMORY_BYTES": "100000"}
    with collecting(env, tmp_path / "log") as (where, _), client(where) as http:
        for content, headers in (
            (b"x" * 150_000, {}),
            (gzip.compress(b"x" * 150_000), {"Content-Encoding": "gzip"}),
            (b"\n".join(json.dumps(click()).encode() for _ in range(90)), {}),
        ):
            full = http.post("/events", content=content, headers=headers)
            assert full.status_code == 503 and int(full.headers["Retry-After"]) > 0, full.text
        assert [http.post("/events", json=click()).status_code for _ in range(200)] == [202] * 200, "it is given back"


def test_kafka_goes_and_comes_back(redis_url: str, tmp_path: Path) -> None:
    """While Kafka is away nothing is acknowledged; a retry with the same id is taken."""
    topics = TopicsConfig(prefix="t-", partitions=2, compacted_partitions=1)
    broker = LocalKafka(tmp_path / "kafka", heap_mb=256)
    with broker:
        port = broker.port
        config = KafkaConfig(bootstrap_servers=broker.address)
        env = environment(broker.address, redis_url, topics) | {"LIVESHELF_COLLECT__ACK_S": "1"}
        with collecting(env, tmp_path / "log") as (where, process), client(where) as http:
            acknowledged = [click()]
            assert http.post("/events", json=acknowledged[0]).status_code == 202
            broker.stop()
            lost = click()
            answer = http.post("/events", json=lost)
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
            assert "same ids" in answer.json()["error"]
            until(lambda: http.get("/healthz").status_code == 503)
            assert http.post("/events", json=click()).status_code == 503
            assert process.running
            broker.start()
            assert broker.port == port
            until(lambda: http.post("/events", json=lost).status_code == 202)
            found = on_topic(config, "t-shop.events", {acknowledged[0]["event_id"], lost["event_id"]})
            assert len(found) == 2
            assert http.get("/healthz").status_code == 200


def test_it_starts_without_kafka_and_redis_and_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    env = environment(f"127.0.0.1:{nobody}", f"redis://127.0.0.1:{nobody}/0", TopicsConfig())
    with collecting(env, tmp_path / "log", ready=False) as (where, process):
        with client(where) as http:
            assert http.get("/healthz").status_code == 503
            assert http.post("/events", json=click()).status_code == 503
            shelf = http.get("/shelf/popular/all", headers={"Authorization": f"Bearer {READ}"})
            assert shelf.status_code == 503 and "Redis" in shelf.json()["error"]
        process.terminate()
        assert process.wait() == 0


def test_what_is_under_way_at_the_end_is_answered(
    kafka: KafkaConfig, redis_url: str, topics: TopicsConfig, tmp_path: Path
) -> None:
    """SIGTERM amid many requests: each is acknowledged and there, or was refused."""
    taken, refused = set[str](), 0
    with collecting(environment(kafka.bootstrap_servers, redis_url, topics), tmp_path / "log") as (where, process):
        begun = threading.Barrier(9)

        def sender() -> None:
            nonlocal refused
            with client(where) as http:
                for number in range(400):
                    events = [click() for _ in range(5)]
                    if number == 20:
                        begun.wait()
                    try:
                        answer = http.post("/events", json=events)
                    except httpx.TransportError:
                        refused += 1
                        return
                    if answer.status_code == 202:
                        taken.update(event["event_id"] for event in events)

        threads = [threading.Thread(target=sender) for _ in range(8)]
        for thread in threads:
            thread.start()
        begun.wait()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait() == 0, (tmp_path / "log").read_text()
    assert refused == 8 and len(taken) >= 8 * 20 * 5
    assert on_topic(kafka, Topics(topics.prefix).events, taken).keys() == taken
