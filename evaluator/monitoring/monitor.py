"""One monitor: it learns a reference, raises an alarm at a change, and ends the alarm at a recovery.

Pure: the interface of all monitors. Knows nothing of what is monitored, nor of where alarms go.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluator.monitoring.detectors.detector import Reading


@dataclass(frozen=True, slots=True)
class MonitorRules:
    """How sensitive monitors are.

    Attributes
    ----------
    learn
        Impressions from which a rate's reference is first learned. Its bound is on the wrong side once in a thousand
        times.
    run_length
        Least mean number of impressions between false alarms of a rate.
    recover
        Impressions after an alarm over which the rate must be back at the reference to end it.
    scores, predictions, inputs
        Most values in a window: of scores, of predictions with their outcomes, and of queries or items.
    holdback
        The arm that others' click rates are also compared with; empty for none.
    minutes
        Least mean number of minutes between false alarms of that comparison.
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
    """The interface of monitors. The state is small and saved often; the reference is saved once, when learned."""

    @property
    @abstractmethod
    def drifted(self) -> bool:
        """Whether the alarm is on."""

    @abstractmethod
    def get(self) -> Reading:
        """The current reading; no drift while it learns."""

    @abstractmethod
    def save(self) -> dict[str, Any]:
        """The state as plain values, without the reference."""

    @abstractmethod
    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""

    def reference(self) -> list[Any] | None:
        """The reference as plain values, once learned; None where :meth:`save` includes it."""
        return None

    def restore(self, reference: list[Any]) -> None:
        """Take the reference that :meth:`reference` gave."""
        raise ValueError(f"{type(self).__name__} takes no reference of {len(reference)} values")
