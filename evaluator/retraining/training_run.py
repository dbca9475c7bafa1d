"""One run of training, as its registry keeps it: its reason and evidence, when it ended, and its newest example.

Knows values only.
"""

from typing import Literal

import msgspec

from evaluator.monitoring.detectors.detector import Evidence

Kind = Literal["click_rate", "drift", "examples", "schedule"]
"""Reasons, the most pressing first."""

Limit = Literal["running", "cooldown", "budget", "examples", "over"]


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What holds a run back, as a sentence; ``until`` is when that ends (epoch ms), where it is known."""

    limit: Limit
    words: str
    until: int | None = None


class Trigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reason to train, at a moment (``at``, epoch ms). It is a go when nothing holds it back.

    ``summary`` and ``evidence`` are the reason's; ``examples`` is the number of examples that no run was
    trained on; ``also`` names further reasons of the same moment.

    Examples
    --------
    >>> trigger = Trigger(reason="schedule", summary="No run for 24 h", evidence={"hours": 24.0}, at=5, examples=10)
    >>> trigger.go, decoder.decode(encoder.encode(trigger)) == trigger
    (True, True)
    >>> waits = msgspec.structs.replace(trigger, held_back=[Hold(limit="cooldown", words="cooldown: 12 min left")])
    >>> waits.go, waits.words
    (False, 'cooldown: 12 min left')
    """

    reason: Kind
    summary: str
    evidence: Evidence
    at: int
    examples: int
    also: list[Kind] = []
    held_back: list[Hold] = []

    @property
    def go(self) -> bool:
        """Whether a run may begin."""
        return not self.held_back

    @property
    def words(self) -> str:
        """All that holds it back; empty for a go."""
        return "; ".join(held.words for held in self.held_back)


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Trigger)
Outcome = Literal["trained", "failed"]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run. Times are epoch milliseconds.

    ``by`` names the trainer that does it. ``holder`` is the id of that trainer's process, empty once it has
    released the run. Its last heartbeat was at ``heard``; it counts as over at ``until``, unless it ends or sends
    one before. ``through`` is the event time of the newest example that it was trained on. Its outcome is
    ``trained`` whatever the gate's verdict on the model. Where the gate had too few examples to decide, ``again``
    is how many new ones are a reason for the next run: as many as runs had since it last decided, so that there are
    twice as many each time.

    Examples
    --------
    >>> run = RunRecord(id="1", by="trainer-1", reason="drift", began=0, until=100)
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
    again: int = 0

    def end(self, now: int) -> int | None:
        """When it was over; None while it goes on."""
        if self.ended is not None:
            return self.ended
        return self.until if now >= self.until else None
