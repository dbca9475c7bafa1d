"""One trigger: why to train now, on what evidence, and what holds it back.

Knows the shape and its bytes; nothing of who decides or who trains.
"""

from typing import Literal

import msgspec

from evaluator.monitoring.detectors.detector import Evidence

Kind = Literal["click_rate", "drift", "examples", "schedule"]
"""Reasons, the most pressing first."""

Limit = Literal["running", "cooldown", "budget", "examples", "over"]


class Held(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What holds a run back, in words for people; ``until`` is when it no longer does (epoch ms), where that is
    known."""

    limit: Limit
    words: str
    until: int | None = None


class Trigger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reason to train, at a moment (``at``, epoch ms); it is a go when nothing holds it back.

    ``summary`` and ``evidence`` are the reason's; ``examples`` how many there are that no run was trained on; ``also``
    names further reasons of the same moment.

    Examples
    --------
    >>> made = Trigger(reason="schedule", summary="No run for 24 h", evidence={"hours": 24.0}, at=5, examples=10)
    >>> made.go, decoder.decode(encoder.encode(made)) == made
    (True, True)
    >>> waits = msgspec.structs.replace(made, held_back=[Held(limit="cooldown", words="cooldown: 12 min left")])
    >>> waits.go, waits.words
    (False, 'cooldown: 12 min left')
    """

    reason: Kind
    summary: str
    evidence: Evidence
    at: int
    examples: int
    also: list[Kind] = []
    held_back: list[Held] = []

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
