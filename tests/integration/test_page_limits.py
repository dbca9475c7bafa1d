"""The live page's connections on real sockets: who does not ask, asks slowly or does not read is let go; and what the
page lives by is watched."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Self

import httpx
import psutil
import pytest

from evaluator.dashboard.panels.learning import MOST_ALERTS
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.topic import publish
from streams.clock import wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.producer import send_now
from streams.kafka.record import Send
from streams.runtime import http_server
from tests.integration.test_dashboard import served
from tests.shop import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LIMIT_S = 120.0
UNREAD_S = 8.0
"""What the page whose readers do not read takes for long; its own is longer."""
QUICKER = f"""
from streams.runtime import http_server
from liveshelf.cli.app import main
http_server.UNREAD_S = {UNREAD_S}
main()
"""
SLOW, TICK_BYTES = 20, 2_000_000


@pytest.fixture
def env(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig) -> dict[str, str]:
    topics.create(kafka, topics_config)
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "REDIS_URL": redis_db,
        "LIVESHELF_TOPICS__PREFIX": topics_config.prefix,
    }


@pytest.fixture
def address(env: dict[str, str], tmp_path: Path) -> Iterator[tuple[str, int]]:
    with served(env, tmp_path / "log") as (url, _):
        yield "127.0.0.1", int(url.rpartition(":")[2])


def asked(address: tuple[str, int], path: bytes, **options: int) -> socket.socket:
    made = socket.socket()
    if size := options.get("buffer"):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    made.connect(address)
    made.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return made


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed, within a time that is generous; what it sends is read."""
    connection.settimeout(LIMIT_S)
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_who_does_not_ask_is_let_go(address: tuple[str, int]) -> None:
    began = time.monotonic()
    with (
        socket.create_connection(address) as silent,
        socket.create_connection(address) as slow,
        asked(address, b"/healthz") as idle,
    ):
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(60):  # a header now and then, and never the last one
            try:
                slow.sendall(b"X-Slow: 1\r\n")
            except OSError:
                break
            time.sleep(0.5)
        else:
            pytest.fail("the slow sender is still connected after 30 s")
        assert ended(silent) and ended(idle)
    assert time.monotonic() - began >= http_server.SILENT_S


def test_readers_are_admitted_up_to_the_limit_however_many_come_at_once(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(asked(address, b"/events"))) for _ in range(200)]
        answers = []
        for reader in readers:
            reader.settimeout(LIMIT_S)
            answers.append(reader.recv(12))
        assert sorted(set(answers)) == [b"HTTP/1.1 200", b"HTTP/1.1 503"] and answers.count(b"HTTP/1.1 200") == 100

    def admitted() -> bool:
        with asked(address, b"/events") as again:
            again.settimeout(LIMIT_S)
            return again.recv(12) == b"HTTP/1.1 200"

    until(admitted, every_s=0.2)  # those that left are counted out


def test_more_connections_than_can_be_are_closed_at_once(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(address)) for _ in range(http_server.MOST_CONNECTIONS + 50)
        ]
        assert all(ended(one) for one in opened[-50:])
    assert httpx.get(f"http://127.0.0.1:{address[1]}/healthz", trust_env=False, timeout=60).status_code in (200, 503)


def fill(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    """Let so many alerts fire that each message to the page's readers is large."""
    topic, now = topics.Topics(topics_config.prefix).alerts, wall_ms()
    evidence = {"words": "x" * (TICK_BYTES // MOST_ALERTS)}

    async def send_all(send: Send) -> None:
        for number in range(MOST_ALERTS):
            labels = {"number": str(number)}
            one = Alert(name="drop", labels=labels, state="firing", summary="", evidence=evidence, since=now)
            await publish(send, topic, one, "test")

    send_now(StreamsConfig(kafka=kafka, topics=topics_config), send_all, limit_s=LIMIT_S)


class Reading:
    """One that reads what the page tells, beside a test."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.told = 0
        self._connection = asked(address, b"/events")
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        before = b""
        with suppress(OSError):
            while read := self._connection.recv(1 << 20):
                self.told += (before + read).count(b"event: tick")
                before = read[-10:]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()


def test_who_does_not_read_what_is_told_takes_no_memory_and_holds_nobody_up(
    env: dict[str, str], kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    fill(kafka, topics_config)
    with ExitStack() as stack:
        program = ("-c", QUICKER)
        url, process = stack.enter_context(served(env, tmp_path / "log", program=program))
        address = "127.0.0.1", int(url.rpartition(":")[2])

        def pages() -> float:
            text = httpx.get(f"{url}/metrics", trust_env=False, timeout=60).text
            return float(text.partition("\nliveshelf_dashboard_pages ")[2].partition("\n")[0])

        until(lambda: len(httpx.get(f"{url}/api/state", trust_env=False, timeout=60).content) > TICK_BYTES)
        reading = stack.enter_context(Reading(address))
        until(lambda: reading.told >= 2)
        memory = psutil.Process(process.pid).memory_info
        before = memory().rss
        slow = [stack.enter_context(closing(asked(address, b"/events", buffer=4_096))) for _ in range(SLOW)]
        until(lambda: pages() == SLOW + 1)
        told, most = reading.told, before

        def let_go() -> bool:
            nonlocal most
            most = max(most, memory().rss)
            return pages() == 1

        until(let_go)
        assert reading.told - told >= UNREAD_S / 2, "the one that reads is told meanwhile"
        unread = SLOW * TICK_BYTES
        assert most - before < 3 * unread, "of each reader a message or two, and not all that were told"
        assert all(ended(one) for one in slow)
