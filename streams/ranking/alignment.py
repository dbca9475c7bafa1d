"""Which slot of a catalogue and which place of the statistics are of the same item.

Both numbers are looked up once, then kept as arrays until the catalogue changes there. Knows a catalogue and the
statistics' ids; nothing of what either says of an item.
"""

import numpy as np
from numpy.typing import NDArray

from streams.catalog.catalog import Catalog
from streams.features.items import ItemStatistics, log_price

Numbers = NDArray[np.int64]


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

    def places(self, slots: Numbers) -> Numbers:
        """The places of the items in some slots, int64 [n]; an item that had none gets one.

        Raises
        ------
        KeyError
            When a slot is empty.
        """
        since = self.catalogue.since
        self._place, self._place_as_of = _grown(self._place, len(since)), _grown(self._place_as_of, len(since))
        old = slots[self._place_as_of[slots] != since[slots]]
        if len(old):
            self._place[old] = self.items.places(self.catalogue.ids(old))
            self._place_as_of[old] = since[old]
        return self._place[slots]

    def slots(self, places: Numbers) -> Numbers:
        """The slots of the items at some places, int64 [n]; -1 where the catalogue has none."""
        count = len(self.items)
        self._slot, self._slot_as_of = _grown(self._slot, count), _grown(self._slot_as_of, count)
        old = places[self._slot_as_of[places] != self._as_of(self._slot[places])]
        if len(old):
            found = [self.catalogue.slot(self.items.ids[place]) for place in old.tolist()]
            self._slot[old] = slots = np.array([-1 if slot is None else slot for slot in found], np.int64)
            self._slot_as_of[old] = self._as_of(slots)
        return self._slot[places]

    def held(self, places: Numbers) -> Numbers:
        """The slots of those of some places that the catalogue has."""
        slots = self.slots(places)
        return slots[slots >= 0]

    def price(self, places: Numbers, slots: Numbers) -> None:
        """Note the prices of items that the catalogue has, given with their slots (-1: none)."""
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
