"""Slots, such as the champion's: one small file for each slot, with its current version and the versions before it.

Knows ids, times and reasons; nothing of what a version is.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from models.store import ids
from models.store.errors import NotFoundError, StoreError
from models.store.manifest import When, path_of
from models.store.storage import Storage

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
HISTORY = 20
FOLDER = "slots"


class Promotion(msgspec.Struct, frozen=True):
    """A version's promotion to a slot: when, why, and for which share of the shoppers.

    ``at`` is when that share began. A challenger with a share of 0 is a shadow: nobody sees its shelves.
    """

    version: Annotated[str, Meta(min_length=1, max_length=256)]
    at: When
    reason: Annotated[str, Meta(max_length=20_000)]
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Slot(msgspec.Struct, frozen=True):
    """A slot's current promotion, and those before it, oldest first; ``emptied`` says why a slot became empty."""

    current: Promotion | None = None
    history: Annotated[tuple[Promotion, ...], Meta(max_length=1_000)] = ()
    emptied: Annotated[str, Meta(max_length=20_000)] = ""


class Slots:
    """The slots of a store. In a local store, changes take turns; elsewhere the last of two concurrent changes wins.

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
        """The slots that were filled at least once."""
        return [name.removesuffix(".json") for name in self.storage.children(FOLDER) if name.endswith(".json")]

    def read(self, name: str = CHAMPION) -> Slot:
        """A slot; empty if nothing was ever promoted to it.

        Raises
        ------
        StoreError
            When the name is no slot's name, or its file is invalid.
        """
        path = _file(name)
        try:
            return msgspec.json.decode(self.storage.read(path), type=Slot)
        except FileNotFoundError:
            return Slot()
        except msgspec.DecodeError as error:
            where = self.storage.path(path)
            raise StoreError(f"{where} is no slot: {error}. Delete it and promote a version again.") from error

    def promote(self, version: str, reason: str, name: str = CHAMPION, share: float = 1.0) -> Slot:
        """Put a version in a slot; a rollback then returns to the version that was there.

        Promoting the current version again changes nothing, so a promotion may be repeated after a crash. With another
        share it starts again with that share, and the history stays the same.

        Parameters
        ----------
        share
            The share of the shoppers, 0 to 1.

        Raises
        ------
        StoreError
            When there is no such version, or the share is invalid.
        """
        if not 0 <= share <= 1:
            raise StoreError(f"{share:g} is no share; one is from 0 to 1.")
        with self.storage.locked():
            if not self._exists(version):
                raise NotFoundError(f"There is no version {version} in {self.storage.root}.")
            slot = self.read(name)
            made = Promotion(version, self.clock(), reason, share)
            if slot.current is None or slot.current.version != version:
                before = (*slot.history, slot.current) if slot.current else slot.history
                return self._write(name, Slot(made, before[-HISTORY:]))
            return slot if slot.current.share == share else self._write(name, Slot(made, slot.history))

    def rollback(self, reason: str, name: str = CHAMPION) -> Slot:
        """Put back the newest version before the current one that still exists.

        If there was no version before, the slot becomes empty: workers then serve the untrained weights that the
        settings name.

        Raises
        ------
        StoreError
            When the slot is empty, or none of the versions before still exists; the slot stays as it is.
        """
        with self.storage.locked():
            slot = self.read(name)
            if slot.current is None:
                raise StoreError(f"There is nothing to roll back: no version is {name}.")
            reason = f"rolled back from {slot.current.version}: {reason}"
            if not slot.history:
                return self._write(name, Slot(emptied=reason))
            before = [past for past in slot.history if self._exists(past.version)]
            if not before:
                raise StoreError(f"There is nothing to roll back to: no version that was {name} before is still there.")
            made = Promotion(before[-1].version, self.clock(), reason, before[-1].share)
            return self._write(name, Slot(made, tuple(before[:-1])))

    def clear(self, name: str, reason: str) -> Slot:
        """Empty a slot; its version becomes the newest of the history. Clearing an empty slot changes nothing.

        Examples
        --------
        >>> from datetime import UTC
        >>> from models.store.storage import connect
        >>> slots = Slots(connect("memory://clear-example"), lambda: datetime(2026, 11, 24, tzinfo=UTC))
        >>> slots.storage.write(path_of("20261124-153000-head-1a2b3c4d"), b"{}")
        >>> _ = slots.promote("20261124-153000-head-1a2b3c4d", "better nDCG", CHALLENGER, share=0.1)
        >>> slot = slots.clear(CHALLENGER, "clicks fell")
        >>> slot.current, slot.history[-1].share, slot.emptied
        (None, 0.1, 'clicks fell')
        """
        with self.storage.locked():
            slot = self.read(name)
            if slot.current is None:
                return slot
            return self._write(name, Slot(None, (*slot.history, slot.current)[-HISTORY:], reason))

    def _exists(self, version: str) -> bool:
        return self.storage.exists(path_of(version))

    def _write(self, name: str, slot: Slot) -> Slot:
        self.storage.write(_file(name), msgspec.json.format(msgspec.json.encode(slot), indent=2) + b"\n")
        return slot


def _file(name: str) -> str:
    if not re.fullmatch(ids.METHOD, name):
        raise StoreError(f"{name!r} is no name of a slot; one looks like champion.")
    return f"{FOLDER}/{name}.json"
