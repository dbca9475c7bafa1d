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
        self._place, self._place_since = np.zeros((2, 0), np.int64)
        self._slot, self._slot_since = np.zeros((2, 0), np.int64)

    def places(self, slots: Numbers) -> Numbers:
        """The places of the items in some slots, int64 [n]; an item that had none gets one.

        Raises
        ------
        KeyError
            When a slot is empty.
        """
        since = self.catalogue.since
        if len(self._place) < len(since):
            self._place = np.pad(self._place, (0, len(since) - len(self._place)))
            self._place_since = np.pad(self._place_since, (0, len(since) - len(self._place_since)))
        old = slots[self._place_since[slots] != since[slots]]
        if len(old):
            self._place[old] = self.items.places(self.catalogue.ids(old))
            self._place_since[old] = since[old]
        return self._place[slots]

    def slots(self, places: Numbers) -> Numbers:
        """The slots of the items at some places, int64 [n]; -1 where the catalogue has none."""
        if len(self._slot) < len(self.items):
            more = max(len(self.items), 2 * len(self._slot)) - len(self._slot)
            self._slot, self._slot_since = np.pad(self._slot, (0, more)), np.pad(self._slot_since, (0, more), constant_values=-1)
        slots = self._slot[places]
        now = np.where(slots >= 0, self.catalogue.since[slots], self.catalogue.changes)
        old = places[self._slot_since[places] != now]
        if len(old):
            slot = self.catalogue.slot
            found = [slot(self.items.ids[place]) for place in old.tolist()]
            self._slot[old] = there = np.array([-1 if one is None else one for one in found], np.int64)
            self._slot_since[old] = np.where(there >= 0, self.catalogue.since[there], self.catalogue.changes)
            slots = self._slot[places]
        return slots

    def held(self, places: Numbers) -> Numbers:
        """The slots of those of some places that the catalogue has."""
        slots = self.slots(places)
        return slots[slots >= 0]

    def price(self, places: Numbers, slots: Numbers) -> None:
        """Note the prices of items that the catalogue has, given with their slots (-1: none)."""
        prices = self.catalogue.price[slots]
        priced = (slots >= 0) & ~np.isnan(prices)
        self.items.prices[places[priced]] = log_price(prices[priced])
