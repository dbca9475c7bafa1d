"""One run of training, as far as triggers care: when it began and ended, and what it has seen.

Knows nothing of how training goes.
"""

from typing import Literal

import msgspec

from evaluator.retraining.trigger import Kind

Outcome = Literal["trained", "failed"]


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run. Times are epoch milliseconds.

    ``by`` is the process that makes it. It is taken for dead at ``until`` unless it ended or was heard of before.
    ``through`` is the event time of the newest example that it was trained on. One that was trained is so whatever
    the gate said of its model afterwards.

    Examples
    --------
    >>> run = Run(id="1", by="trainer-1", reason="drift", began=0, until=100)
    >>> run.end(99), run.end(100)
    (None, 100)
    >>> msgspec.structs.replace(run, ended=30, outcome="trained").end(50)
    30
    """

    id: str
    by: str
    reason: Kind
    began: int
    until: int
    ended: int | None = None
    outcome: Outcome | None = None
    through: int = 0

    def end(self, now: int) -> int | None:
        """When it was over; None while it goes on."""
        if self.ended is not None:
            return self.ended
        return self.until if now >= self.until else None
