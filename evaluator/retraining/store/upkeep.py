"""Which segments go, and which become one. Pure: takes segments, their sizes and a clock."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from itertools import groupby

from evaluator.retraining.store.segment import Segment

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
