"""Real Redis servers that belong together: a cluster of masters with replicas, or Sentinels and what they watch."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from liveshelf.stack import ports
from liveshelf.stack.process import Process, tail
from liveshelf.stack.redis import LocalRedis, _program
from liveshelf.stack.service import Server
from tests.shop import until

SLOTS = 16_384
LOST_MS = 2_000
"""When a node that is silent is taken for dead."""


class Node(LocalRedis):
    """A server with more settings than ours has."""

    def __init__(self, folder: Path, options: dict[str, str], port: int = 0) -> None:
        super().__init__(folder, port, memory_mb=64)
        self._options = options

    def _command(self) -> list[str]:
        more = (part for name, value in self._options.items() for part in (f"--{name}", value))
        return [*super()._command(), *more]

    def client(self) -> "redis.Redis":
        """A client of this node alone."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        assert self.pid is not None and self.running
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.running)


class Cluster:
    """Three masters, and as many replicas of each as wanted."""

    def __init__(self, folder: Path, masters: int = 3, replicas: int = 1) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(LOST_MS),
            "cluster-config-file": "nodes.conf",
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "cluster-replica-validity-factor": "0",
        }
        count = masters * (1 + replicas)
        self.nodes = [Node(folder / f"node-{number}", options, port) for number, port in enumerate(_pairs(count))]
        self.masters = masters

    @property
    def url(self) -> str:
        """What a client is told: not all of the nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        """Started, joined, and all slots served."""
        with ExitStack() as started:
            for node in self.nodes:
                started.enter_context(node)
            self._join()
            yield self

    def info(self, node: Node) -> dict[str, str]:
        """What a node says of the cluster."""
        with node.client() as client:
            found: dict[str, str] = client.execute_command("CLUSTER INFO")
            return found

    def whole(self) -> bool:
        """Whether every node that runs says that all is well."""
        said = [self.info(node) for node in self.nodes if node.running]
        return all(one["cluster_state"] == "ok" and one["cluster_slots_ok"] == str(SLOTS) for one in said)

    def master_of(self, key: str) -> Node | None:
        """The running node that serves a key now; None while nobody does."""
        for node in (one for one in self.nodes if one.running):
            with node.client() as client:
                try:
                    client.type(key)
                except redis.RedisError:  # it is another's, or nobody's while a replica takes over
                    continue
                if client.role()[0] == b"master":
                    return node
        return None

    def _join(self) -> None:
        clients = [node.client() for node in self.nodes]
        share = -(-SLOTS // self.masters)
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < self.masters:
                slots = range(number * share, min(SLOTS, (number + 1) * share))
                client.execute_command("CLUSTER ADDSLOTS", *slots)
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        until(lambda: all(self.info(node)["cluster_known_nodes"] == str(len(clients)) for node in self.nodes))
        ids = [client.execute_command("CLUSTER MYID").decode() for client in clients[: self.masters]]
        for number, client in enumerate(clients[self.masters :]):
            mine = ids[number % self.masters]
            until(lambda client=client, mine=mine: _replicate(client, mine))  # type: ignore[misc]
        for client in clients[self.masters :]:
            until(lambda client=client: client.info("replication")["master_link_status"] == "up")  # type: ignore[misc]
        until(self.whole)
        for client in clients:
            client.close()


def _pairs(count: int) -> list[int]:
    """Free ports where the one 10,000 higher is free too: there nodes of a cluster talk to each other."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12_000, 22_000)  # below those that the system gives to whoever asks
        if port not in found and ports.is_free(port) and ports.is_free(port + 10_000):
            found.append(port)
    return found


def _replicate(client: "redis.Redis", master: str) -> bool:
    try:
        return bool(client.execute_command("CLUSTER REPLICATE", master))
    except redis.ResponseError:  # it has not heard of its master yet
        return False


class Sentinel(Server):
    """One of those that watch over a master."""

    name = "sentinel"

    def __init__(self, folder: Path, master_port: int, quorum: int) -> None:
        super().__init__(folder, 0)
        self._master_port, self._quorum = master_port, quorum

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> Process:
        self.port = ports.choose(0, self.folder / "port", "Sentinel", "nothing")
        settings = self.folder / "sentinel.conf"
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor shop 127.0.0.1 {self._master_port} {self._quorum}\n"
            f"sentinel down-after-milliseconds shop {LOST_MS}\nsentinel failover-timeout shop {2 * LOST_MS}\n"
        )
        return Process([_program(), str(settings), "--sentinel"], log=self.folder / "sentinel.log")

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def _why(self) -> str:
        return tail(self.folder / "sentinel.log")


@contextmanager
def watched(folder: Path, sentinels: int = 3) -> Iterator[tuple[str, list[Node]]]:
    """A master with a replica and Sentinels; gives the URL and the two servers."""
    with ExitStack() as started:
        master = started.enter_context(Node(folder / "master", {"repl-diskless-sync-delay": "0"}))
        replica = started.enter_context(Node(folder / "replica", {}))
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
        guards = [
            Sentinel(folder / f"sentinel-{number}", master.port, sentinels // 2 + 1) for number in range(sentinels)
        ]
        for guard in guards:
            started.enter_context(guard)
        with replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
        for guard in guards:
            with redis.Redis(port=guard.port) as client:
                until(lambda client=client: _sees_all(client, sentinels))  # type: ignore[misc]
        yield "redis+sentinel://" + ",".join(guard.address for guard in guards) + "/shop", [master, replica]


def _sees_all(client: "redis.Redis", sentinels: int) -> bool:
    state = client.sentinel_master("shop")
    return int(state["num-other-sentinels"]) == sentinels - 1 and int(state["num-slaves"]) == 1
