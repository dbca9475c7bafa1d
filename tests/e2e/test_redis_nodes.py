"""Redis as several servers, one killed (-9) under load: all waits and goes on, and nothing is lost or double."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import encoder
from tests.integration import test_evaluator as joined
from tests.redis_nodes import Cluster, Node, watched
from tests.shop import Sent, Shop, until
from tests.story import Story, assert_letters, assert_shelves

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Kill = Callable[[str], Node]
"""Kills the server that has a key, waits until another has taken over, and gives the one that died."""
Servers = Callable[[Path], AbstractContextManager[tuple[str, Kill]]]
"""Redis as several servers in a folder: their URL, and what kills one."""


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, Kill]]:
    with Cluster(folder).running() as nodes:

        def kill(key: str) -> Node:
            node = nodes.master_of(key)
            assert node is not None
            node.kill()
            until(lambda: nodes.master_of(key))
            return node

        yield nodes.url, kill


@contextmanager
def sentinels(folder: Path) -> Iterator[tuple[str, Kill]]:
    with watched(folder) as (url, servers):

        def kill(_: str) -> Node:
            node = next(one for one in servers if role(one) == b"master")
            node.kill()
            until(lambda: any(one.running and role(one) == b"master" for one in servers))
            return node

        yield url, kill


def role(node: Node) -> bytes:
    with node.client() as client:
        found: bytes = client.role()[0]
        return found


def caught_up(node: Node) -> bool:
    """Whether a server that came back follows its master."""
    with node.client() as client:
        said = client.info("replication")
        return bool(said["role"] == "slave" and said["master_link_status"] == "up")


both = pytest.mark.parametrize("servers", [cluster, sentinels])


@both
def test_a_worker_outlives_the_death_of_a_master(
    kafka: KafkaConfig,
    topics_config: TopicsConfig,
    tmp_path: Path,
    story: Story,
    undisturbed: dict[bytes, Any],
    servers: Servers,
) -> None:
    with servers(tmp_path) as (url, kill), Shop(kafka, url, topics_config, tmp_path).open() as shop:
        shop.put_items(story.items)
        shop.start()
        shop.ready(len(story.items))
        third = -(-len(story.records) // 3)
        sent: list[tuple[Sent, bytes | None]] = []
        dead: Node | None = None
        for start in range(0, len(story.records), third):
            records = story.records[start : start + third]
            written = shop.ends(shop.topics.shelves)
            sent += zip(shop.produce(shop.topics.events, records), [value for _, value in records], strict=True)
            if start + third < len(story.records):
                until(lambda before=written: shop.ends(shop.topics.shelves) > before + 50, every_s=0.005)  # type: ignore[misc]
                if dead is not None:
                    dead.start()  # it becomes a replica of whoever took its place, which may then die too
                    until(lambda dead=dead: caught_up(dead))  # type: ignore[misc]
                dead = kill("ls:{0}:")
        shop.drained()
        assert shop.workers["worker-1"].running, shop.log().read_text()
        assert_shelves(shop, story)
        assert_letters(shop, sent)
        assert shop.state() == undisturbed


@both
def test_an_evaluator_outlives_the_death_of_a_master(
    kafka: KafkaConfig,
    topics_config: TopicsConfig,
    tmp_path: Path,
    servers: Servers,
) -> None:
    events = joined.visits(700, seed=1)
    records = joined.mixed(events, seed=2)
    wanted = joined.offline(events)
    with servers(tmp_path) as (url, kill), joined.opened(Shop(kafka, url, topics_config, tmp_path)) as shop:
        shelves = [joined.made_shelf(f"s{number}") for number in range(50) for _ in range(40)]
        shop.produce(shop.topics.shelves, [(record.shelf.shelf_id, encoder.encode(record)) for record in shelves])
        shop.env["LIVESHELF_EVALUATOR__IDLE_S"] = joined.IDLE_NEVER  # Sentinels take their time
        shop.start("evaluator-1", "evaluator")
        for partition, part in enumerate((records[: len(records) // 2], records[len(records) // 2 :])):
            before = shop.ends(shop.topics.examples) + joined.left(shop)
            shop.produce(shop.topics.events, part)
            until(lambda before=before: shop.ends(shop.topics.examples) + joined.left(shop) > before + 50)  # type: ignore[misc]
            dead = kill(f"ls:{{{shop.group}-evaluator.{partition}}}:state")
            dead.start()
            until(lambda dead=dead: caught_up(dead))  # type: ignore[misc]
        joined.close(shop, events)
        until(
            lambda: sum(joined.told(shop.examples()).values()) >= wanted.total() and not joined.left(shop),
            lambda: f"{joined.left(shop)} left\n{shop.log('evaluator-1').read_text()[-5000:]}",
        )
        assert shop.workers["evaluator-1"].running, shop.log("evaluator-1").read_text()
        made = shop.examples()
        assert joined.told(made) == wanted
        assert {(one.model, one.arm) for one in made} == {("m7", "canary")}
        totals = joined.counted(shop)
        assert sum(totals[f"closed.{name}"] for name in ("buy", "read", "look", "ignore")) == wanted.total()
