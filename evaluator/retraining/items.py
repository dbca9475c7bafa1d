"""The items of the examples, as workers encoded them: read once from ``liveshelf.embeddings``.

Holds only the wanted items, so memory is bounded by the examples, not by the catalogue; but of each variant its group.
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
    """Texts by item; brands, and vectors of one encoder's version, by text; and of all items the groups of variants.

    Parameters
    ----------
    wanted
        Ids of the items to be kept.
    encoder
        The version whose vectors are kept.
    dim, token_dim
        Widths of that version's vectors; vectors of other widths are errors and not kept.
    """

    wanted: Set[str]
    encoder: str
    dim: int
    token_dim: int
    texts: dict[str, str] = field(default_factory=dict)
    brands: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def update(self, entry: embedding.Entry) -> None:
        """Take a record of the topic in; records of one item come oldest first."""
        (item_id, version, origin), embedded = entry
        if embedded is not None and embedded.item.group_id:
            self.groups[item_id] = embedded.item.group_id
        elif embedded is not None or origin is not None:
            self.groups.pop(item_id, None)
        if item_id not in self.wanted:
            return
        if embedded is None:
            if origin is not None:  # else only one encoder's record was removed
                self.texts.pop(item_id, None)
            return
        text = self.texts[item_id] = embedding.text(embedded.item)
        if embedded.item.brand:
            self.brands[text] = embedded.item.brand
        if version == self.encoder and embedded.text == embedding.text_hash(text) and self._fits(embedded):
            self.encoded[text] = bytes(embedded.vectors)

    def _fits(self, embedded: embedding.Embedding) -> bool:
        try:
            embedding.vectors(embedded, self.dim, self.token_dim)
        except EncodedError:
            return False  # the workers log it
        return True


def read(config: StreamsConfig, wanted: Set[str], encoder: Encoder) -> ItemTexts:
    """The wanted items, as the topic holds them now."""
    found = ItemTexts(wanted, encoder.version, encoder.dim, encoder.token_dim)
    with closing(contents(config, Topics(config.topics.prefix).embeddings)) as messages:
        for _, entry in Guard("embeddings", embedding.parse).values(messages):
            found.update(entry)
    return found
