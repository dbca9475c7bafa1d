"""Reads the champion and the challenger from the store's slots, and detects when the champion changes.

Knows the store's slots and manifests; nothing of what a version is loaded into.
"""

from datetime import datetime
from typing import NamedTuple

from models.store import ModelStore
from models.store.errors import StoreError
from models.store.slots import CHALLENGER, CHAMPION, Promotion

UNTRAINED = ""
"""Stands for a version: the weights and the architecture that the settings name."""


class SlotState(NamedTuple):
    """What the slots hold.

    Attributes
    ----------
    champion
        The champion's version. ``UNTRAINED`` after the first champion was rolled back. None if the slot was never
        filled, or its file is gone.
    since
        When the champion came into the slot.
    before
        The champions before it, newest first.
    challenger
        The version in the canary; None if there is none, or it is the champion itself.
    """

    champion: str | None = None
    since: datetime | None = None
    before: tuple[str, ...] = ()
    challenger: Promotion | None = None


class ChangeDetector:
    """Detects a new champion, so that a version that was refused is not loaded again at every poll.

    Examples
    --------
    >>> changes = ChangeDetector("a")
    >>> [changes.update(version) for version in ("a", "b", "b", None, "a")]
    [False, True, False, False, True]
    """

    def __init__(self, version: str | None = None) -> None:
        self.version = version

    def update(self, version: str | None) -> bool:
        """Whether the champion is a new version. None, an empty slot, is no change."""
        changed = version is not None and version != self.version
        if changed:
            self.version = version
        return changed


class SlotWatcher:
    """Reads one slot of a store, and with the champion's slot also the challenger's.

    Calls read files or an object store: next to an event loop, run them in a thread.

    Parameters
    ----------
    slot
        Such as ``champion``.

    Attributes
    ----------
    changes
        Detects changes of the slot.
    """

    def __init__(self, store: ModelStore, slot: str) -> None:
        self.store, self.slot = store, slot
        self.changes = ChangeDetector()

    @classmethod
    def of(cls, store: ModelStore, name: str) -> "SlotWatcher | None":
        """The slot that a setting names, or None if it names a version. The champion's slot may still be empty.

        Examples
        --------
        >>> store = ModelStore("memory://slot-watcher-example")
        >>> SlotWatcher.of(store, "champion").read()
        SlotState(champion=None, since=None, before=(), challenger=None)
        >>> SlotWatcher.of(store, "champoin") is None
        True
        """
        return cls(store, name) if name == CHAMPION or name in store.slots.names() else None

    def read(self) -> SlotState:
        """What the slots hold now.

        Raises
        ------
        StoreError
            When a slot's file cannot be read as a slot.
        """
        held = self.store.slots.read(self.slot)
        challenger = self.store.slots.read(CHALLENGER).current if self.slot == CHAMPION else None
        before = tuple(past.version for past in reversed(held.history))
        if held.current is None:
            return SlotState(UNTRAINED if held.emptied else None, None, before, challenger)
        if challenger is not None and challenger.version == held.current.version:
            challenger = None
        return SlotState(held.current.version, held.current.at, before or (UNTRAINED,), challenger)

    def before(self, version: str) -> str | None:
        """The newest earlier champion that still exists and has another encoder than the given version."""
        own = self._encoder(version)
        return next((past for past in self.read().before if self._encoder(past) not in {None, own}), None)

    def _encoder(self, version: str) -> str | None:
        if version == UNTRAINED:
            return UNTRAINED
        try:
            return self.store.manifest(version).encoder_fingerprint
        except StoreError:
            return None
