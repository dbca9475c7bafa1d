"""The items that examples are of, as workers encoded them: read once from ``liveshelf.embeddings``.

Holds only what is asked for, so memory is bounded by the examples, not by the catalogue.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

from msgspec import MsgspecError

from streams import embedding
from streams.config import StreamsConfig
from streams.contents import contents
from streams.topics import Topics


@dataclass(slots=True)
class Catalogue:
    """Texts by item, and by text the brand and what one encoder's version made of it.

    Parameters
    ----------
    wanted
        Ids of the items to be kept.
    encoder
        The version whose vectors are kept.
    """

    wanted: Set[str]
    encoder: str
    texts: dict[str, str] = field(default_factory=dict)
    brands: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict)

    def update(self, messages: Iterable[Any]) -> None:
        """Take records of the topic in, oldest first."""
        for message in messages:
            item_id, version = embedding.split(message.key)
            if item_id not in self.wanted:
                continue
            if message.value is None:
                if embedding.origin(message.headers) is not None:  # else only one encoder's record of it went
                    self.texts.pop(item_id, None)
                continue
            try:
                made = embedding.decoder.decode(message.value)
            except MsgspecError:
                continue  # the workers log it
            text = self.texts[item_id] = embedding.text(made.item)
            if made.item.brand:
                self.brands[text] = made.item.brand
            if version == self.encoder and made.text == embedding.text_hash(text):
                self.encoded[text] = bytes(made.vectors)


def read(config: StreamsConfig, wanted: Set[str], encoder: str) -> Catalogue:
    """What the topic holds now of some items."""
    found = Catalogue(wanted, encoder)
    found.update(contents(config, Topics(config.topics.prefix).embeddings))
    return found
