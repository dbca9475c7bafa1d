"""Which version is in which slot, as ``liveshelf.models`` says: a slot's record is what the store keeps of it.

Pure: takes what was announced.
"""

import msgspec

from models.store.slots import Promotion, Slot
from streams.serving.announcement import Told

MOST = 50


class Held(msgspec.Struct, frozen=True):
    """A version that is or was in a slot, since when (epoch ms), why, and for which share of the shoppers."""

    version: str
    since: int
    reason: str
    share: float


class SlotRow(msgspec.Struct, frozen=True):
    """A slot: what it holds, if anything; what it held before, newest first; and why it was emptied, if it was."""

    slot: str
    current: Held | None
    before: list[Held]
    emptied: str = ""


class Slots:
    """The last record of each slot.

    Examples
    --------
    >>> slots = Slots()
    >>> from datetime import UTC, datetime
    >>> slots.update(("champion", Slot(Promotion("v2", datetime(2026, 11, 24, tzinfo=UTC), "better nDCG"))))
    >>> [(row.slot, row.current.version, row.current.reason) for row in slots.get()]
    [('champion', 'v2', 'better nDCG')]
    >>> slots.update(("champion", None))
    >>> slots.get()
    []
    """

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    def update(self, told: Told) -> None:
        """Take in what was announced; a slot whose record was removed is forgotten."""
        name, slot = told
        if slot is None:
            self._slots.pop(name, None)
        elif name in self._slots or len(self._slots) < MOST:
            self._slots[name] = slot

    def get(self) -> list[SlotRow]:
        """All slots by name."""
        return [
            SlotRow(
                name,
                _held(slot.current) if slot.current else None,
                [_held(one) for one in reversed(slot.history)],
                slot.emptied,
            )
            for name, slot in sorted(self._slots.items())
        ]


def _held(one: Promotion) -> Held:
    return Held(one.version, int(one.at.timestamp() * 1_000), one.reason, one.share)
