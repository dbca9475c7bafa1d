"""Real servers for the tests: one broker and one Redis for the session, a topic prefix and a database per test."""

import gc
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

from liveshelf.stack.kafka import LocalKafka
from liveshelf.stack.redis import LocalRedis
from streams.config import KafkaConfig, TopicsConfig
from tests.browsers import chromium

TEST_DATABASE = 9

hypothesis.settings.register_profile("any machine", deadline=None)  # on a busy one a step may take ten times as long
hypothesis.settings.load_profile("any machine")


def pytest_configure() -> None:
    """Forget the 80 columns that readline sets in the process that starts test processes: consoles would keep them."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where files are shared out to several processes, those that take minutes go first: last, they would leave one
    process with nothing to do."""
    if hasattr(config, "workerinput"):
        marks = ("e2e", "integration")
        marked = [{item.path for item in items if item.get_closest_marker(mark)} for mark in marks]
        items.sort(key=lambda item: next((place for place, some in enumerate(marked) if item.path in some), len(marks)))


def pytest_collection_finish() -> None:
    """What is imported by now stays. The garbage collector, which each training calls, need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Else libraries report at the end of the process what is kept."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConfig]:
    """A running broker: the one KAFKA_BOOTSTRAP_SERVERS names, else a local one for this session."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield KafkaConfig(bootstrap_servers=servers)
        return
    with LocalKafka(tmp_path_factory.mktemp("kafka"), say=print) as server:
        yield KafkaConfig(bootstrap_servers=server.address)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running server: the one REDIS_URL names, else a local one for this session."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with LocalRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.address


@pytest.fixture
def redis_db(redis_url: str) -> Iterator[str]:
    """URL of a database that is empty now and emptied afterwards, apart from the one that ``redis_url`` names."""
    base = redis_url.partition("?")[0].rstrip("/")
    if base.count("/") > 2:
        base = base.rpartition("/")[0]
    url = f"{base}/{TEST_DATABASE}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none, but fails in CI."""
    path = chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def topics_config() -> TopicsConfig:
    """Topics of this test's own: a prefix nobody else has, and few partitions so that they are made quickly."""
    return TopicsConfig(prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=4, compacted_partitions=2)


@pytest.fixture
def data_folder() -> Path:
    """The benchmark data sets beside the checkout (LIVESHELF_DATA overrides); skips the test where they are absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LIVESHELF_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {folder}; set LIVESHELF_DATA to where it is")
    return folder
