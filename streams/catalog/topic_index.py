"""What ``liveshelf.embeddings`` holds: of each item, for which encoders and from which state of the item.

Pure: takes what records say, in the order of their partition, and says what an encoder lacks and what has to go. Knows
neither vectors nor texts; an item's state is the place of its record in ``shop.items``, its origin, and of two the
origins say which is the later. A state that an earlier one was written over is lacking: somebody has to write it again.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from cachetools import FIFOCache

from streams.catalog.embedding import Origin

DELETES_KEPT = 100_000


class TopicIndex:
    """The holdings of the topic, as one encoder's catalogue needs to know them.

    Parameters
    ----------
    encoder
        The version of the encoder whose items shall be complete.

    Attributes
    ----------
    outdated
        Items and encoders of records that are older than the item's delete: written by someone who did not know of it.
        They have to be deleted again, or a later reader would take them for items.

    Examples
    --------
    >>> ledger = TopicIndex("new")
    >>> ledger.put("a", "old", Origin(0, 7)), ledger.put("b", "old", Origin(1, 3)), ledger.put("b", "new", Origin(1, 3))
    (True, True, True)
    >>> len(ledger), ledger.progress, ledger.complete, ledger.lacks(owned={0}), ledger.lacks(owned={1})
    (2, 0.5, False, True, False)
    >>> ledger.wants("a", Origin(0, 7)), ledger.wants("a", Origin(0, 6)), ledger.wants("b", Origin(1, 3))
    (True, False, False)
    >>> ledger.delete("a", "old", Origin(0, 8)), ledger.complete
    (True, True)
    >>> ledger.put("a", "new", Origin(0, 7)), ledger.outdated
    (False, {('a', 'new')})

    A record that cannot be used leaves its item lacking, and what it says of the item is known all the same:

    >>> ledger = TopicIndex("new")
    >>> ledger.spoil("a", "new", Origin(0, 7)); len(ledger), ledger.complete, ledger.wants("a", Origin(0, 7))
    (1, False, True)
    >>> ledger.put("a", "new", Origin(0, 7)), ledger.complete
    (True, True)
    """

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        self.outdated: set[tuple[str, str]] = set()
        self._held: dict[str, dict[str, Origin]] = {encoder: {}}
        self._spoilt: dict[str, Origin] = {}
        self._newest: dict[str, Origin] = {}
        self._deleted: FIFOCache[str, Origin] = FIFOCache(DELETES_KEPT)
        self._behind: dict[str, int] = {}
        self._behind_by = Counter[int]()

    def __len__(self) -> int:
        """Items that are live for any encoder."""
        return len(self._newest)

    @property
    def complete(self) -> bool:
        """Whether every live item's newest state is held for the encoder."""
        return not self._behind

    @property
    def behind(self) -> int:
        """How many live items' newest state is not."""
        return len(self._behind)

    @property
    def progress(self) -> float:
        """The share of live items whose newest state is held for the encoder, 0 to 1."""
        return 1.0 - len(self._behind) / len(self) if self._newest else 1.0

    def encoders(self) -> list[str]:
        """Encoders that any item is held for."""
        return [encoder for encoder, held in self._held.items() if held]

    def held(self, encoder: str) -> int:
        """How many items are held for an encoder, whatever their state."""
        return len(self._held.get(encoder, ()))

    def put(self, item_id: str, encoder: str, origin: Origin) -> bool:
        """Take an encoded item; returns whether a catalogue should, as it should unless something later is known."""
        self._held.setdefault(encoder, {})[item_id] = origin
        self._mended(item_id, encoder)
        later = self._lives(item_id, origin)
        self._review(item_id)
        return later

    def delete(self, item_id: str, encoder: str, origin: Origin) -> bool:
        """Take a delete of the item, as published for one encoder; what is held for others and is older counts as
        gone, too. Returns whether it is the latest that is known of the item."""
        self._held.get(encoder, {}).pop(item_id, None)
        self._mended(item_id, encoder)
        later = origin.after(self.known(item_id))
        if later is not None:
            self._newest.pop(item_id, None)
            self._spoilt.pop(item_id, None)
            self._deleted[item_id] = later
        self._review(item_id)
        return later is not None

    def forget(self, item_id: str, encoder: str) -> None:
        """Take it that one encoder's record was removed, which says nothing of the item."""
        self._held.get(encoder, {}).pop(item_id, None)
        self._mended(item_id, encoder)
        if self._newest.pop(item_id, None) is not None:
            for states in (*self._held.values(), self._spoilt):
                if (origin := states.get(item_id)) is not None:
                    self._lives(item_id, origin)
        self._review(item_id)

    def spoil(self, item_id: str, encoder: str, origin: Origin | None) -> None:
        """Take it that an encoder's record of an item was replaced by one that cannot be used.

        Parameters
        ----------
        origin
            The state of the item that can be read from that record all the same, if it can.
        """
        self.forget(item_id, encoder)
        if origin is not None and encoder == self.encoder and self._lives(item_id, origin):
            self._spoilt[item_id] = origin
            self._review(item_id)

    def known(self, item_id: str) -> Origin | None:
        """The latest that is known of an item: the state that it lives in, or its delete."""
        return self._newest.get(item_id) or self._deleted.get(item_id)

    def live(self, item_id: str) -> bool:
        """Whether an item is held for any encoder and not deleted since."""
        return item_id in self._newest

    def _lives(self, item_id: str, origin: Origin) -> bool:
        """Take a state that an item is in; returns whether nothing later is known."""
        later = origin.after(self.known(item_id))
        if later is not None:
            self._deleted.pop(item_id, None)
            self._newest[item_id] = later
        return later is not None

    def _mended(self, item_id: str, encoder: str) -> None:
        if encoder == self.encoder:
            self._spoilt.pop(item_id, None)

    def lacks(self, owned: Iterable[int]) -> bool:
        """Whether the encoder lacks items of these partitions of ``shop.items``."""
        return any(self._behind_by[partition] for partition in owned)

    def wants(self, item_id: str, origin: Origin) -> bool:
        """Whether this state of an item is its newest and not held for the encoder."""
        return item_id in self._behind and self._newest[item_id] == origin

    def deleted(self, item_id: str) -> Origin | None:
        """The delete that an outdated record is older than."""
        return self._deleted.get(item_id)

    def to_delete(self, owned: Collection[int]) -> set[tuple[str, str]]:
        """The outdated records of items of these partitions."""
        return {
            (item_id, encoder)
            for item_id, encoder in self.outdated
            if item_id in self._deleted and self._deleted[item_id].partition in owned
        }

    def to_retire(self, keep: Collection[str], owned: Collection[int]) -> list[tuple[str, str]]:
        """Records of all encoders but those to keep, of items of these partitions.

        Examples
        --------
        >>> ledger = TopicIndex("c")
        >>> for encoder in "abc":
        ...     _ = ledger.put("x", encoder, Origin(0, 1)), ledger.put("y", encoder, Origin(1, 1))
        >>> ledger.to_retire(keep={"b", "c"}, owned={1})
        [('y', 'a')]
        """
        return [
            (item_id, encoder)
            for encoder, held in self._held.items()
            if encoder not in keep
            for item_id, origin in held.items()
            if origin.partition in owned
        ]

    def _review(self, item_id: str) -> None:
        """Find again which of an item's records are outdated by its delete, and whether the encoder's is behind."""
        deleted = self._deleted.get(item_id)
        for encoder, items in self._held.items():
            held = items.get(item_id)
            gone = held is not None and deleted is not None and held.before(deleted)
            (self.outdated.add if gone else self.outdated.discard)((item_id, encoder))
        if (partition := self._behind.pop(item_id, None)) is not None:
            self._behind_by[partition] -= 1
        newest = self._newest.get(item_id)
        if newest is not None and self._held[self.encoder].get(item_id) != newest:
            self._behind[item_id] = newest.partition
            self._behind_by[newest.partition] += 1
