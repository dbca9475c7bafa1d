"""Stores to try: one in a folder, one far away, with folders to put in that are as small as can be."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.store import Data, Description, Manifest, ModelStore

START = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)


def description(method: str = "head", **more: Any) -> Description:
    given = {
        "architecture": "late_interaction",
        "encoder": "packaged",
        "encoder_fingerprint": "0a1b2c3d",
        "data": Data("events", examples=300),
    } | more
    return Description(method=method, **given)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Every look at it is a minute later."""
    ticks = itertools.count()
    return lambda: START + timedelta(minutes=next(ticks))


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Callable[[], datetime]) -> ModelStore:
    """The same promises hold of a folder and of any other URL."""
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    return ModelStore(url, cache_folder=tmp_path / "cache", clock=clock)


@pytest.fixture
def local(tmp_path: Path, clock: Callable[[], datetime]) -> ModelStore:
    return ModelStore(str(tmp_path / "store"), clock=clock)


def filled(folder: Path, number: float = 1.0, *parts: str) -> Path:
    """A folder as training leaves it, its weights all of one number."""
    for part in parts or ("head",):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text('{"made": "for a test"}')
        save_file({"weights": torch.full((64,), number)}, folder / part / "model.safetensors")
    return folder


@contextmanager
def unreadable(file: Path) -> Iterator[None]:
    """For as long as the block lasts a version's file cannot be read, whoever reads: a folder has its name."""
    aside = next(folder for folder in file.parents if folder.name == "versions") / file.name
    file.rename(aside)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        aside.rename(file)


Put = Callable[..., Manifest]


@pytest.fixture
def put(store: ModelStore, tmp_path: Path) -> Put:
    """Put a version: its number, its parts, and what else its description says."""

    def one(number: float = 1.0, *parts: str, **about: Any) -> Manifest:
        return store.put(filled(tmp_path / uuid.uuid4().hex, number, *parts), description(**about))

    return one
