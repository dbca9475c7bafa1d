"""From what the trainer says of itself every second, and alerts, to the moments worth telling. Pure: knows no clock."""

from collections.abc import Iterator
from typing import NamedTuple

from evaluator.monitoring.alerts.topic import PublishedAlert
from liveshelf.demo.recorder import Kind
from streams.telemetry.meter import Snapshot

ALARM = "click_rate_drop"

ENDS: dict[str, Kind] = {"promoted": "promoted", "rolled_back": "rolled back", "gave_up": "gave up"}


class LogEntry(NamedTuple):
    """Something that has happened, in words."""

    kind: Kind
    text: str


class StoryLog:
    """Tells changes from what was said before.

    Examples
    --------
    >>> notes = StoryLog()
    >>> said = {"stage": "canary", "trigger": "fewer clicks", "verdict": "", "decision": ""}
    >>> one = Snapshot(role="trainer", id="t", from_ms=0, to_ms=1, counts={}, sketches={},
    ...     gauges={"trigger_at": 5.0, "canary_share": 0.5}, labels=said)
    >>> [note.kind for note in notes.update(one)], list(notes.update(one))
    (['trigger', 'canary'], [])
    """

    def __init__(self) -> None:
        self.trainer: Snapshot | None = None
        self._trigger_at = 0.0
        self._verdict = self._stage = ""
        self._firing: set[str] = set()

    def update(self, news: Snapshot | PublishedAlert) -> Iterator[LogEntry]:
        """Take something in that was said; what is new in it."""
        if isinstance(news, PublishedAlert):
            yield from self._alarm(news)
        elif news.role == "trainer":
            self.trainer = news
            yield from self._trainer(news)

    def _alarm(self, told: PublishedAlert) -> Iterator[LogEntry]:
        alert = told.alert
        if alert.name != ALARM or alert.labels.get("arm") != "champion":
            return
        if alert.state == "firing" and alert.key not in self._firing:
            self._firing.add(alert.key)
            figures = {name: value for name, value in alert.evidence.items() if isinstance(value, int | float)}
            told_of = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            yield LogEntry("alarm", f"{alert.summary} ({told_of})")
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
            yield LogEntry("gate" if verdict == "passed" else "refused", f"the gate: {self._verdict}")
        stage = labels.get("stage", "")
        if stage == "canary" and self._stage != "canary":
            yield LogEntry("canary", f"{gauges.get('canary_share', 0.0):.0%} of the shoppers get the challenger")
        self._stage = stage
        for count, kind in ENDS.items():
            if said.counts.get(count):
                yield LogEntry(kind, f"{kind}: {labels.get('decision', '')}")
