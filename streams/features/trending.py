"""Ranks items by demand: counts per time bucket, weighted by recency.

Pure: takes counts and a clock, returns rankings; knows nothing of where counts are stored.
"""

from collections.abc import Iterable, Mapping

ALL = "all"

Ranked = list[tuple[str, float]]


class Trending:
    """The decayed ranking of items, per segment.

    An item's score is the sum over buckets of its count times ``0.5 ** (age / half_life)``; a bucket's age is the
    number of buckets between it and now. Memory is bounded: only the ``keep`` highest counts of a bucket, the buckets
    of the window, and the last updated segments are kept.

    Parameters
    ----------
    bucket_s
        Length of a bucket in seconds; bucket ``b`` starts at ``b * bucket_s`` seconds since the epoch.
    buckets
        How many buckets count, including the current one.
    half_life
        After how many buckets a count weighs half.
    keep
        Items kept per bucket and segment.
    segments
        Segments kept, beside ``all``.

    Examples
    --------
    >>> trending = Trending(bucket_s=3_600, buckets=24, half_life=1)
    >>> trending.update("all", 9, {"a": 4})
    >>> trending.update("all", 10, {"a": 1, "b": 2})
    >>> trending.get("phones", now_ms=10 * 3_600_000, k=5)
    [('a', 3.0), ('b', 2.0)]
    """

    def __init__(
        self, bucket_s: int, buckets: int, half_life: float = 6.0, keep: int = 300, segments: int = 256
    ) -> None:
        self._bucket_ms = bucket_s * 1_000
        self._buckets = buckets
        self._half_life = half_life
        self._keep = keep
        self._segments = segments
        self._counts: dict[str, dict[int, dict[str, float]]] = {}
        self._ranked: dict[str, tuple[int, Ranked]] = {}

    def bucket(self, time_ms: int) -> int:
        """The bucket a time falls into.

        Examples
        --------
        >>> Trending(bucket_s=60, buckets=3).bucket(119_999)
        1
        """
        return time_ms // self._bucket_ms

    def update(self, segment: str, bucket: int, counts: Mapping[str, int]) -> None:
        """Replace one bucket's counts in one segment; counts below one are left out."""
        held = self._counts.pop(segment, {})
        held[bucket] = dict(_top([(item, count) for item, count in counts.items() if count > 0], self._keep))
        # One more than the window, so that another machine's fast clock does not push out a bucket that still counts.
        while len(held) > self._buckets + 1:
            del held[min(held)]
        self._counts[segment] = held
        self._ranked.pop(segment, None)
        while len(self._counts) - (ALL in self._counts) > self._segments:
            oldest = next(name for name in self._counts if name != ALL)
            del self._counts[oldest]
            self._ranked.pop(oldest, None)

    def get(self, segment: str, now_ms: int, k: int) -> Ranked:
        """The ``k`` items most in demand, best first, with scores; those of ``all`` if the segment has none.

        Equal scores are ordered by item id, so that every worker gives the same answer.
        """
        return (self._rank(segment, self.bucket(now_ms)) or self._rank(ALL, self.bucket(now_ms)))[:k]

    def _rank(self, segment: str, now: int) -> Ranked:
        at, ranked = self._ranked.get(segment, (None, []))
        if at == now:
            return ranked
        held = self._counts.get(segment, {})
        for bucket in [bucket for bucket in held if bucket <= now - self._buckets]:
            del held[bucket]
        scores: dict[str, float] = {}
        for bucket, counts in held.items():
            weight = 0.5 ** (max(now - bucket, 0) / self._half_life)
            for item, count in counts.items():
                scores[item] = scores.get(item, 0.0) + weight * count
        ranked = _top(scores.items(), len(scores))
        if segment in self._counts:
            self._ranked[segment] = (now, ranked)
        return ranked


def _top(scores: Iterable[tuple[str, float]], k: int) -> Ranked:
    return sorted(scores, key=lambda pair: (-pair[1], pair[0]))[:k]
