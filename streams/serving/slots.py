"""Which version is in charge and which challenges it, as the store's slots say, and when that is a change.

Knows the store's slots and manifests; nothing of what a version is loaded into.
"""

from datetime import datetime
from typing import NamedTuple

from models.store import ModelStore
from models.store.errors import StoreError
from models.store.slots import CHALLENGER, CHAMPION, Promotion

UNTRAINED = ""
"""In place of a version: the weights and the architecture of the settings."""


class SlotState(NamedTuple):
    """What the slots say.

    Attributes
    ----------
    champion
        The version in charge, ``UNTRAINED`` after the first one was rolled back; None where the slot says nothing: it
        was never filled, or its file is gone.
    since
        When it came into the slot.
    before
        What was in charge before, newest first.
    challenger
        The version on trial; None where there is none, or it is the champion itself.
    """

    champion: str | None = None
    since: datetime | None = None
    before: tuple[str, ...] = ()
    challenger: Promotion | None = None


class ChangeDetector:
    """Tells a change from what was seen before, so that a version that was refused is not tried again at every look.

    Examples
    --------
    >>> watch = ChangeDetector("a")
    >>> [watch.update(version) for version in ("a", "b", "b", None, "a")]
    [False, True, False, False, True]
    """

    def __init__(self, version: str | None = None) -> None:
        self.version = version

    def update(self, version: str | None) -> bool:
        """Whether another version is in charge now; a slot that says nothing changes nothing."""
        changed = version is not None and version != self.version
        if changed:
            self.version = version
        return changed


class SlotWatcher:
    """One slot of a store, looked at from time to time, and beside the champion's the challenger's.

    Calls read files, or an object store: they belong in a thread where an event loop runs.

    Parameters
    ----------
    slot
        Such as ``champion``.

    Attributes
    ----------
    watch
        What was seen in the slot last.
    """

    def __init__(self, store: ModelStore, slot: str) -> None:
        self.store, self.slot = store, slot
        self.watch = ChangeDetector()

    @classmethod
    def of(cls, store: ModelStore, name: str) -> "SlotWatcher | None":
        """The slot that a setting names, or None where it names a version. The champion's need not be there yet.

        Examples
        --------
        >>> store = ModelStore("memory://slots-example")
        >>> SlotWatcher.of(store, "champion").read()
        SlotState(champion=None, since=None, before=(), challenger=None)
        >>> SlotWatcher.of(store, "champoin") is None
        True
        """
        return cls(store, name) if name == CHAMPION or name in store.slots.names() else None

    def read(self) -> SlotState:
        """What the slots say now.

        Raises
        ------
        StoreError
            When a slot's file cannot be understood.
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
        """What was in charge last with another encoder than a version's, of what still exists."""
        own = self._encoder(version)
        return next((past for past in self.read().before if self._encoder(past) not in {None, own}), None)

    def _encoder(self, version: str) -> str | None:
        if version == UNTRAINED:
            return UNTRAINED
        try:
            return self.store.manifest(version).encoder_fingerprint
        except StoreError:
            return None
