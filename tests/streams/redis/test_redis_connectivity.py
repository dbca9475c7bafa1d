"""What is said when Redis cannot be reached, by real servers; TLS is a proxy's, since not every server has it."""

import asyncio
import gc
import logging
import os
import select
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr, ValidationError

from liveshelf.stack import ports
from liveshelf.stack.redis import LocalRedis
from streams.config import RedisConfig
from streams.connectivity import UnreachableError
from streams.redis import redis_connectivity
from streams.redis.connection import connect, connect_now
from tests.certificates import Certificates
from tests.logged import logged
from tests.redis_nodes import Cluster, watched

pytestmark = pytest.mark.integration


def reach(url: str) -> None:
    redis_connectivity.reach(RedisConfig(url=SecretStr(url)))


def refused(url: str) -> str:
    """What is said of a URL, within seconds."""
    started = time.monotonic()
    with pytest.raises(UnreachableError) as told:
        reach(url)
    assert time.monotonic() - started < 10  # five, on a machine that has nothing else to do
    assert "secret" not in str(told.value)
    return str(told.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """A server with two users; the default one has a password."""
    with LocalRedis(tmp_path_factory.mktemp("redis"), memory_mb=64) as server:
        with redis.Redis.from_url(server.address) as client:
            client.acl_setuser("worker", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"])
            client.acl_setuser(
                "page", enabled=True, passwords=["+secret"], keys=["shelf:*"], commands=["+get", "+ping"]
            )
            client.config_set("requirepass", "top-secret")
        yield server
        server.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name in ("ca", "other"):
        made.authority(name)
    made.signed("server")
    made.signed("client")
    made.signed("elsewhere", names="DNS:cache.example")
    return made


@contextmanager
def behind_tls(port: int, certificate: Path, clients: Path | None = None) -> Iterator[int]:
    """A port that speaks TLS and hands on what it hears; with ``clients`` only to those whom that authority knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with (
                    context.wrap_socket(self.request, server_side=True) as here,
                    socket.create_connection(("127.0.0.1", port)) as there,
                ):
                    while True:
                        ready, _, _ = select.select([here, there], [], [], 30)
                        for one in ready:
                            data = one.recv(65_536)
                            if not data:
                                return
                            (there if one is here else here).sendall(data)
            except OSError:
                pass

    class Listening(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Listening(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


def test_users_and_passwords(server: LocalRedis) -> None:
    at = f"127.0.0.1:{server.port}"
    reach(f"redis://:top-secret@{at}/0")
    reach(f"redis://worker:secret@{at}/0")
    reach(f"redis://page:secret@{at}/0")  # who may read shelves and nothing else
    assert "refuses user 'worker'" in refused(f"redis://worker:secre@{at}/0")
    assert "refuses the password of the default user" in refused(f"redis://:secre@{at}/0")
    assert "wants a password" in refused(f"redis://{at}/0")
    assert "has no database 99" in refused(f"redis://worker:secret@{at}/99")


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    free = ports.several(1, 0, "", "")[0]
    assert "nothing listens there" in refused(f"redis://127.0.0.1:{free}/0")
    assert "does not resolve" in refused("redis://no-such-host.invalid/0")
    assert "redis.url" in refused(f"unix://{tmp_path}/none")


# redis-py does not wait for the end of a connection that failed, so our loop may end first; collected here, not later.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_tls(server: LocalRedis, certificates: Certificates) -> None:
    folder, me = certificates.folder, "worker:secret@"
    ca = f"ssl_ca_certs={folder}/ca.pem"
    with behind_tls(server.port, folder / "server.pem") as port:
        at = f"localhost:{port}/0"
        reach(f"rediss://{me}{at}?{ca}")
        with connect_now(RedisConfig(url=SecretStr(f"rediss://{me}{at}?{ca}"))) as client:
            assert client.ping()
        assert "refuses user" in refused(f"rediss://worker:secre@{at}?{ca}")
        assert "nobody vouches for whom we trust" in refused(f"rediss://{me}{at}")
        assert "nobody vouches for whom we trust" in refused(f"rediss://{me}{at}?ssl_ca_certs={folder}/other.pem")
        assert "/nowhere.pem that ssl_ca_certs in redis.url" in refused(f"rediss://{me}{at}?ssl_ca_certs=/nowhere.pem")
        assert "holds no certificates" in refused(f"rediss://{me}{at}?ssl_ca_certs={folder}/ca.key")
        assert "speaks TLS" in refused(f"redis://{me}{at}")
    assert "speaks no TLS" in refused(f"rediss://{me}localhost:{server.port}/0?{ca}")
    with behind_tls(server.port, folder / "elsewhere.pem") as port:
        assert "is not for this name" in refused(f"rediss://{me}localhost:{port}/0?{ca}")
    with behind_tls(server.port, folder / "server.pem", folder / "ca.pem") as port:
        url = f"rediss://{me}localhost:{port}/0?{ca}"
        assert "wants a client's certificate" in refused(url)
        own = f"ssl_certfile={folder}/client.crt&ssl_keyfile={folder}"
        reach(f"{url}&{own}/client.key")
        assert "do not belong together" in refused(f"{url}&{own}/ca.key")
    gc.collect()


def test_a_cluster_a_single_server_and_sentinels_are_told_apart(tmp_path: Path, redis_url: str) -> None:
    with Cluster(tmp_path / "cluster", replicas=0).running() as nodes, watched(tmp_path) as (sentinels, servers):
        for url in (nodes.url, sentinels, redis_url):
            reach(url)
        node = nodes.url.removeprefix("redis+cluster://").partition(",")[0]
        guard = sentinels.removeprefix("redis+sentinel://").partition(",")[0]
        assert "is a node of a cluster: write redis.url as redis+cluster://" in refused(f"redis://{node}/0")
        assert "is a single server" in refused(redis_url.replace("redis://", "redis+cluster://"))
        assert "is a Sentinel: write redis.url as redis+sentinel://" in refused(f"redis://{guard}/0")
        assert "is a single server" in refused(f"redis+sentinel://127.0.0.1:{servers[0].port}/shop")
        assert "knows no master 'shops' (it watches over shop)" in refused(f"{sentinels}s")
        # One that is away does not matter while another answers.
        reach(f"redis+cluster://127.0.0.1:{ports.several(1, 0, '', '')[0]},{node}")
        for _ in range(100):  # of those that answer nearly at once all are closed, wherever the later ones are by then
            reach(nodes.url)
    gc.collect()


def test_a_policy_that_throws_histories_away_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalRedis(tmp_path, memory_mb=64) as server, redis.Redis.from_url(server.address) as client:
        with caplog.at_level(logging.WARNING):
            reach(server.address)
            assert not logged(caplog, "streams.redis.redis_connectivity")
            policies = ("allkeys-lru", "volatile-ttl")
            for policy in policies:
                client.config_set("maxmemory-policy", policy)
                reach(server.address)
        told = zip(logged(caplog, "streams.redis.redis_connectivity"), policies, strict=True)
        assert all(policy in message for message, policy in told)


@pytest.mark.parametrize(
    "url, says",
    [
        ("reddis://h/0", "perhaps 'redis://' is meant"),
        ("redis+clusters://h", "perhaps 'redis+cluster://' is meant"),
        ("h:6379", "without a scheme"),
        ("http://h", "begins with one of redis://"),
        ("redis+sentinel://h", "names the service"),
        ("redis+cluster://h/3", "database 0 only"),
        ("redis://h/one", "number of a database"),
        ("redis://:se#cret@h/0", "%23"),
        ("redis://h/0?ssl_ca_cert=x", "perhaps 'ssl_ca_certs' is meant"),
        ("redis://h/0?sentinel_password=secret", "only a Sentinel URL"),
        ("redis+cluster://h,,i", "names a host"),
    ],
)
def test_urls_that_cannot_be_read_are_told_in_a_sentence(url: str, says: str) -> None:
    with pytest.raises(ValidationError) as told:
        RedisConfig(url=SecretStr(url))
    said = told.value.errors(include_url=False)[0]["msg"]
    assert says in said and "cret" not in said


def test_both_kinds_of_clients_work_everywhere(tmp_path: Path, redis_db: str) -> None:
    async def written(config: RedisConfig) -> bytes | None:
        client = connect(config)
        try:
            async with client.pipeline(transaction=False) as pipe:
                for number in range(20):
                    pipe.set(f"k{number}", number, ex=60)
                await pipe.execute()
            return await client.get("k7")
        finally:
            await client.aclose()

    with Cluster(tmp_path / "cluster", replicas=0).running() as nodes, watched(tmp_path) as (sentinels, _):
        for url in (nodes.url, sentinels, redis_db):
            config = RedisConfig(url=SecretStr(url))
            assert asyncio.run(written(config)) == b"7"
            with connect_now(config) as client:
                assert len(set(client.scan_iter("k*"))) == 20 and client.get("k8") == b"8"
                client.flushdb()
                assert not list(client.scan_iter("k*"))


@pytest.mark.parametrize(
    "command",
    [["get", "feed", "u"], ["status"], ["worker"], ["evaluator"], ["trainer"], ["dashboard"], ["collect"], ["up"]],
    ids=" ".join,
)
def test_every_command_that_asks_redis_says_it_in_one_sentence(
    kafka: object, server: LocalRedis, tmp_path: Path, command: list[str]
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LIVESHELF_", "KAFKA_", "REDIS_"))}
    env |= {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,  # type: ignore[attr-defined]
        "REDIS_URL": f"redis://worker:geheim@127.0.0.1:{server.port}/0",
        "LIVESHELF_STACK__FOLDER": str(tmp_path / "stack"),
        "LIVESHELF_DASHBOARD__PORT": "0",
        "COLUMNS": "1000",
    }
    done = subprocess.run(
        [sys.executable, "-m", "liveshelf", *command],
        check=False,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "refuses user 'worker': check user and password in redis.url" in said
    assert "Traceback" not in said and "geheim" not in said
