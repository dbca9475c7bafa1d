"""The interface of drift detectors: a reading, and whether it is an alarm.

Knows nothing of what is monitored.
"""

from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar

from msgspec import Meta

T_contra = TypeVar("T_contra", contravariant=True)

Evidence = dict[
    Annotated[str, Meta(max_length=256)],
    Annotated[float, Meta(ge=-1e60, le=1e60)] | Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)] | str,
]


@dataclass(frozen=True, slots=True)
class Reading:
    """A detector's reading.

    Attributes
    ----------
    drifted
        Whether there is an alarm; it lasts until the detector is reset.
    statistic, limit
        The two values that are compared; each detector defines them.
    evidence
        Figures and words by name that explain the reading to people.
    """

    drifted: bool
    statistic: float
    limit: float
    evidence: Evidence = field(default_factory=dict)


class Detector(Protocol[T_contra]):
    """Monitors one stream of values.

    The same values in the same order give the same readings; a pickled detector goes on without a difference.
    """

    def update(self, value: T_contra) -> None:
        """Take the next value in."""

    def get(self) -> Reading:
        """The current reading; changes nothing."""

    def reset(self) -> None:
        """Start again, as after a handled alarm; the reference stays."""
