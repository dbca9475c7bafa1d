"""Which slot of a catalogue and which place of the statistics are of the same item.

Both numbers are looked up once, then kept as arrays until the catalogue changes there. A place of several variants has
the slot of the one to show, which is chosen each time: stock and demand change. Knows a catalogue and the statistics'
ids; nothing else of what either says of an item.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from streams.catalog.catalog import Catalog
from streams.features.items import ItemStatistics, log_price
from streams.ranking.candidates import distinct

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]
NOBODYS: Mapping[int, str] = MappingProxyType({})


class Alignment:
    """The slots and places of a catalogue's items.

    Parameters
    ----------
    catalogue, items
        Both may change between calls.
    """

    def __init__(self, catalogue: Catalog, items: ItemStatistics) -> None:
        self.catalogue, self.items = catalogue, items
        # Each with the catalogue's count of changes as of when it was looked up.
        self._place, self._place_as_of = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._slot, self._slot_as_of = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._moves = 0
        self._fronts: dict[int, int] = {}

    @property
    def grouped(self) -> bool:
        """Whether any items are variants of one product."""
        return self.items.grouped

    def places(self, slots: Numbers) -> Numbers:
        """The places of the items in some slots, int64 [n]; an item that had none gets one.

        Raises
        ------
        KeyError
            When a slot is empty.
        """
        since = self.catalogue.since
        if self._moves != self.items.moves:
            self._place_as_of[:], self._moves = -1, self.items.moves
        self._place, self._place_as_of = _grown(self._place, len(since)), _grown(self._place_as_of, len(since))
        old = slots[self._place_as_of[slots] != since[slots]]
        if len(old):
            self._place[old] = self.items.places(self.catalogue.ids(old))
            self._place_as_of[old] = since[old]
        return self._place[slots]

    def slots(self, places: Numbers) -> Numbers:
        """The slots of the items at some places, int64 [n]; -1 where the catalogue has none. Of variants it is the
        :meth:`front`."""
        count = len(self.items)
        self._slot, self._slot_as_of = _grown(self._slot, count), _grown(self._slot_as_of, count)
        old = places[self._slot_as_of[places] != self._as_of(self._slot[places])]
        if len(old):
            found = [self.catalogue.slot(self.items.ids[place]) for place in old.tolist()]
            self._slot[old] = slots = np.array([-1 if slot is None else slot for slot in found], np.int64)
            self._slot_as_of[old] = self._as_of(slots)
        slots = self._slot[places]
        if self.grouped:
            of_group = self.items.of_group[places]
            products, at = np.unique(places[of_group], return_inverse=True)
            slots[of_group] = np.array([self.front(place) for place in products.tolist()], np.int64)[at]
        return slots

    def front(self, place: int, mine: Mapping[int, str] = NOBODYS, among: Mask | None = None) -> int:
        """The slot of the variant to show of those at a place; -1 where there is none.

        It is the shopper's own one if it is in stock, else the one in most demand that is, else the first.

        Parameters
        ----------
        mine
            The shopper's own variant of each place: :attr:`streams.features.own.OwnItems.variants`.
        among
            The slots that may be shown, if not all, bool [slots].
        """
        if among is None and place not in mine:
            found = self._fronts.get(place)
            if found is None:
                found = self._fronts[place] = self._front(self.items.variants(place), None)
            return found
        own = mine.get(place)
        variants = self.items.variants(place)
        return self._front(variants if own is None else (own, *variants), among)

    def _front(self, variants: Sequence[str], among: Mask | None) -> int:
        best, stock = -1, self.catalogue.in_stock
        for name in variants:
            slot = self.catalogue.slot(name)
            if slot is None or (among is not None and not among[slot]):
                continue
            if stock[slot]:
                return slot
            best = slot if best < 0 else best
        return best

    def look_again(self) -> None:
        """Choose the variants to show anew, as stock and demand are now; called for each batch."""
        self._fronts.clear()

    def fronts(self, slots: Numbers, mine: Mapping[int, str] = NOBODYS, among: Mask | None = None) -> Numbers:
        """The slots of the variants to show in place of those in some slots, each once, int64 [m <= n]."""
        if not self.grouped or not len(slots):
            return slots
        places = self.places(slots)
        of_group = np.flatnonzero(self.items.of_group[places])
        if not len(of_group):
            return slots
        products, at = np.unique(places[of_group], return_inverse=True)
        fronts = np.array([self.front(place, mine, among) for place in products.tolist()], np.int64)[at]
        found = slots.copy()
        found[of_group[fronts >= 0]] = fronts[fronts >= 0]
        return distinct(found)

    def held(self, places: Numbers) -> Numbers:
        """The slots of those of some places that the catalogue has."""
        slots = self.slots(places)
        return slots[slots >= 0]

    def price(self, places: Numbers, slots: Numbers) -> None:
        """Note the prices of items that the catalogue has, given with their slots (-1: none); of variants that of the
        one to show to anybody."""
        if self.grouped:
            slots = np.where(self.items.of_group[places], self.slots(places), slots)
        prices = self.catalogue.price[slots]
        priced = (slots >= 0) & ~np.isnan(prices)
        self.items.prices[places[priced]] = log_price(prices[priced])

    def _as_of(self, slots: Numbers) -> Numbers:
        """The count of changes that what was looked up must be of: the slot's own, or all where an item has none."""
        found: Numbers = np.where(slots >= 0, self.catalogue.since[slots], self.catalogue.changes)
        return found


def _grown(numbers: Numbers, count: int) -> Numbers:
    """An array that has room for so many; what is new is of no change."""
    if len(numbers) >= count:
        return numbers
    return np.pad(numbers, (0, max(count, 2 * len(numbers)) - len(numbers)), constant_values=-1)
