"""A challenger and a version held back answer once their files can be read, however often they could not be."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.store import ModelStore
from models.store.errors import transient
from models.store.slots import CHALLENGER
from models.store.storage import LocalStorage
from streams.config import ModelConfig, StreamsConfig
from streams.features.trending import Trending
from streams.ranking.arms import Arms
from streams.ranking.recommender import Recommender
from streams.runtime import tasks
from streams.serving.canary import CanaryController
from streams.serving.loaded_model import fetch, load
from streams.serving.loader import ModelCache
from streams.serving.slots import UNTRAINED
from streams.telemetry.meter import Meter
from tests.streams.serving.test_loaded_model import put

FAILURES = 2


@pytest.fixture
def config(tmp_path: Path) -> StreamsConfig:
    return StreamsConfig(model=ModelConfig(store=str(tmp_path / "models"), precision="float32", holdback_share=0.2))


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[list[str]]:
    """For as long as the block lasts, the first readings of manifests fail."""
    read, failed = LocalStorage.read, list[str]()

    def broken(self: LocalStorage, name: str) -> bytes:
        if name.endswith("manifest.json") and len(failed) < times:
            failed.append(name)
            raise OSError(5, "Input/output error")
        return read(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "FIRST_WAIT_S", 0.001)
        patch.setattr(LocalStorage, "read", broken)
        yield failed


def tried(
    config: StreamsConfig, work: Callable[[CanaryController, asyncio.TaskGroup], Coroutine[Any, Any, None]]
) -> list[bool]:
    """Let a trial do something; whether each version that could not be loaded may be loaded later."""
    first = load(fetch(UNTRAINED, config.model), config.model)
    champion = Recommender(first.catalogue, first.scorer, Trending(3_600, 24), config, queries=first.queries)
    lost: list[bool] = []

    def worth(_: str, error: Exception) -> bool:
        lost.append(transient(error))
        return lost[-1]

    async def run() -> None:
        ready = asyncio.Event()
        ready.set()
        maintenance = SimpleNamespace(
            follower=SimpleNamespace(ready=ready),
            topic_index=SimpleNamespace(behind=0),
            complete=ready.wait,
            run=ready.wait,
        )
        cache = ModelCache(first, lambda *_: maintenance, config)  # type: ignore[arg-type, return-value]
        async with asyncio.TaskGroup() as group:
            cache.start(group)
            await work(CanaryController(cache, Arms(champion, Meter("worker", "w", 0)), worth), group)

    asyncio.run(run())
    return lost


def test_a_challenger_whose_reading_fails_twice_is_on_trial_in_the_end(
    config: StreamsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(config.model, tmp_path / "one")
    slot = ModelStore(config.model.store).slots.promote(made.id, "a test", CHALLENGER, 0.25)
    shares: list[float] = []

    async def challenge(canary: CanaryController, group: asyncio.TaskGroup) -> None:
        canary.update(slot.current, group)
        async with asyncio.timeout(60):
            while not canary.ready and canary._loading is not None and not canary._loading.done():
                await asyncio.sleep(0.01)
        shares.append(canary.share)

    with failing(monkeypatch, FAILURES):
        assert tried(config, challenge) == [True] * FAILURES
    assert shares == [0.25]


@pytest.mark.parametrize("damaged", [False, True])
def test_the_version_held_back_is_tried_again_unless_its_files_are_refused(
    damaged: bool, config: StreamsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(config.model, tmp_path / "one")
    if damaged:
        file = Path(config.model.store) / "versions" / made.id / "head" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
    held: list[str | None] = []

    async def hold_back(canary: CanaryController, _: asyncio.TaskGroup) -> None:
        await canary.hold_back(config.model.model_copy(update={"holdback_version": made.id}))
        held.append(canary.held_back)

    with failing(monkeypatch, FAILURES):
        assert tried(config, hold_back) == [True] * FAILURES + [False] * damaged
    assert held == [None if damaged else made.id]
