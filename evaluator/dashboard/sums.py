"""Series of several processes added up by some of their labels.

Pure: for series that are additive; others are each picked by who knows how.
"""

import math
from collections.abc import Iterable

from streams.telemetry.meter import Snapshot

Sums = dict[tuple[str, ...], dict[str, float]]


def added(snapshots: Iterable[Snapshot], prefix: str, by: tuple[str, ...], least: float = -math.inf) -> Sums:
    """Sums over processes of all series whose name begins with ``prefix``, by labels and the rest of the name; where
    they are counts, what is below the ``least`` is none, and counts as that.

    Examples
    --------
    >>> from streams.telemetry.meter import Series
    >>> labels = {"surface": "feed", "arm": "a"}
    >>> one = Snapshot(role="evaluator", id="e", from_ms=0, to_ms=1, counts={}, gauges={}, sketches={},
    ...     series=[Series("rate_clicks", labels, 2), Series("rate_clicks", labels | {"arm": "b"}, 3)])
    >>> added([one, one], "rate_", ("surface",)), added([one], "rate_", ("arm",))
    ({('feed',): {'clicks': 10.0}}, {('a',): {'clicks': 2.0}, ('b',): {'clicks': 3.0}})
    """
    found: Sums = {}
    for snapshot in snapshots:
        for series in snapshot.series:
            if series.name.startswith(prefix):
                sums = found.setdefault(tuple(series.labels.get(label, "") for label in by), {})
                name = series.name[len(prefix) :]
                sums[name] = sums.get(name, 0.0) + max(least, series.value)
    return found
