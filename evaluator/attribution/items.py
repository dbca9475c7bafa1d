"""The items on sale: title, brand, and the encoder's vector.

Takes the records of ``liveshelf.embeddings``. Holds about a kilobyte an item. Knows nothing of Kafka, of indexes or of
how items are encoded.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.encoded import EncodedItem
from streams.catalog.embedding import Entry


@dataclass(frozen=True, slots=True)
class KnownItem:
    """What is kept of one item."""

    title: str
    brand: str
    encoder: str
    pooled: npt.NDArray[np.float16]


class Items:
    """Items by id.

    While two encoders' records are on the topic, an item's last record counts. Vectors of two encoders cannot be
    compared, so only items of the encoder with the most items have a vector. A vector that is not as wide as most of
    that encoder's was written by mistake; its item has none.
    """

    def __init__(self) -> None:
        self.encoder = ""
        self._known: dict[str, KnownItem] = {}
        self._widths: dict[str, Counter[int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._known

    def brand(self, item_id: str) -> str:
        """An item's brand; empty where there is none."""
        known = self._known.get(item_id)
        return known.brand if known is not None else ""

    def title(self, item_id: str) -> str:
        """An item's title; empty where it is not known."""
        known = self._known.get(item_id)
        return known.title if known is not None else ""

    def vector(self, item_id: str) -> npt.NDArray[np.float32] | None:
        """An item's unit-norm vector [D]; None where it is not known."""
        known = self._known.get(item_id)
        if known is None or known.encoder != self.encoder:
            return None
        usual = max(self._widths[self.encoder].items(), key=lambda pair: pair[1])[0]
        return known.pooled.astype(np.float32) if len(known.pooled) == usual else None

    def update(self, entry: Entry) -> None:
        """Take a record of the topic in.

        Raises
        ------
        models.encoded.EncodedError
            When its vectors cannot be read; then nothing changes.
        """
        (item_id, version, origin), embedding = entry
        if embedding is None:
            # Without an origin only this encoder's record of the item was removed; the item is still on sale.
            if origin is not None:
                self._forget(item_id)
            return
        pooled = EncodedItem.from_bytes(embedding.vectors).pooled.copy()
        self._forget(item_id)
        self._known[item_id] = KnownItem(embedding.item.title, embedding.item.brand, version, pooled)
        self._widths.setdefault(version, Counter())[len(pooled)] += 1
        if self._count(version) > self._count(self.encoder):
            self.encoder = version

    def _count(self, encoder: str) -> int:
        return self._widths[encoder].total() if encoder in self._widths else 0

    def _forget(self, item_id: str) -> None:
        known = self._known.pop(item_id, None)
        if known is not None:
            widths = self._widths[known.encoder]
            widths[len(known.pooled)] -= 1
            if not +widths:
                del self._widths[known.encoder]
