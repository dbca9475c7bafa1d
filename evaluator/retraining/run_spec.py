"""The specification and the result of a run: two small files in its folder, each written whole or not at all.

Knows values and their bytes; nothing of how a run is done.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

from evaluator.gate.report import Decision
from evaluator.retraining.training_run import Trigger
from models.store.atomic import write_whole

T = TypeVar("T")

SPEC, RESULT, STARTED = "order.json", "outcome.json", "starts.json"

SOURCE = "liveshelf.examples"
"""The source of the examples in these runs' manifests."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be done.

    Attributes
    ----------
    id, by
        Names of the run, and of the trainer that does it.
    champion
        The version to start from and to compare with; None where there is no champion.
    since
        Examples seen before this time (epoch ms) count as older ones.
    """

    id: str
    by: str
    trigger: Trigger
    champion: str | None
    since: int = 0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """A run's result: a version, the gate's verdict on it, and when the newest of its examples was seen."""

    version: str
    decision: Decision
    sentence: str
    through: int


def write(path: Path, value: object) -> None:
    """Create or replace a file of JSON; it is synced to disk when this returns."""
    write_whole(path, msgspec.json.encode(value))


def read(path: Path, kind: type[T]) -> T | None:
    """The content of a file; None where there is no file.

    Raises
    ------
    msgspec.DecodeError
        When the content is of another kind.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
