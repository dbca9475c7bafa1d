"""What every drift detector gives: one reading, and whether it is an alarm.

Knows nothing of what is watched.
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
    """Where a detector stands.

    Attributes
    ----------
    drifted
        Whether it raises an alarm; it stays one until the detector is reset.
    statistic, limit
        What is compared with what; their meaning is the detector's.
    evidence
        What made it so, for people: numbers and words by name.
    """

    drifted: bool
    statistic: float
    limit: float
    evidence: Evidence = field(default_factory=dict)


class Detector(Protocol[T_contra]):
    """Watches one stream of values.

    The same values in the same order give the same readings; a pickled detector goes on as if nothing had happened.
    """

    def update(self, value: T_contra) -> None:
        """Take the next value in."""

    def get(self) -> Reading:
        """Where it stands; changes nothing."""

    def reset(self) -> None:
        """Start anew, as after an alarm that was dealt with; the reference stays."""
