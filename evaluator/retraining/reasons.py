"""Reasons to train: alarms, enough new examples, a schedule. Pure; what holds a run back is not asked here."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.detectors.detector import Evidence
from evaluator.retraining.run_record import Run
from evaluator.retraining.trigger import Kind
from evaluator.retraining.trigger_config import TriggerConfig
from streams.clock import span

CLICK_RATE = {"click_rate_drop", "click_rate_below_holdback"}


class Seen(NamedTuple):
    """What is known at a moment: alerts that fire, and how many examples were seen after ``through`` of the last run
    that was trained."""

    alerts: Sequence[Alert]
    examples: int


class Reason(NamedTuple):
    """One reason, in words and with its evidence."""

    kind: Kind
    summary: str
    evidence: Evidence


def reasons(config: TriggerConfig, seen: Seen, last: Run | None, now: int) -> list[Reason]:
    """All reasons of a moment, the most pressing first, alarms of one kind in the order in which they began.

    Parameters
    ----------
    last
        The last run that was trained. It answers all alarms that had begun before it; those that go on are a reason
        again after ``alarm_again_s``.

    Examples
    --------
    >>> [one.kind for one in reasons(TriggerConfig(), Seen([], 25_000), None, 0)]
    ['examples', 'schedule']
    >>> last = Run(id="1", by="t", reason="drift", began=100, until=200, ended=150, outcome="trained")
    >>> reasons(TriggerConfig(), Seen([], 500), last, 1_000)
    []
    """
    alarms = [one for one in seen.alerts if _asks(config, one, last, now)]
    alarms.sort(key=lambda one: (one.name not in CLICK_RATE, one.since, one.key))
    found = [Reason("click_rate" if one.name in CLICK_RATE else "drift", one.summary, _evidence(one)) for one in alarms]
    return [*found, *_enough(config, seen), *_due(config, last, now)]


def _asks(config: TriggerConfig, alert: Alert, last: Run | None, now: int) -> bool:
    if alert.state != "firing" or alert.name not in config.alarms:
        return False
    return last is None or alert.since > last.began or now - last.began >= config.alarm_again_s * 1000


def _evidence(alert: Alert) -> Evidence:
    return {"alert": alert.key, "since": alert.since, **alert.evidence}


def _enough(config: TriggerConfig, seen: Seen) -> Iterator[Reason]:
    enough = config.enough_examples
    if enough is not None and seen.examples >= enough:
        summary = f"{seen.examples:,} new examples, {enough:,} are enough"
        yield Reason("examples", summary, {"new examples": seen.examples, "enough": enough})


def _due(config: TriggerConfig, last: Run | None, now: int) -> Iterator[Reason]:
    if config.every_s is None:
        return
    if last is None:
        yield Reason("schedule", "nothing was trained yet", {"every hours": config.every_s / 3_600})
    elif now - last.began >= config.every_s * 1000:
        hours = {"hours since": round((now - last.began) / 3_600_000, 2), "every hours": config.every_s / 3_600}
        yield Reason("schedule", f"the last training began {span(now - last.began)} ago", {**hours, "run": last.id})
