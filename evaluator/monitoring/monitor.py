"""One thing under watch: a reference is learned, a change raises an alarm, and a recovery takes it back.

Pure: what all have in common. What is watched, and who is told, is the caller's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluator.monitoring.detectors.detector import Reading


@dataclass(frozen=True, slots=True)
class MonitorRules:
    """How closely things are watched.

    Attributes
    ----------
    learn
        Impressions that a rate's reference is first learned from: its bound is on the wrong side once in a thousand
        times.
    run_length
        Impressions between false alarms of a rate, at least, on average.
    recover
        Impressions after an alarm over which a rate must be back at the reference.
    scores, predictions, inputs
        Values in a window of scores, of predictions with their outcomes, and of queries or items.
    holdback
        The arm that others' click rates are held against as well; empty for none.
    minutes
        Minutes between false alarms of that, at least, on average.
    """

    learn: int = 20_000
    run_length: float = 10_000_000
    recover: int = 5_000
    scores: int = 1_000
    predictions: int = 5_000
    inputs: int = 500
    holdback: str = ""
    minutes: float = 100_000


class Monitor(ABC):
    """What all have in common. A state is saved often and small; a reference once, when it is learned."""

    @property
    @abstractmethod
    def drifted(self) -> bool:
        """Whether the alarm is on."""

    @abstractmethod
    def get(self) -> Reading:
        """Where it stands; while it learns, nothing drifts."""

    @abstractmethod
    def save(self) -> dict[str, Any]:
        """Its state as plain values, without the reference."""

    @abstractmethod
    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""

    def reference(self) -> list[Any] | None:
        """What it compares with as plain values, once learned; None where :meth:`save` has it."""
        return None

    def restore(self, reference: list[Any]) -> None:
        """Compare with what :meth:`reference` gave."""
        raise ValueError(f"{type(self).__name__} takes no reference of {len(reference)} values")
