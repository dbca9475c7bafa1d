"""The page's data: an hour of series, and the present state.

Pure: takes snapshots, alerts and slots with a clock, gives values for JSON. Memory is bounded: an hour in steps of ten
seconds, and a limited number of series, processes, alerts and titles.
"""

from collections import deque
from collections.abc import Iterator

import msgspec

from evaluator.dashboard.inspector import Titles
from evaluator.dashboard.panels import learning, traffic
from evaluator.dashboard.panels.learning import AlertRow, AlertsPanel, LearningPanel, MonitorRow, learning_panel
from evaluator.dashboard.panels.system import Health, Processes, ProcessRow, SlotRow, Slots, health
from evaluator.dashboard.panels.traffic import PositionRow, RateRow
from evaluator.dashboard.series import Key, Line, Point, SeriesBuffer, Step, stages
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.system import GRAVE, SystemMonitor
from streams.reporting import STARTED
from streams.telemetry.meter import Snapshot

LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LATELY = 6
"""Steps that the table of stages covers."""
QUIET_MS = 15_000


class StageRow(msgspec.Struct, frozen=True):
    """Times of a stage within the last minute, ms; quantiles have an error of at most 1 %."""

    role: str
    stage: str
    count: int
    p50: float
    p90: float
    p99: float


class Page(msgspec.Struct, frozen=True):
    """The present state; ``now`` is the server's clock, epoch ms."""

    now: int
    health: Health
    events_per_s: float
    shelves_per_s: float
    rates: list[RateRow]
    positions: list[PositionRow]
    watches: list[MonitorRow]
    stages: list[StageRow]
    processes: list[ProcessRow]
    slots: list[SlotRow]
    measures: list[traffic.MeasureRow]
    exposure: list[traffic.BrandRow]
    calibration: list[traffic.Calibration]
    loop: LearningPanel
    arms: list[traffic.ArmRow]
    alerts: list[AlertRow]
    titles: int


class State(msgspec.Struct, frozen=True):
    """The whole state: every series in full, and the page."""

    revision: int
    step_ms: int
    closes_after_s: float
    times: list[int]
    lines: list[Line]
    page: Page


class Tick(msgspec.Struct, frozen=True):
    """Changes within the last two steps. A reader with another ``revision`` lacks older changes and has to read all."""

    revision: int
    time: int
    points: list[Point]
    page: Page


