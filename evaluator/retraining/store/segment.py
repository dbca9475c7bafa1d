"""A segment: one file of the examples of one span of event time. Its name says all that is to know before it is read.

Pure: knows names, not files. Files of one span are numbered; one that was made of others has their first and last
number, so it takes their place the moment it is there, whether or not they are gone yet.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

NAME = re.compile(r"(\d{8}T\d{6}Z)_(\d+)s_(\d{6,})-(\d{6,})\.parquet")
STAMP = "%Y%m%dT%H%M%SZ"


class Segment(NamedTuple):
    """Examples seen from ``start`` on and before ``end`` (epoch ms); numbers ``first`` to ``last`` of that span.

    Examples
    --------
    >>> made = Segment(1_764_129_600_000, 3_600_000, 3, 5)
    >>> made.name
    '20251126T040000Z_3600s_000003-000005.parquet'
    >>> Segment.parse(made.name) == made, Segment.parse("notes.txt")
    (True, None)
    """

    start: int
    span: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """Where its span ends."""
        return self.start + self.span

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{stamp(self.start)}_{self.span // 1000}s_{self.first:06d}-{self.last:06d}.parquet"

    @classmethod
    def parse(cls, name: str) -> "Segment | None":
        """The segment of a file's name; None for other files."""
        found = NAME.fullmatch(name)
        if found is None:
            return None
        start = datetime.strptime(found[1], STAMP).replace(tzinfo=UTC)
        return cls(int(start.timestamp()) * 1000, int(found[2]) * 1000, int(found[3]), int(found[4]))

    def replaces(self, other: "Segment") -> bool:
        """Whether it was made of the other, among others."""
        same = self != other and self[:2] == other[:2]
        return same and self.first <= other.first and other.last <= self.last


def stamp(start: int) -> str:
    """A span's beginning as names have it."""
    return datetime.fromtimestamp(start / 1000, UTC).strftime(STAMP)


def standing(segments: Iterable[Segment]) -> list[Segment]:
    """Those that are to be read, in order of time: the ones that no other replaces.

    Examples
    --------
    >>> [one[2:] for one in standing([Segment(0, 1000, *numbers) for numbers in ((3, 3), (1, 1), (1, 2), (2, 2))])]
    [(1, 2), (3, 3)]
    """
    found: list[Segment] = []
    for one in sorted(segments, key=lambda one: (one.start, one.span, one.first, -one.last)):
        if not found or not found[-1].replaces(one):
            found.append(one)
    return found


def following(segments: Iterable[Segment], start: int, span: int) -> Segment:
    """The next segment of a span."""
    number = max((one.last for one in segments if one.start == start), default=0) + 1
    return Segment(start, span, number, number)
