"""A segment: one file of the examples of one span of event time. Its name says all that is to know before it is read.

Pure: knows names, sizes and a clock, not files: which segments go, and which become one. Files of one span are
numbered; one that was made of others has their first and last number, so it takes their place the moment it is there,
whether or not they are gone yet.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from itertools import groupby
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


MOST_FILES = 16
"""A span that is still being written has no more files than this for long."""


def expired(sizes: Mapping[Segment, int], now: int, keep_ms: float, keep_bytes: int) -> list[Segment]:
    """What is to be removed: what is too old, then the oldest spans of what is too much, but never
    the newest for that.

    Examples
    --------
    >>> sizes = {Segment(start, 10, 1, 1): 100 for start in (0, 10, 20, 30)}
    >>> [one.start for one in expired(sizes, 50, keep_ms=40, keep_bytes=250)]
    [0, 10]
    """
    spans = [list(some) for _, some in groupby(sorted(sizes), lambda one: one.start)]
    total, gone = sum(sizes.values()), list[Segment]()
    for some in spans:
        old = some[0].end <= now - keep_ms
        if not old and (total <= keep_bytes or some is spans[-1]):
            break
        gone += some
        total -= sum(sizes[one] for one in some)
    return gone


def crumbs(segments: Iterable[Segment], now: int, busy: Set[int] = frozenset()) -> list[Segment]:
    """Segments of the one span that most deserves to become one file; none where all is well.

    Late examples come up to an hour after the others, so a span is put together two spans after its end; before that
    only when it has too many files.

    Parameters
    ----------
    busy
        Beginnings of spans that are being written, as when history is read again; more of them is to be expected.

    Examples
    --------
    >>> segments = [Segment(start, 10, number, number) for start in (0, 10) for number in (1, 2, 3)]
    >>> [[one.start for one in crumbs(segments, now)] for now in (20, 30, 40)]
    [[], [0, 0, 0], [0, 0, 0]]
    """
    spans: defaultdict[int, list[Segment]] = defaultdict(list)
    for one in segments:
        spans[one.start].append(one)
    asking: list[list[Segment]] = [
        some
        for start, some in sorted(spans.items())
        if len(some) > (1 if start not in busy and now >= some[0].end + 2 * some[0].span else MOST_FILES)
    ]
    found: list[Segment] = max(asking, key=len, default=[])
    return sorted(found)