class History:
    """Keeps the data of the topics.

    Parameters
    ----------
    quiet_ms
        A process without a snapshot for so long does not count as alive.
    closes_after_s
        How long after it was seen an impression counts; the page shows it until there is a first one.

    Attributes
    ----------
    problem
        Why the topics cannot be read now, as a sentence; set by the feed.

    Examples
    --------
    >>> history = History()
    >>> for second in range(11, 31):
    ...     history.update(Snapshot(role="worker", id="w1", from_ms=second * 1_000 - 1_000, to_ms=second * 1_000,
    ...         counts={"events": 5}, gauges={"lag": 2}, sketches={}, labels={"model": "m1"}), now=30_500)
    >>> state = history.state(now=30_500)
    >>> state.page.health.lag, state.page.events_per_s
    (2, 5.0)
    >>> [line.values[-3:] for line in state.lines if line.key == ("flow", "events")]
    [[5.0, 5.0, 5.0]]
    """

    def __init__(self, quiet_ms: int = QUIET_MS, closes_after_s: float = 0.0) -> None:
        self.closes_after_s = closes_after_s
        self.ring = SeriesBuffer()
        self.processes = Processes(quiet_ms)
        self.system = SystemMonitor()
        self.alarms, self.slots, self.titles = AlertsPanel(), Slots(), Titles()
        self.problem: str | None = None
        self._step = Step(0)
        self._lately: deque[Step] = deque(maxlen=LATELY)

    def update(self, snapshot: Snapshot, now: int) -> None:
        """Take a snapshot in, in about the order in which they were made; one from the future counts as from now."""
        if snapshot.to_ms > now:
            snapshot = msgspec.structs.replace(snapshot, to_ms=now, from_ms=min(snapshot.from_ms, now))
        self.system.update(snapshot, now)
        if snapshot.role == STARTED:
            return
        number = self.ring.step(snapshot.to_ms)
        if number > self._step.number:
            self._fold()
            self._lately.append(self._step)
            self._step = Step(number)
        self.processes.update(snapshot)
        self._step.update(snapshot)

    def alert(self, alert: Alert, at: int) -> None:
        """Take in an alert that was published at a moment."""
        self.alarms.update(alert, at)

    def state(self, now: int) -> State:
        """The whole state, for a new reader."""
        self._advance(now)
        ring = self.ring
        return State(ring.revision, ring.step_ms, self.closes_after_s, ring.times(), ring.get(), self._page(now))

    def tick(self, now: int) -> Tick:
        """The changes, for a following reader."""
        self._advance(now)
        ring = self.ring
        return Tick(ring.revision, ring.newest * ring.step_ms, ring.last(), self._page(now))

    def _advance(self, now: int) -> None:
        self.ring.advance(now)
        self._fold()

    def _fold(self) -> None:
        """Write the present step to the ring; repeated as the step grows."""
        if self._step.number:
            for key, value in self._lines():
                self.ring.put(key, self._step.number, value)

    def _lines(self) -> Iterator[tuple[Key, float]]:
        step = self._step
        at = (step.number + 1) * self.ring.step_ms
        workers, evaluators = (self.processes.live(role, at) for role in ("worker", "evaluator"))
        if workers:
            yield ("flow", "events"), step.rate("worker", "events")
            yield ("flow", "shelves"), step.rate("worker", "shelves")
        for role, live in (("worker", workers), ("evaluator", evaluators)):
            if live:
                yield ("lag", role), sum(snapshot.gauges.get("lag", 0.0) for snapshot in live)
        for model in {snapshot.labels.get("model", "") for snapshot in workers}:
            yield ("model", model), float(sum(snapshot.labels.get("model", "") == model for snapshot in workers))
        for (role, stage), sketch in step.sketches.items():
            for name, value in zip(LEVELS, sketch.quantiles(tuple(LEVELS.values())), strict=True):
                yield ("stage", role, stage, name), value
        yield from traffic.lines(traffic.tallies(evaluators))
        for row in learning.monitor_rows(evaluators):
            for part, value in (("statistic", row.statistic), ("limit", row.limit)):
                yield ("drift", row.watch, row.surface, row.arm, part), value
        for measure in traffic.measures(evaluators):
            yield ("measure", measure.measure, measure.surface), measure.mean
        for (test, arm), evalue in traffic.evalues(evaluators).items():
            yield ("evalue", test, arm), evalue

    def _page(self, now: int) -> Page:
        evaluators = self.processes.live("evaluator", now)
        processes, slots = self.processes.get(now), self.slots.get()
        fresh = self._step.number >= self.ring.step(now) - 1
        events, shelves = (self._step.rate("worker", what) if fresh else 0.0 for what in ("events", "shelves"))
        return Page(
            now=now,
            health=health(processes, events, self.alarms.firing, self.problem, self._grave(now)),
            events_per_s=events,
            shelves_per_s=shelves,
            rates=traffic.rate_rows(traffic.tallies(evaluators)),
            positions=traffic.positions(evaluators),
            watches=learning.monitor_rows(evaluators),
            stages=self._stages(now),
            processes=processes,
            slots=slots,
            measures=traffic.measures(evaluators),
            exposure=traffic.exposure(evaluators),
            calibration=traffic.calibration(evaluators),
            loop=learning_panel(self.processes.live("trainer", now), slots),
            arms=traffic.arms(evaluators),
            alerts=self.alarms.get(),
            titles=len(self.titles),
        )

    def _grave(self, now: int) -> list[str]:
        """Grave faults from snapshots and from published alerts, each once."""
        published = [row.alert for row in self.alarms.get() if row.alert.state == "firing"]
        found = {alert.key: alert.summary for alert in (*published, *self.system.get(now)) if alert.name in GRAVE}
        return [found[key] for key in sorted(found)]

    def _stages(self, now: int) -> list[StageRow]:
        since = self.ring.step(now) - LATELY
        lately = stages(step for step in (*self._lately, self._step) if step.number > since)
        return [
            StageRow(role, stage, int(sketch.count), *sketch.quantiles(tuple(LEVELS.values())))
            for (role, stage), sketch in lately.items()
        ]
