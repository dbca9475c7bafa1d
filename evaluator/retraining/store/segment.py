"""A segment: one file of the examples of one span of event time. Its name gives the span and its numbers.

Pure: decides from names, sizes and a clock which segments are removed and which are merged; knows nothing of files.
Files of one span are numbered. A merged file has the first and last number of its parts, so it replaces them as soon as
it exists, even if they are not removed yet.
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
    >>> segment = Segment(1_764_129_600_000, 3_600_000, 3, 5)
    >>> segment.name
    '20251126T040000Z_3600s_000003-000005.parquet'
    >>> Segment.parse(segment.name) == segment, Segment.parse("notes.txt")
    (True, None)
    """

    start: int
    span: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """The end of its span."""
        return self.start + self.span

    @property
    def name(self) -> str:
        """The file's name."""
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
        """Whether the other is a part of it."""
        same = self != other and self[:2] == other[:2]
        return same and self.first <= other.first and other.last <= self.last


def stamp(start: int) -> str:
    """A span's beginning, as it is written in names."""
    return datetime.fromtimestamp(start / 1000, UTC).strftime(STAMP)


def not_replaced(segments: Iterable[Segment]) -> list[Segment]:
    """The segments to be read, sorted by time: those that no other replaces.

    Examples
    --------
    >>> [one[2:] for one in not_replaced([Segment(0, 1000, *numbers) for numbers in ((3, 3), (1, 1), (1, 2), (2, 2))])]
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
"""A span that is being written is merged when it has more files than this."""


def expired(sizes: Mapping[Segment, int], now: int, keep_ms: float, keep_bytes: int) -> list[Segment]:
    """The segments to remove: those that are too old, then the oldest spans while all are too large. The newest span
    is never removed for size.

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


def mergeable(segments: Iterable[Segment], now: int, busy: Set[int] = frozenset()) -> list[Segment]:
    """The segments to merge next, those of the span with the most files; empty where nothing is to be merged.

    Late examples come up to an hour after the others, so a span is merged two spans after its end, and before that
    only when it has too many files.

    Parameters
    ----------
    busy
        Beginnings of spans that are being written, as when history is read again; they will get more files.

    Examples
    --------
    >>> segments = [Segment(start, 10, number, number) for start in (0, 10) for number in (1, 2, 3)]
    >>> [[one.start for one in mergeable(segments, now)] for now in (20, 30, 40)]
    [[], [0, 0, 0], [0, 0, 0]]
    """
    spans: defaultdict[int, list[Segment]] = defaultdict(list)
    for one in segments:
        spans[one.start].append(one)
    due: list[list[Segment]] = [
        some
        for start, some in sorted(spans.items())
        if len(some) > (1 if start not in busy and now >= some[0].end + 2 * some[0].span else MOST_FILES)
    ]
    found: list[Segment] = max(due, key=len, default=[])
    return sorted(found)
