"""The items on sale as the evaluator knows them: title, brand, and the vector that the encoder made.

Takes the records of ``liveshelf.embeddings``. Holds about a kilobyte an item; knows nothing of who reads the topic, of
indexes or of how items are encoded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import MsgspecError

from models.encoded import EncodedError, EncodedItem
from streams import embedding


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of one item."""

    title: str
    brand: str
    encoder: str
    pooled: npt.NDArray[np.float16]


class Items:
    """Items by id.

    While two encoders' records are on the topic, an item's last one counts; only those of the encoder whose record came
    last have a vector, for vectors of two encoders cannot be compared.
    """

    def __init__(self) -> None:
        self.encoder = ""
        self._known: dict[str, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

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
        return known.pooled.astype(np.float32) if known is not None and known.encoder == self.encoder else None

    def update(self, message: Any) -> None:
        """Take a record of the topic in."""
        item_id, version = embedding.split(message.key)
        if message.value is None:
            # Without an origin only one encoder's record of the item went; the item did not.
            if embedding.origin(message.headers) is not None:
                self._known.pop(item_id, None)
            return
        try:
            made = embedding.decoder.decode(message.value)
            pooled = EncodedItem.from_bytes(made.vectors).pooled.copy()
        except (MsgspecError, EncodedError):
            return  # the workers log it
        self._known[item_id] = Known(made.item.title, made.item.brand, version, pooled)
        self.encoder = version
