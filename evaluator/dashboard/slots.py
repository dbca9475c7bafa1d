"""Which version is in which slot, as ``liveshelf.models`` says: a slot's record is what the store keeps of it.

Pure: takes keys and records.
"""

import msgspec

from models.store.slots import Promotion, Slot

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
    >>> record = b'{"current":{"version":"v2","at":"2026-11-24T15:30:00Z","reason":"better nDCG"},"history":[]}'
    >>> slots.update(b"champion", record)
    >>> [(row.slot, row.current.version, row.current.reason) for row in slots.get()]
    [('champion', 'v2', 'better nDCG')]
    >>> slots.update(b"champion", None)
    >>> slots.get()
    []
    """

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    def update(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record in; one without a value empties the slot.

        Raises
        ------
        msgspec.DecodeError, UnicodeDecodeError
            When it is no slot.
        """
        name = (key or b"").decode()
        if value is None:
            self._slots.pop(name, None)
        elif name in self._slots or len(self._slots) < MOST:
            self._slots[name] = msgspec.json.decode(value, type=Slot)

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
