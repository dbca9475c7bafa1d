"""What a run is asked for, and what became of it: two small files in its folder, each there whole or not at all.

Knows values and their bytes; nothing of how a run is made.
"""

import os
import uuid
from pathlib import Path
from typing import TypeVar

import msgspec

from evaluator.gate.report import Decision
from evaluator.retraining.training_run import Trigger
from models.store.storage import sync

T = TypeVar("T")

ORDER, OUTCOME = "order.json", "outcome.json"

SOURCE = "liveshelf.examples"
"""What manifests call the examples of these runs."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be made.

    Attributes
    ----------
    id, by
        Of the run, and of the trainer that makes it.
    champion
        The version to start from and to be judged against; None where none is in charge.
    since
        Examples seen before (epoch ms) are older ones.
    """

    id: str
    by: str
    trigger: Trigger
    champion: str | None
    since: int = 0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run made: a version, the gate's verdict on it, and when the newest of its examples was seen."""

    version: str
    decision: Decision
    sentence: str
    through: int


def write(path: Path, value: object) -> None:
    """Make or replace a file of JSON; safe on disk when it returns."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(msgspec.json.encode(value))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def read(path: Path, kind: type[T]) -> T | None:
    """What a file holds; None where it is not there.

    Raises
    ------
    msgspec.DecodeError
        When it holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
