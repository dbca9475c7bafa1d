"""When to train: alarms, enough new examples, a schedule; and from when on examples are from after a change.

Pure: takes alerts, counts, the runs so far and a clock.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.detectors.detector import Evidence
from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_history import RunHistory
from evaluator.retraining.training_run import Kind, RunRecord, Trigger
from streams.clock import span

CLICK_RATE = {"click_rate_drop", "click_rate_below_holdback"}


class TriggerInputs(NamedTuple):
    """What is known at a moment: alerts that fire, and how many examples were seen after ``through`` of the last run
    that was trained."""

    alerts: Sequence[Alert]
    examples: int


class Reason(NamedTuple):
    """One reason, as a sentence and with its evidence."""

    kind: Kind
    summary: str
    evidence: Evidence


def reasons(config: TriggerConfig, seen: TriggerInputs, last: RunRecord | None, now: int) -> list[Reason]:
    """All reasons of a moment, the most pressing first; alarms of one kind are sorted by their beginning.

    Parameters
    ----------
    last
        The last run that was trained. It answers all alarms that had begun before it; those that go on are a reason
        again after ``alarm_again_s``.

    Examples
    --------
    >>> [one.kind for one in reasons(TriggerConfig(), TriggerInputs([], 25_000), None, 0)]
    ['examples', 'schedule']
    >>> last = RunRecord(id="1", by="t", reason="drift", began=100, until=200, ended=150, outcome="trained")
    >>> reasons(TriggerConfig(), TriggerInputs([], 500), last, 1_000)
    []
    >>> undecided = RunRecord(id="2", by="t", reason="drift", began=100, until=200, outcome="trained", again=4_000)
    >>> [one.summary for one in reasons(TriggerConfig(), TriggerInputs([], 4_000), undecided, 1_000)]
    ['4,000 new examples, 4,000 are enough for a gate that could not decide']
    """
    alarms = [one for one in seen.alerts if _is_reason(config, one, last, now)]
    alarms.sort(key=lambda one: (one.name not in CLICK_RATE, one.since, one.key))
    found = [Reason("click_rate" if one.name in CLICK_RATE else "drift", one.summary, _evidence(one)) for one in alarms]
    return [*found, *_enough(config, seen, last), *_due(config, last, now)]


def _is_reason(config: TriggerConfig, alert: Alert, last: RunRecord | None, now: int) -> bool:
    if alert.state != "firing" or alert.name not in config.alarms:
        return False
    return last is None or alert.since > last.began or now - last.began >= config.alarm_again_s * 1000


def _evidence(alert: Alert) -> Evidence:
    return {"alert": alert.key, "since": alert.since, **alert.evidence}


def _enough(config: TriggerConfig, seen: TriggerInputs, last: RunRecord | None) -> Iterator[Reason]:
    """Enough new examples; fewer are where the gate had too few to decide about the last run."""
    enough, again = config.enough_examples, last.again if last is not None else 0
    if enough is None:
        return
    if seen.examples >= enough:
        summary = f"{seen.examples:,} new examples, {enough:,} are enough"
        yield Reason("examples", summary, {"new examples": seen.examples, "enough": enough})
    elif 0 < again <= seen.examples:
        summary = f"{seen.examples:,} new examples, {again:,} are enough for a gate that could not decide"
        yield Reason("examples", summary, {"new examples": seen.examples, "enough": again})


def _due(config: TriggerConfig, last: RunRecord | None, now: int) -> Iterator[Reason]:
    if config.every_s is None:
        return
    if last is None:
        yield Reason("schedule", "nothing was trained yet", {"every hours": config.every_s / 3_600})
    elif now - last.began >= config.every_s * 1000:
        hours = {"hours since": round((now - last.began) / 3_600_000, 2), "every hours": config.every_s / 3_600}
        yield Reason("schedule", f"the last training began {span(now - last.began)} ago", {**hours, "run": last.id})


def decide(config: TriggerConfig, seen: TriggerInputs, runs: RunHistory, now: int) -> Trigger | None:
    """The trigger of a moment, a go or held back; None without a reason.

    A go is not a claim: another trainer may be quicker, so the caller has to call :meth:`RunHistory.begin` with it.

    Examples
    --------
    >>> from evaluator.monitoring.alerts.alert import Alert
    >>> drop = Alert(name="click_rate_drop", labels={"arm": "a"}, state="firing", summary="fewer clicks than before",
    ...     evidence={"rate": 0.02}, since=5)
    >>> config = TriggerConfig()
    >>> few, many = (decide(config, TriggerInputs([drop], number), RunHistory(config), 10) for number in (300, 3_000))
    >>> few.reason, few.words, few.evidence
    ('click_rate', 'examples: 300 new ones, a run needs 2,000',
     {'alert': 'click_rate_drop|arm=a', 'since': 5, 'rate': 0.02})
    >>> many.go, many.also
    (True, ['schedule'])
    """
    found = reasons(config, seen, runs.trained, now)
    if not found:
        return None
    first, *others = found
    return Trigger(
        reason=first.kind,
        summary=first.summary,
        evidence=first.evidence,
        at=now,
        examples=seen.examples,
        also=list(dict.fromkeys(one.kind for one in others if one.kind != first.kind)),
        held_back=runs.held_back(seen.examples, now),
    )


CANARY = "canary"

Back = Callable[[int, int, str, str], int | None]
"""As :meth:`evaluator.retraining.store.archive.Archive.back`."""


def relevant_alerts(alerts: Iterable[Alert], config: TriggerConfig) -> list[Alert]:
    """The alerts that may be a reason to train; those of a canary are left to the rollout.

    Examples
    --------
    >>> firing = [Alert(name="click_rate_drop", labels={"surface": "feed", "arm": arm}, state="firing", summary="",
    ...     evidence={}, since=5) for arm in ("champion", "canary")]
    >>> [one.labels["arm"] for one in relevant_alerts(firing, TriggerConfig())]
    ['champion']
    """
    return [one for one in alerts if one.name in config.alarms and one.labels.get("arm") != CANARY]


def since(alerts: Iterable[Alert], last: RunRecord | None, closing_ms: int, back: Back) -> int:
    """The time from which examples are from after the change: the earliest onset of alarms that no run has answered,
    else the latest onset of those that go on; 0 without alarms.

    Parameters
    ----------
    last
        The last run that was trained.
    closing_ms
        How long after it was seen an impression is attributed: a detector's newest input is that old when it fires.
    back
        Counts back in the examples to the change that a click detector reports.

    Examples
    --------
    >>> drop = Alert(name="click_rate_drop", labels={"surface": "feed", "arm": ""}, state="firing", summary="",
    ...     evidence={"outcomes since": 300}, since=9_000)
    >>> since([drop], None, 2_000, lambda until, count, surface, arm: until - count)
    6700
    >>> since([], None, 2_000, lambda *_: None)
    0
    """
    firing = list(alerts)
    new = [one for one in firing if last is None or one.since > last.began]
    onsets = [_onset(one, closing_ms, back) for one in new or firing]
    return 0 if not onsets else min(onsets) if new else max(onsets)


def _onset(alert: Alert, closing_ms: int, back: Back) -> int:
    until, count = alert.since - closing_ms, alert.evidence.get("outcomes since")
    if isinstance(count, int | float) and count >= 1 and "surface" in alert.labels:
        found = back(until, int(count), alert.labels["surface"], alert.labels.get("arm", ""))
        return until if found is None else found
    return until
