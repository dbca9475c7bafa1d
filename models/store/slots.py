"""Which version is in charge: one small file a slot, with what is there now and what was there before.

Knows ids, times and reasons; nothing of what a version is.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from models.store import ids
from models.store.errors import StoreError
from models.store.manifest import When, path_of
from models.store.storage import Storage

CHAMPION: Final = "champion"
HISTORY = 20
FOLDER = "slots"


class Promotion(msgspec.Struct, frozen=True):
    """A version that came into a slot: when, and why."""

    version: str
    at: When
    reason: str


class Slot(msgspec.Struct, frozen=True):
    """What a slot holds, and what it held before, oldest first."""

    current: Promotion | None = None
    history: tuple[Promotion, ...] = ()


class Slots:
    """The slots of a store. On a local store changes take turns; elsewhere the last of two at once wins, whole.

    Examples
    --------
    >>> from datetime import UTC
    >>> from models.store.storage import connect
    >>> slots = Slots(connect("memory://slots-example"), lambda: datetime(2026, 11, 24, tzinfo=UTC))
    >>> for id in ("20261124-153000-head-1a2b3c4d", "20261124-160000-lora-5e6f7081"):
    ...     slots.storage.write(path_of(id), b"{}")
    ...     _ = slots.promote(id, "better nDCG")
    >>> slots.rollback("clicks fell").current.version
    '20261124-153000-head-1a2b3c4d'
    """

    def __init__(self, storage: Storage, clock: Callable[[], datetime]) -> None:
        self.storage = storage
        self.clock = clock

    def names(self) -> list[str]:
        """Slots that were ever filled."""
        return [name.removesuffix(".json") for name in self.storage.children(FOLDER) if name.endswith(".json")]

    def read(self, name: str = CHAMPION) -> Slot:
        """A slot; empty when nothing was ever promoted to it.

        Raises
        ------
        StoreError
            When the name is none, or its file cannot be understood.
        """
        path = _file(name)
        try:
            return msgspec.json.decode(self.storage.read(path), type=Slot)
        except FileNotFoundError:
            return Slot()
        except msgspec.DecodeError as error:
            where = self.storage.path(path)
            raise StoreError(f"{where} is no slot: {error}. Delete it and promote a version again.") from error

    def promote(self, version: str, reason: str, name: str = CHAMPION) -> Slot:
        """Put a version in a slot; the one that was there becomes the one to roll back to.

        Promoting what is there already changes nothing, so a promotion may be repeated after a crash.

        Raises
        ------
        StoreError
            When there is no such version.
        """
        with self.storage.locked():
            if not self._exists(version):
                raise StoreError(f"There is no version {version} in {self.storage.root}.")
            slot = self.read(name)
            if slot.current is not None and slot.current.version == version:
                return slot
            before = (*slot.history, slot.current) if slot.current else slot.history
            return self._write(name, Slot(Promotion(version, self.clock(), reason), before[-HISTORY:]))

    def rollback(self, reason: str, name: str = CHAMPION) -> Slot:
        """Put back the version that was there before, of those that still exist.

        Raises
        ------
        StoreError
            When there is none; the slot stays as it is.
        """
        with self.storage.locked():
            slot = self.read(name)
            before = [past for past in slot.history if self._exists(past.version)]
            if slot.current is None or not before:
                raise StoreError(f"There is nothing to roll back to: no version was {name} before and is still there.")
            told = f"rolled back from {slot.current.version}: {reason}"
            return self._write(name, Slot(Promotion(before[-1].version, self.clock(), told), tuple(before[:-1])))

    def _exists(self, version: str) -> bool:
        return self.storage.exists(path_of(version))

    def _write(self, name: str, slot: Slot) -> Slot:
        self.storage.write(_file(name), msgspec.json.format(msgspec.json.encode(slot), indent=2) + b"\n")
        return slot


def _file(name: str) -> str:
    if not re.fullmatch(ids.METHOD, name):
        raise StoreError(f"{name!r} is no name of a slot; one looks like champion.")
    return f"{FOLDER}/{name}.json"
