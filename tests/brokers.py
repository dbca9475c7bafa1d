"""Three real brokers that replicate each other, for the tests: any one of them may be killed and started again."""

import os
import signal
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from liveshelf.stack import ports
from liveshelf.stack.kafka import LocalKafka

READY_S = 120.0


class Broker(LocalKafka):
    """One of them: broker and voter of the controllers' quorum."""

    def __init__(self, folder: Path, node: int, numbers: Sequence[tuple[int, int]], cluster: str) -> None:
        super().__init__(folder, numbers[node - 1][0], heap_mb=256)
        self.node, self.numbers, self._cluster = node, numbers, cluster

    def spawn(self) -> None:
        """Start it without waiting: the first of three cannot be ready before the second is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = self._launch()

    def kill(self) -> None:
        """End it as a machine that loses power."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert self.running, self._why()
            assert time.monotonic() < deadline, self._why()
            time.sleep(0.1)

    def _configure(self) -> None:
        super()._configure()
        settings = self.folder / "server.properties"
        voters = ",".join(f"{n}@{ports.LOOPBACK}:{pair[1]}" for n, pair in enumerate(self.numbers, 1))
        given = dict(line.split("=", 1) for line in settings.read_text().splitlines())
        host, (port, controller) = ports.LOOPBACK, self.numbers[self.node - 1]
        given |= {
            "node.id": str(self.node),
            "controller.quorum.voters": voters,
            "listeners": f"BROKER://{host}:{port},CONTROLLER://{host}:{controller}",
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
        }
        settings.write_text("".join(f"{name}={value}\n" for name, value in given.items()))


@contextmanager
def brokers(folder: Path, count: int = 3) -> Iterator[list[Broker]]:
    """All of them, ready; at the end all are stopped."""
    free = ports.several(2 * count, 0, "", "")
    numbers = list(zip(free[::2], free[1::2], strict=True))
    cluster = "L" + urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
    made = [Broker(folder / f"broker-{node}", node, numbers, cluster) for node in range(1, count + 1)]
    try:
        for broker in made:
            broker.spawn()
        for broker in made:
            broker.wait()
        yield made
    finally:
        for broker in made:
            broker.stop()
