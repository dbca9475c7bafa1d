"""Turns the trainer's snapshots and alerts into the events of the story. Pure: knows no clock."""

from collections.abc import Iterator
from typing import NamedTuple

from evaluator.monitoring.alerts.topic import PublishedAlert
from liveshelf.demo.recorder import Kind
from streams.telemetry.meter import Snapshot

ALARM = "click_rate_drop"

VERDICTS: dict[str, Kind] = {"passed": "gate", "too_few": "too few examples", "refused": "refused"}
ENDS: dict[str, Kind] = {"promoted": "promoted", "rolled_back": "rolled back", "gave_up": "gave up"}


class LogEntry(NamedTuple):
    """Something that happened, in words."""

    kind: Kind
    text: str


class StoryLog:
    """Finds what is new in each snapshot and alert.

    Attributes
    ----------
    trainer
        The trainer's last snapshot.
    ends
        How the rollout of each challenger ended.

    Examples
    --------
    >>> log = StoryLog()
    >>> said = {"stage": "canary", "trigger": "fewer clicks", "verdict": "", "decision": ""}
    >>> one = Snapshot(role="trainer", id="t", from_ms=0, to_ms=1, counts={}, sketches={},
    ...     gauges={"trigger_at": 5.0, "canary_share": 0.5}, labels=said)
    >>> [entry.kind for entry in log.update(one)], list(log.update(one))
    (['trigger', 'canary'], [])
    """

    def __init__(self) -> None:
        self.trainer: Snapshot | None = None
        self._trigger_at = 0.0
        self.ends: dict[str, Kind] = {}
        self._verdict = self._stage = self._challenger = ""
        self._firing: set[str] = set()

    def update(self, news: Snapshot | PublishedAlert) -> Iterator[LogEntry]:
        """Add a snapshot or alert; returns what is new in it."""
        if isinstance(news, PublishedAlert):
            yield from self._alarm(news)
        elif news.role == "trainer":
            self.trainer = news
            yield from self._trainer(news)

    def _alarm(self, published: PublishedAlert) -> Iterator[LogEntry]:
        alert = published.alert
        if alert.name != ALARM or alert.labels.get("arm") != "champion":
            return
        if alert.state == "firing" and alert.key not in self._firing:
            self._firing.add(alert.key)
            figures = {name: value for name, value in alert.evidence.items() if isinstance(value, int | float)}
            evidence = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            yield LogEntry("alarm", f"{alert.summary} ({evidence})")
        elif alert.state != "firing":
            self._firing.discard(alert.key)

    def _trainer(self, said: Snapshot) -> Iterator[LogEntry]:
        labels, gauges = said.labels, said.gauges
        if gauges.get("trigger_at", 0.0) != self._trigger_at:
            self._trigger_at = gauges["trigger_at"]
            yield LogEntry("trigger", f"training begins: {labels.get('trigger', '')}")
        verdict = labels.get("verdict", "")
        if verdict and labels.get("verdict_sentence", "") != self._verdict:
            self._verdict = labels.get("verdict_sentence", "")
            yield LogEntry(VERDICTS.get(verdict, "refused"), f"the gate: {self._verdict}")
        stage = labels.get("stage", "")
        if stage == "canary" and self._stage != "canary":
            yield LogEntry("canary", f"{gauges.get('canary_share', 0.0):.0%} of the shoppers get the challenger")
        self._stage = stage
        for count, kind in ENDS.items():
            if said.counts.get(count):
                self.ends[self._challenger] = kind
                yield LogEntry(kind, f"{kind}: {labels.get('decision', '')}")
        self._challenger = labels.get("challenger", "")
