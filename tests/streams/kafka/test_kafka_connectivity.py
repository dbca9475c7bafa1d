"""What is said when Kafka cannot be reached, by a real broker that listens in five ways; each within seconds."""

import asyncio
import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer

from liveshelf.stack import ports
from liveshelf.stack.kafka import LocalKafka
from streams.config import KafkaConfig, TopicsConfig
from streams.connectivity import UnreachableError
from streams.kafka import kafka_connectivity, topics
from streams.kafka.connection import aiokafka_client
from tests.certificates import Certificates

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LISTENERS = ("TLS", "MUTUAL", "USERS", "SAFE")

PROPERTIES = """
listeners={listeners},{more}
advertised.listeners={advertised},{more}
listener.security.protocol.map={protocols},TLS:SSL,MUTUAL:SSL,USERS:SASL_PLAINTEXT,SAFE:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.mutual.ssl.client.auth=required
listener.name.users.sasl.enabled.mechanisms=PLAIN
listener.name.safe.sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config={jaas}
listener.name.safe.plain.sasl.jaas.config={jaas}
"""
JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_shop="s3cret";'


class Listening(LocalKafka):
    """A broker with five listeners."""

    def __init__(self, folder: Path, server: Path, ca: Path) -> None:
        super().__init__(folder)
        self.at = dict(zip(LISTENERS, ports.several(len(LISTENERS), 0, "", ""), strict=True))
        self._files = {"server": server, "ca": ca}

    def _configure(self) -> None:
        super()._configure()
        file = self.folder / "server.properties"
        lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
        more = PROPERTIES.format(
            listeners=lines["listeners"],
            advertised=lines["advertised.listeners"],
            protocols=lines["listener.security.protocol.map"],
            more=",".join(f"{name}://localhost:{port}" for name, port in self.at.items()),
            jaas=JAAS,
            **self._files,
        )
        lines |= dict(line.split("=", 1) for line in more.strip().splitlines())
        file.write_text("\n".join(f"{name}={value}" for name, value in lines.items()))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name in ("ca", "other"):
        made.authority(name)
    made.signed("server")
    made.signed("client")
    made.signed("stranger", by="other")
    return made


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Listening]:
    files = (certificates.folder / "server.pem", certificates.folder / "ca.pem")
    with Listening(tmp_path_factory.mktemp("kafka"), *files) as server:
        yield server


def config(broker: Listening, listener: str | None, certificates: Certificates, **more: Any) -> KafkaConfig:
    """Settings for a listener, files by their names."""
    for name in ("ca_file", "cert_file", "key_file"):
        if name in more and "/" not in more[name]:
            more[name] = str(certificates.folder / more[name])
    where = broker.address if listener is None else f"localhost:{broker.at[listener]}"
    return KafkaConfig(bootstrap_servers=where, **more)


TRUSTED = {"ca_file": "ca.pem"}
ME = {"username": "shop", "password": "s3cret", "sasl_mechanism": "PLAIN"}


@pytest.mark.parametrize(
    "listener, settings",
    [
        (None, {}),
        ("TLS", {"security_protocol": "SSL", **TRUSTED}),
        ("MUTUAL", {"security_protocol": "SSL", **TRUSTED, "cert_file": "client.pem"}),
        ("MUTUAL", {"security_protocol": "SSL", **TRUSTED, "cert_file": "client.crt", "key_file": "client.key"}),
        ("USERS", {"security_protocol": "SASL_PLAINTEXT", **ME}),
        ("SAFE", {"security_protocol": "SASL_SSL", **TRUSTED, **ME}),
    ],
)
def test_what_is_right_is_reached_by_all_libraries(
    broker: Listening, certificates: Certificates, listener: str | None, settings: dict[str, Any]
) -> None:
    kafka = config(broker, listener, certificates, **settings)
    kafka_connectivity.reach(kafka)
    admin = KafkaAdminClient(**kafka.client())
    admin.list_topics()
    admin.close()

    async def produce() -> None:
        producer = AIOKafkaProducer(**aiokafka_client(kafka))
        await producer.start()
        await producer.stop()
        # aiokafka does not wait until its first connection has said goodbye in TLS.
        while any(each._sock is not None for each in vars(asyncio.get_running_loop())["_transports"].values()):
            await asyncio.sleep(0.001)

    asyncio.run(produce())
    KafkaConsumer(**kafka.client()).close()


