"""Which version is in charge, as the store's slot says, and when that is a change.

Knows the store's slots and manifests; nothing of what a version is loaded into.
"""

from models.store import Store
from models.store.errors import StoreError


class Watch:
    """Tells a change from what was seen before, so that a version that was refused is not tried again and again.

    Examples
    --------
    >>> watch = Watch("a")
    >>> [watch.update(version) for version in ("a", "b", "b", None, "a")]
    [False, True, False, False, True]
    """

    def __init__(self, version: str | None = None) -> None:
        self.version = version

    def update(self, version: str | None) -> bool:
        """Whether another version is in charge now; an empty slot changes nothing."""
        changed = version is not None and version != self.version
        if changed:
            self.version = version
        return changed


class Charge:
    """One slot of a store, looked at from time to time.

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

    def __init__(self, store: Store, slot: str) -> None:
        self.store, self.slot = store, slot
        self.watch = Watch()

    @classmethod
    def of(cls, store: Store, name: str) -> "Charge | None":
        """The slot that a setting names, or None where it names a version.

        Examples
        --------
        >>> Charge.of(Store("memory://charge-example"), "champion") is None
        True
        """
        return cls(store, name) if name in store.slots.names() and store.slots.read(name).current else None

    def versions(self) -> list[str]:
        """The version in the slot, then those that were there before, newest first.

        Raises
        ------
        StoreError
            When the slot's file cannot be understood.
        """
        held = self.store.slots.read(self.slot)
        now = [held.current.version] if held.current is not None else []
        return now + [past.version for past in reversed(held.history)]

    def before(self, version: str) -> str | None:
        """The newest version in the slot's history with another encoder than this one's, of those that still exist."""
        own = self._encoder(version)
        return next((past for past in self.versions() if self._encoder(past) not in {None, own}), None)

    def _encoder(self, version: str) -> str | None:
        try:
            return self.store.manifest(version).encoder_fingerprint
        except StoreError:
            return None
