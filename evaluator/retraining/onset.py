"""When what an alarm tells of began, and so from when on examples are of the world as it is now."""

from collections.abc import Callable, Iterable

from evaluator.monitoring.alerts.alert import Alert
from evaluator.retraining.run_record import Run
from evaluator.retraining.trigger_config import TriggerConfig

CANARY = "canary"

Back = Callable[[int, int, str, str], int | None]
"""As :meth:`evaluator.retraining.store.archive.Archive.back`."""


def asking(alerts: Iterable[Alert], config: TriggerConfig) -> list[Alert]:
    """Those that may be a reason to train: a canary's are the rollout's business.

    Examples
    --------
    >>> made = [Alert(name="click_rate_drop", labels={"surface": "feed", "arm": arm}, state="firing", summary="",
    ...     evidence={}, since=5) for arm in ("champion", "canary")]
    >>> [one.labels["arm"] for one in asking(made, TriggerConfig())]
    ['champion']
    """
    return [one for one in alerts if one.name in config.alarms and one.labels.get("arm") != CANARY]


def since(alerts: Iterable[Alert], last: Run | None, closing_ms: int, back: Back) -> int:
    """From when on examples are of the world as it is now: the earliest onset of alarms that no run has answered, else
    the latest of those that go on; 0 without any.

    Parameters
    ----------
    last
        The last run that was trained.
    closing_ms
        How long after it was seen an impression is closed: what a detector had seen when it fired was that old.
    back
        Counts back in the examples to where a detector of clicks puts the change.

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
