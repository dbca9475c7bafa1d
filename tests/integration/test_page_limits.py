"""The live page's connections on real sockets: who does not ask, asks slowly or does not read is let go; and what the
page lives by is watched."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from evaluator.dashboard import connections
from streams import topics
from streams.config import KafkaConfig, TopicsConfig
from tests.integration.test_dashboard import served

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LIMIT_S = 120.0


@pytest.fixture
def address(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> Iterator[tuple[str, int]]:
    topics.create(kafka, topics_config)
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "REDIS_URL": redis_db,
        "LIVESHELF_TOPICS__PREFIX": topics_config.prefix,
    }
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
    assert time.monotonic() - began >= connections.SILENT_S


def test_readers_are_admitted_up_to_the_limit_however_many_come_at_once(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(asked(address, b"/events"))) for _ in range(200)]
        answers = []
        for reader in readers:
            reader.settimeout(LIMIT_S)
            answers.append(reader.recv(12))
        assert sorted(set(answers)) == [b"HTTP/1.1 200", b"HTTP/1.1 503"] and answers.count(b"HTTP/1.1 200") == 100
    until = time.monotonic() + LIMIT_S
    while True:  # those that left are counted out
        with asked(address, b"/events") as again:
            again.settimeout(LIMIT_S)
            if again.recv(12) == b"HTTP/1.1 200":
                break
        assert time.monotonic() < until
        time.sleep(0.2)


def test_more_connections_than_can_be_are_closed_at_once(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(address)) for _ in range(connections.MOST_CONNECTIONS + 50)
        ]
        assert all(ended(one) for one in opened[-50:])
    assert httpx.get(f"http://127.0.0.1:{address[1]}/healthz", trust_env=False, timeout=60).status_code in (200, 503)
