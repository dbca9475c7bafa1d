"""What is known of a challenger at a moment: its stage, its figures in shadow, and its figures with shoppers.

Pure: takes snapshots of workers and evaluators in batches of any size, some perhaps twice. Knows nothing of Kafka.
Holds the last snapshot of each process, and the snapshots with times of the shadow stage.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from models.store.slots import Promotion, Slot
from streams.telemetry.meter import Series, Snapshot, latest, quantiles

Stage = Literal["none", "shadow", "canary"]


class Shadow(NamedTuple):
    """Shelves made beside the champion, and attempts that failed; median times of the same requests, in milliseconds;
    the share of its first ten items that are the champion's too."""

    shelves: int = 0
    failed: int = 0
    champion_ms: float = math.nan
    challenger_ms: float = math.nan
    overlap: float = math.nan

    @property
    def time_ratio(self) -> float:
        """Its median time over the champion's; NaN where nothing was timed."""
        return self.challenger_ms / self.champion_ms if self.champion_ms else math.nan


class Canary(NamedTuple):
    """Shelves made for shoppers, and attempts that failed; impressions and clicks of both arms.

    ``ratio`` is its click rate over the champion's, ``ratio_low`` the lower confidence bound. ``log10_clicks`` is
    evidence that the ratio is not one, ``log10_traffic`` that shoppers are not split as planned. ``dispersion`` is how
    many times as much the rates vary as those of independent clicks.
    """

    shelves: int = 0
    failed: int = 0
    impressions: int = 0
    clicks: int = 0
    champion_impressions: int = 0
    champion_clicks: int = 0
    ratio: float = math.nan
    ratio_low: float = 0.0
    log10_clicks: float = 0.0
    log10_traffic: float = 0.0
    dispersion: float = 1.0


class CanaryEvidence(NamedTuple):
    """All that a decision is based on.

    Attributes
    ----------
    since
        When the stage began (epoch ms).
    share
        The share of the shoppers who get it.
    workers, ready
        Workers that are alive, and how many of them have it loaded.
    unready_ms
        For how long a worker has been without it, or there was no worker; 0 while all have it.
    champion_changed
        Whether another champion was promoted since; the figures do not compare with it.
    """

    stage: Stage = "none"
    version: str = ""
    since: int = 0
    share: float = 0.0
    workers: int = 0
    ready: int = 0
    unready_ms: int = 0
    champion_changed: bool = False
    shadow: Shadow = Shadow()
    canary: Canary = Canary()


FRESH_MS = 5_000
"""A process without a snapshot for so long counts as gone."""

ARMS = ("canary", "champion")
"""The experiment's arms."""


class EvidenceReader:
    """Collects the evidence on one challenger since it got its present share.

    Workers' counts start at zero with this object. Evaluators add up and keep what shoppers did. Each evaluator reports
    what all of them had counted together a moment ago; the report with the most impressions is used.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> reading = EvidenceReader(Promotion("m2", datetime.fromtimestamp(0, UTC), "passed the gate", 0.0))
    >>> one = Snapshot(role="worker", id="w", from_ms=1_000, to_ms=2_000, counts={"shadow.shelves": 7}, sketches={},
    ...     gauges={"challenger_ready": 1.0}, labels={"challenger": "m2"})
    >>> reading.update([one, one])
    >>> seen = reading.get(2_500)
    >>> seen.stage, seen.workers, seen.ready, seen.shadow.shelves
    ('shadow', 1, 1, 7)
    """

    def __init__(self, challenger: Promotion) -> None:
        self.challenger = challenger
        self.since = int(challenger.at.timestamp() * 1_000)
        self._last: dict[tuple[str, str], Snapshot] = {}
        self._ready_at: dict[tuple[str, str], int] = {}
        self._counts: Counter[str] = Counter()
        self._timed: list[Snapshot] = []

    def update(self, snapshots: Iterable[Snapshot]) -> None:
        """Take snapshots in. Those from before the challenger got its share, and repeated ones, are ignored."""
        for one in sorted(snapshots, key=lambda one: one.to_ms):
            name = one.role, one.labels.get("instance") or one.id
            before = self._last.get(name)
            if one.from_ms < self.since or (before is not None and one.to_ms <= before.to_ms):
                continue
            self._last[name] = one
            if self._ready(one):
                self._ready_at[name] = one.to_ms
            self._ready_at.setdefault(name, one.from_ms)
            self._counts.update(one.counts)
            if "shadow.challenger" in one.sketches:
                self._timed.append(one)

    def get(self, now: int, champion: Slot | None = None) -> CanaryEvidence:
        """The evidence at a moment (epoch ms), given the champion's slot."""
        alive = {name: one for name, one in self._last.items() if one.to_ms > now - FRESH_MS}
        workers = [name for name in alive if name[0] == "worker"]
        ready = [name for name in workers if self._ready(alive[name])]
        missing_since = min((self._ready_at[name] for name in workers), default=self.since)
        return CanaryEvidence(
            stage="canary" if self.challenger.share else "shadow",
            version=self.challenger.version,
            since=self.since,
            share=self.challenger.share,
            workers=len(workers),
            ready=len(ready),
            unready_ms=0 if workers and len(ready) == len(workers) else now - missing_since,
            champion_changed=bool(champion and champion.current and champion.current.at > self.challenger.at),
            shadow=self._shadow(),
            canary=self._canary(latest(one for (role, _), one in alive.items() if role == "evaluator")),
        )

    def _ready(self, one: Snapshot) -> bool:
        return one.labels.get("challenger") == self.challenger.version and bool(one.gauges.get("challenger_ready"))

    def _shadow(self) -> Shadow:
        champion, challenger = (
            quantiles(self._timed, f"shadow.{who}", (0.5,))[0] for who in ("champion", "challenger")
        )
        top = self._counts["shadow.top"]
        return Shadow(
            self._counts["shadow.shelves"],
            self._counts["shadow.failed"],
            champion,
            challenger,
            self._counts["shadow.overlap"] / top if top else math.nan,
        )

    def _canary(self, evaluators: Sequence[Snapshot]) -> Canary:
        figures = [{_name(one): one.value for one in each.series if self._about(one)} for each in evaluators]
        most: dict[str, float] = max(figures, key=_impressions, default={})
        found = defaultdict(float, most)
        (shown, clicked), (other_shown, other_clicked) = (
            tuple(max(0, int(found[f"experiment_{what} {arm}"])) for what in ("impressions", "clicks")) for arm in ARMS
        )
        return Canary(
            self._counts["canary.shelves"],
            self._counts["canary.failed"],
            shown,
            clicked,
            other_shown,
            other_clicked,
            found.get("experiment_ratio canary", math.nan),
            found["experiment_ratio_low canary"],
            found["experiment_log10_evalue clicks canary"],
            found["experiment_log10_evalue traffic canary"],
            found.get("experiment_dispersion canary", 1.0),
        )

    def _about(self, series: Series) -> bool:
        return series.labels.get("challenger") == self.challenger.version


def _impressions(figures: Mapping[str, float]) -> float:
    return sum(figures.get(f"experiment_impressions {arm}", 0.0) for arm in ARMS)


def _name(series: Series) -> str:
    return " ".join(filter(None, (series.name, series.labels.get("test"), series.labels.get("arm"))))
