"""What all processes said within one step of time, added up.

Pure: takes snapshots; which step they belong to is the caller's business.
"""

from collections import Counter
from collections.abc import Iterable

from evaluator.dashboard.bins import Bins
from streams.telemetry.meter import Snapshot

MOST_STAGES = 64


class Step:
    """Counts and timings of one step.

    Examples
    --------
    >>> step = Step(7)
    >>> for name in ("w1", "w2"):
    ...     step.update(Snapshot(role="worker", id=name, from_ms=0, to_ms=500, counts={"events": 50}, gauges={},
    ...         sketches={}))
    >>> step.rate("worker", "events"), step.rate("worker", "refused"), step.rate("evaluator", "events")
    (200.0, 0.0, 0)
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.bins: dict[tuple[str, str], Bins] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._spans: Counter[tuple[str, str]] = Counter()

    def update(self, snapshot: Snapshot) -> None:
        """Take a snapshot in."""
        process = snapshot.role, snapshot.id
        self._counts.setdefault(process, Counter()).update(snapshot.counts)
        self._spans[process] += snapshot.to_ms - snapshot.from_ms
        for stage, raw in snapshot.sketches.items():
            key = snapshot.role, stage
            if key in self.bins or len(self.bins) < MOST_STAGES:
                self.bins.setdefault(key, Bins()).add(raw)

    def rate(self, role: str, name: str) -> float:
        """A count a second, summed over a role's processes."""
        return sum(
            1_000.0 * counts[name] / max(1, self._spans[process])
            for process, counts in self._counts.items()
            if process[0] == role
        )


def stages(steps: Iterable[Step]) -> dict[tuple[str, str], Bins]:
    """Timings by role and stage over several steps."""
    found: dict[tuple[str, str], Bins] = {}
    for step in steps:
        for key, bins in step.bins.items():
            found.setdefault(key, Bins()).merge(bins)
    return found
