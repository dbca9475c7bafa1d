"""One run of training, as far as triggers care: when it began and ended, and what it has seen.

Knows nothing of how training goes.
"""

from typing import Literal

import msgspec

from evaluator.retraining.trigger import Kind

Outcome = Literal["trained", "failed"]


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run. Times are epoch milliseconds.

    ``by`` names the trainer that makes it, and ``holder`` is the id of that trainer's process, empty once it has given
    the run up. It was heard of at ``heard``, and counts as over at ``until`` unless it ends or is heard of before then.
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
    holder: str = ""
    heard: int = 0
    ended: int | None = None
    outcome: Outcome | None = None
    through: int = 0

    def end(self, now: int) -> int | None:
        """When it was over; None while it goes on."""
        if self.ended is not None:
            return self.ended
        return self.until if now >= self.until else None
