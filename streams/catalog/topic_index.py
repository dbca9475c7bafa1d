"""What ``liveshelf.embeddings`` holds: for each item, which encoders encoded it, and from which state of the item.

Pure: takes records in the order of their partition; returns which items an encoder lacks and which records to delete.
Knows neither vectors nor texts. An item's state is its origin, the place of its record in ``shop.items``; origins are
ordered. If an earlier state overwrote a later one, the later one is missing and has to be written again.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from cachetools import FIFOCache

from streams.catalog.columns import Names, Origins, Sink, Source
from streams.catalog.embedding import Origin

DELETES_KEPT = 100_000


class TopicIndex:
    """The contents of the topic, as one encoder's catalogue needs to know them.

    Parameters
    ----------
    encoder
        The version of the encoder whose items have to be complete.

    Attributes
    ----------
    outdated
        Items and encoders of records that are older than the item's delete: their writer did not know of the delete.
        They have to be deleted again, or a later reader would take the items for live ones.

    Examples
    --------
    >>> index = TopicIndex("new")
    >>> index.put("a", "old", Origin(0, 7)), index.put("b", "old", Origin(1, 3)), index.put("b", "new", Origin(1, 3))
    (True, True, True)
    >>> len(index), index.progress, index.complete, index.lacks(owned={0}), index.lacks(owned={1})
    (2, 0.5, False, True, False)
    >>> index.wants("a", Origin(0, 7)), index.wants("a", Origin(0, 6)), index.wants("b", Origin(1, 3))
    (True, False, False)
    >>> index.delete("a", "old", Origin(0, 8)), index.complete
    (True, True)
    >>> index.put("a", "new", Origin(0, 7)), index.outdated
    (False, {('a', 'new')})

    If a record cannot be used, its item is missing, but its origin is still known:

    >>> index = TopicIndex("new")
    >>> index.mark_unusable("a", "new", Origin(0, 7)); len(index), index.complete, index.wants("a", Origin(0, 7))
    (1, False, True)
    >>> index.put("a", "new", Origin(0, 7)), index.complete
    (True, True)
    """

    def __init__(self, encoder: str) -> None:
        self.encoder = encoder
        self.outdated: set[tuple[str, str]] = set()
        self._names = Names()
        self._held: dict[str, Origins] = {encoder: Origins()}
        self._newest = Origins()
        self._unusable: dict[str, Origin] = {}
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
        """How many live items' newest state is not held for the encoder."""
        return len(self._behind)

    @property
    def progress(self) -> float:
        """The share of live items whose newest state is held for the encoder, 0 to 1."""
        return 1.0 - len(self._behind) / len(self) if len(self) else 1.0

    def encoders(self) -> list[str]:
        """Encoders that any item is held for."""
        return [encoder for encoder, held in self._held.items() if len(held)]

    def held(self, encoder: str) -> int:
        """How many items are held for an encoder, whatever their state."""
        return len(self._held.get(encoder, ()))

    def put(self, item_id: str, encoder: str, origin: Origin) -> bool:
        """Record an encoded item; returns whether a catalogue should apply it: it should if no later state is known."""
        self._held.setdefault(encoder, Origins()).put(self._names.number(item_id), origin)
        self._clear_unusable(item_id, encoder)
        later = self._update_newest(item_id, origin)
        self._review(item_id)
        return later

    def delete(self, item_id: str, encoder: str, origin: Origin) -> bool:
        """Record a delete of the item, published for one encoder. Older records of other encoders count as deleted too.
        Returns whether the delete is the latest known state of the item."""
        self._drop(item_id, encoder)
        later = origin.after(self.known(item_id))
        if later is not None:
            self._newest.drop(self._names.find(item_id))
            self._unusable.pop(item_id, None)
            self._deleted[item_id] = later
        self._review(item_id)
        return later is not None

    def forget(self, item_id: str, encoder: str) -> None:
        """Record that one encoder's record was removed; the item itself is not deleted."""
        self._drop(item_id, encoder)
        number = self._names.find(item_id)
        if self._newest.get(number) is not None:
            self._newest.drop(number)
            for origin in (*(held.get(number) for held in self._held.values()), self._unusable.get(item_id)):
                if origin is not None:
                    self._update_newest(item_id, origin)
        self._review(item_id)

    def mark_unusable(self, item_id: str, encoder: str, origin: Origin | None) -> None:
        """Record that an encoder's record of an item was replaced by one that cannot be used.

        Parameters
        ----------
        origin
            The state of the item that the unusable record names, if it can be read.
        """
        self.forget(item_id, encoder)
        if origin is not None and encoder == self.encoder and self._update_newest(item_id, origin):
            self._unusable[item_id] = origin
            self._review(item_id)

    def known(self, item_id: str) -> Origin | None:
        """The latest known state of an item, or its delete."""
        return self._newest.get(self._names.find(item_id)) or self._deleted.get(item_id)

    def live(self, item_id: str) -> bool:
        """Whether an item is held for any encoder and not deleted since."""
        return self._newest.get(self._names.find(item_id)) is not None

    def _update_newest(self, item_id: str, origin: Origin) -> bool:
        """Record a state of a live item; returns whether no later state is known."""
        later = origin.after(self.known(item_id))
        if later is not None:
            self._deleted.pop(item_id, None)
            self._newest.put(self._names.number(item_id), later)
        return later is not None

    def _drop(self, item_id: str, encoder: str) -> None:
        if encoder in self._held:
            self._held[encoder].drop(self._names.find(item_id))
        self._clear_unusable(item_id, encoder)

    def _clear_unusable(self, item_id: str, encoder: str) -> None:
        if encoder == self.encoder:
            self._unusable.pop(item_id, None)

    def lacks(self, owned: Iterable[int]) -> bool:
        """Whether the encoder lacks items of these partitions of ``shop.items``."""
        return any(self._behind_by[partition] for partition in owned)

    def wants(self, item_id: str, origin: Origin) -> bool:
        """Whether this state of an item is its newest and not held for the encoder."""
        return item_id in self._behind and self._newest.get(self._names.find(item_id)) == origin

    def deleted(self, item_id: str) -> Origin | None:
        """The delete of an item, which its outdated records are older than."""
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
        >>> index = TopicIndex("c")
        >>> for encoder in "abc":
        ...     _ = index.put("x", encoder, Origin(0, 1)), index.put("y", encoder, Origin(1, 1))
        >>> index.to_retire(keep={"b", "c"}, owned={1})
        [('y', 'a')]
        """
        return [
            (self._names.name(number), encoder)
            for encoder, held in self._held.items()
            if encoder not in keep
            for number in held.numbers().tolist()
            if (origin := held.get(number)) is not None and origin.partition in owned
        ]

    @property
    def nbytes(self) -> int:
        """Memory of names and origins, shared or not."""
        return self._names.nbytes + self._newest.nbytes + sum(held.nbytes for held in self._held.values())

    def save(self, to: Sink) -> None:
        """Write all."""
        self._names.save(to, "topic.names")
        self._newest.save(to, "topic.newest")
        for place, held in enumerate(self._held.values()):
            held.save(to, f"topic.held.{place}")
        to.value("topic.encoders", list(self._held))
        to.value("topic.unusable", self._unusable)
        to.value("topic.deleted", list(self._deleted.items()))

    def restore(self, source: Source) -> None:
        """Read what :meth:`save` wrote for the same encoder."""
        names, newest = Names(), Origins()
        held = {encoder: Origins() for encoder in source.value("topic.encoders", list[str])}
        names.restore(source, "topic.names")
        newest.restore(source, "topic.newest")
        for place, origins in enumerate(held.values()):
            origins.restore(source, f"topic.held.{place}")
        unusable = source.value("topic.unusable", dict[str, Origin])
        deleted = source.value("topic.deleted", list[tuple[str, Origin]])
        self._names, self._newest, self._held, self._unusable = names, newest, held, unusable
        self._deleted.update(deleted)
        self._review_all()

    def _review_all(self) -> None:
        """Recompute what :meth:`_review` does, of the few items where the encoder's state is not the newest one."""
        doubtful = self._newest.differing(self._held[self.encoder]).tolist()
        for item_id in (*map(self._names.name, doubtful), *self._deleted):
            self._review(item_id)

    def _review(self, item_id: str) -> None:
        """Recompute which of an item's records its delete makes outdated, and whether the encoder is behind."""
        deleted, number = self._deleted.get(item_id), self._names.find(item_id)
        for encoder, items in self._held.items():
            held = items.get(number)
            gone = held is not None and deleted is not None and held.before(deleted)
            (self.outdated.add if gone else self.outdated.discard)((item_id, encoder))
        if (partition := self._behind.pop(item_id, None)) is not None:
            self._behind_by[partition] -= 1
        newest = self._newest.get(number)
        if newest is not None and self._held[self.encoder].get(number) != newest:
            self._behind[item_id] = newest.partition
            self._behind_by[newest.partition] += 1
        if newest is None and all(items.get(number) is None for items in self._held.values()):
            self._names.drop(item_id)
