"""The policy: is there a reason to train, and may it be now? Pure.

Where alerts, numbers of examples and the book of runs come from, and who then claims the run, is not its business.
"""

from evaluator.retraining.reasons import Seen, reasons
from evaluator.retraining.run_registry import Runs
from evaluator.retraining.trigger import Trigger
from evaluator.retraining.trigger_config import TriggerConfig


def decide(config: TriggerConfig, seen: Seen, runs: Runs, now: int) -> Trigger | None:
    """The trigger of a moment, a go or held back; None without a reason.

    A go is no claim: others may be quicker, so whoever wants to train asks :meth:`Runs.begin` with it.

    Examples
    --------
    >>> from evaluator.monitoring.alerts.alert import Alert
    >>> drop = Alert(name="click_rate_drop", labels={"arm": "a"}, state="firing", summary="fewer clicks than before",
    ...     evidence={"rate": 0.02}, since=5)
    >>> config = TriggerConfig()
    >>> few, many = (decide(config, Seen([drop], number), Runs(config), 10) for number in (300, 3_000))
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
