"""The state of retraining in a meter, for the page and Prometheus.

Knows names of figures; decides nothing.
"""

from evaluator.retraining.run import TrainingRun
from evaluator.retraining.run_history import DAY_MS, RunHistory
from evaluator.retraining.run_spec import RunResult
from evaluator.retraining.training_run import Trigger
from evaluator.rollout.controller import Tick
from models.store.slots import Slot
from streams.telemetry.meter import Meter


class RetrainingStatus:
    """Writes the state into labels, gauges and counts.

    Examples
    --------
    >>> meter = Meter("trainer", "t", now_ms=0)
    >>> status = RetrainingStatus(meter)
    >>> status.examples(7)
    >>> meter.labels["stage"], meter.gauges["new_examples"]
    ('idle', 7.0)
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        names = ("trigger", "trigger_reason", "held_back", "verdict", "verdict_sentence")
        meter.labels = {"stage": "idle", "challenger": "", "champion": "", "decision": "", **dict.fromkeys(names, "")}
        figures = ("trigger_at", "champion_at", "new_examples", "progress", "runs_today")
        meter.gauges = dict.fromkeys((*figures, "canary_log10_evalue", "canary_share"), 0.0)

    def slots(self, champion: Slot, challenger: Slot) -> None:
        """Take in the slots of champion and challenger."""
        labels, gauges = self.meter.labels, self.meter.gauges
        labels["champion"] = champion.current.version if champion.current else ""
        labels["challenger"] = challenger.current.version if challenger.current else ""
        gauges["champion_at"] = champion.current.at.timestamp() * 1_000 if champion.current else 0.0
        gauges["canary_share"] = challenger.current.share if challenger.current else 0.0
        labels["stage"] = ("canary" if challenger.current.share else "shadow") if challenger.current else "idle"

    def rollout(self, tick: Tick) -> None:
        """Take in a tick of the rollout."""
        self.meter.gauges["canary_log10_evalue"] = tick.seen.canary.log10_clicks
        if tick.seen.stage != "none":
            self.meter.labels["decision"] = tick.decision.words
        if tick.event is not None and tick.event != "canary":
            self.meter.count(tick.event)

    def runs(self, runs: RunHistory, current: TrainingRun | None, now: int) -> None:
        """Take in the current run's progress, and how many runs began lately."""
        self.meter.gauges["runs_today"] = float(sum(now - run.began <= DAY_MS for run in runs.get()))
        self.meter.gauges["progress"] = current.progress if current else 0.0
        if current is not None:
            self.meter.labels["stage"] = current.stage

    def examples(self, count: int) -> None:
        """Take in how many examples are new."""
        self.meter.gauges["new_examples"] = float(count)

    def held(self, trigger: Trigger | None) -> None:
        """Take in what holds back a run that has a reason."""
        self.meter.labels["held_back"] = "" if trigger is None or trigger.go else f"{trigger.summary}: {trigger.words}"

    def triggered(self, trigger: Trigger) -> None:
        """Take in that a run began, or goes on."""
        self.meter.labels |= {"trigger": trigger.summary, "trigger_reason": trigger.reason, "held_back": ""}
        self.meter.labels |= {"verdict": "", "verdict_sentence": ""}
        self.meter.gauges["trigger_at"] = float(trigger.at)

    def verdict(self, result: RunResult) -> None:
        """Take in the gate's verdict on the last run's version."""
        self.meter.labels |= {"verdict": result.decision, "verdict_sentence": result.sentence}

    def trained(self, result: RunResult) -> None:
        """Take in that a run was trained to its end."""
        self.meter.count("runs.trained")
        if result.decision != "passed":
            self.meter.count("refused")

    def failed(self) -> None:
        """Take in that a run failed."""
        self.meter.count("runs.failed")