WRONG = [
    ("USERS", {"security_protocol": "SASL_PLAINTEXT", **ME, "password": "guess"}, "refuses user 'shop'"),
    ("SAFE", {"security_protocol": "SASL_SSL", **TRUSTED, **ME, "username": "boss"}, "refuses user 'boss'"),
    (
        "USERS",
        {"security_protocol": "SASL_PLAINTEXT", **ME, "sasl_mechanism": "SCRAM-SHA-512"},
        "does not take kafka.sasl_mechanism SCRAM-SHA-512",
    ),
    ("TLS", {"security_protocol": "SSL", "ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem that kafka.ca_file names"),
    ("TLS", {"security_protocol": "SSL", "ca_file": "ca.key"}, "ca.key holds no certificates in PEM"),
    ("TLS", {"security_protocol": "SSL", "ca_file": "other.pem"}, "nobody vouches for whom we trust"),
    ("TLS", {"security_protocol": "SSL"}, "nobody vouches for whom we trust"),
    ("MUTUAL", {"security_protocol": "SSL", **TRUSTED}, "wants a client's certificate"),
    ("MUTUAL", {"security_protocol": "SSL", **TRUSTED, "cert_file": "stranger.pem"}, "certificate"),
    (
        "MUTUAL",
        {"security_protocol": "SSL", **TRUSTED, "cert_file": "client.crt", "key_file": "ca.key"},
        "do not belong together",
    ),
    ("TLS", {}, "speaks TLS and kafka.security_protocol is PLAINTEXT"),
    ("SAFE", {"security_protocol": "SASL_PLAINTEXT", **ME}, "set it to SASL_SSL"),
    (None, {"security_protocol": "SSL", **TRUSTED}, "speaks no TLS"),
    ("USERS", {"security_protocol": "SASL_SSL", **TRUSTED, **ME}, "set it to SASL_PLAINTEXT"),
    ("USERS", {}, "probably wants a user"),
    ("SAFE", {"security_protocol": "SSL", **TRUSTED}, "probably wants a user"),
    (None, {"security_protocol": "SASL_PLAINTEXT", **ME}, "asks for no user"),
]


# aiokafka does not wait for the end of a connection that was refused; collected here, not in a later test.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("listener, settings, says", WRONG)
def test_what_is_wrong_is_said_in_seconds(
    broker: Listening, certificates: Certificates, listener: str | None, settings: dict[str, Any], says: str
) -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError) as told:
        kafka_connectivity.reach(config(broker, listener, certificates, **settings))
    assert says in str(told.value) and "s3cret" not in str(told.value)
    assert not told.value.passing
    assert time.monotonic() - started < 10  # five, on a machine that has nothing else to do
    gc.collect()


def test_addresses_that_lead_nowhere_are_told_apart(broker: Listening) -> None:
    free = ports.several(1, 0, "", "")[0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_port = silent.getsockname()[1]
        for servers, says, passing in (
            ("no-such-host.invalid:9092", "does not resolve", False),
            (f"127.0.0.1:{free}", "nothing listens there", True),
            (f"127.0.0.1:{silent_port}", "does not speak Kafka's protocol", False),
            ("broker:port", "is no host and port", False),
        ):
            with pytest.raises(UnreachableError, match=says) as told:
                kafka_connectivity.reach(KafkaConfig(bootstrap_servers=servers))
            assert told.value.passing == passing
    kafka_connectivity.reach(KafkaConfig(bootstrap_servers=f"no-such-host.invalid:1,127.0.0.1:{free},{broker.address}"))


def test_a_broker_that_sends_its_clients_elsewhere_is_told(tmp_path: Path) -> None:
    class Misled(LocalKafka):
        def _configure(self) -> None:
            super()._configure()
            file = self.folder / "server.properties"
            named = f"advertised.listeners=BROKER://{ports.LOOPBACK}:"
            file.write_text(file.read_text().replace(named, "advertised.listeners=BROKER://no-such-host.invalid:"))

        def _answers(self) -> bool:
            return ports.answers(self.port)

    with Misled(tmp_path) as server, pytest.raises(UnreachableError, match=r"no-such-host.invalid.*advertised"):
        while True:  # it knows of itself a moment after it listens
            kafka_connectivity.reach(KafkaConfig(bootstrap_servers=server.address))


COMMANDS = [
    ["worker"],
    ["evaluator"],
    ["trainer"],
    ["dashboard", "--port", "0"],
    ["collect", "--port", "0"],
    ["up"],
    ["status"],
    ["topics", "create"],
    ["import", "items", "ITEMS"],
    ["replay", "ITEMS"],
    ["dead-letters", "ls"],
    ["alerts", "ls"],
    ["health"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_it_in_one_sentence(broker: Listening, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "items.jsonl").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LIVESHELF_", "KAFKA_", "REDIS_"))}
    env |= {
        "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{broker.at['USERS']}",
        "LIVESHELF_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "LIVESHELF_KAFKA__SASL_MECHANISM": "PLAIN",
        "LIVESHELF_KAFKA__USERNAME": "shop",
        "LIVESHELF_KAFKA__PASSWORD": "guess",
        "LIVESHELF_STACK__FOLDER": str(tmp_path / "stack"),
        "COLUMNS": "1000",
    }
    words = [part.replace("ITEMS", "items.jsonl") for part in command]
    done = subprocess.run(
        [sys.executable, "-m", "liveshelf", *words],
        check=False,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "refuses user 'shop': check kafka.username and kafka.password" in said
    assert "Traceback" not in said and "guess" not in said


def test_topics_are_made_through_every_kind_of_listener(broker: Listening, certificates: Certificates) -> None:
    own = TopicsConfig(prefix="mutual-", partitions=1, compacted_partitions=1)
    kafka = config(broker, "MUTUAL", certificates, security_protocol="SSL", **TRUSTED, cert_file="client.pem")
    assert len(topics.create(kafka, own)) == len(topics.plan(own))
