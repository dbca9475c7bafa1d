"""The items that examples are of, as workers encoded them: read once from ``liveshelf.embeddings``.

Holds only what is asked for, so memory is bounded by the examples, not by the catalogue.
"""

from collections.abc import Set
from contextlib import closing
from dataclasses import dataclass, field

from models.encoded import EncodedError
from models.encoder import Encoder
from streams.catalog import embedding
from streams.config import StreamsConfig
from streams.kafka.guard import Guard
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics


@dataclass(slots=True)
class ItemTexts:
    """Texts by item, and by text the brand and what one encoder's version made of it.

    Parameters
    ----------
    wanted
        Ids of the items to be kept.
    encoder
        The version whose vectors are kept.
    dim, token_dim
        Widths of that version's vectors; those of others are a mistake and not kept.
    """

    wanted: Set[str]
    encoder: str
    dim: int
    token_dim: int
    texts: dict[str, str] = field(default_factory=dict)
    brands: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict)

    def update(self, entry: embedding.Entry) -> None:
        """Take a record of the topic in; of each item the oldest one first."""
        (item_id, version, origin), made = entry
        if item_id not in self.wanted:
            return
        if made is None:
            if origin is not None:  # else only one encoder's record of it went
                self.texts.pop(item_id, None)
            return
        text = self.texts[item_id] = embedding.text(made.item)
        if made.item.brand:
            self.brands[text] = made.item.brand
        if version == self.encoder and made.text == embedding.text_hash(text) and self._fits(made):
            self.encoded[text] = bytes(made.vectors)

    def _fits(self, made: embedding.Embedding) -> bool:
        try:
            embedding.vectors(made, self.dim, self.token_dim)
        except EncodedError:
            return False  # the workers log it
        return True


def read(config: StreamsConfig, wanted: Set[str], encoder: Encoder) -> ItemTexts:
    """What the topic holds now of some items."""
    found = ItemTexts(wanted, encoder.version, encoder.dim, encoder.token_dim)
    with closing(contents(config, Topics(config.topics.prefix).embeddings)) as messages:
        for _, entry in Guard("embeddings", embedding.parse).values(messages):
            found.update(entry)
    return found
