"""One encoder for the whole session, as loading it is what takes time; and a catalogue that tests may change."""

from collections.abc import Callable, Mapping

import pytest

from models.encoder import Encoder
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Embedding, Origin, text
from streams.events.schema import Item

TITLES = {
    "hdmi": ("HDMI cable 2 m", "Acme", "Cables"),
    "usb": ("USB-C charging cable", "Acme", "Cables"),
    "mouse": ("Wireless mouse black", "Bolt", "Mice"),
    "pad": ("Mouse pad for gaming", "Bolt", "Mice"),
    "laptop": ("Notebook 14 inch, 16 GB memory", "Core", "Notebooks"),
    "toner": ("Toner cartridge for laser printers", "Core", "Printing"),
}


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The packaged model in float32, the reference."""
    return Encoder(precision="float32")


@pytest.fixture
def upsert(encoder: Encoder) -> Callable[..., Change]:
    """Makes the change that an item's record on the embeddings topic is."""

    def make(item: Item, origin: Origin | None = None, version: str = encoder.version) -> Change:
        [encoded] = encoder.encode_items([text(item)])
        return Change(item.item_id, Embedding.of(item, version, encoded), origin)

    return make


@pytest.fixture(scope="session")
def changes(encoder: Encoder) -> Mapping[str, Change]:
    """The six items that are in ``catalogue``."""
    items = [Item(item_id=key, title=t, brand=brand, category=kind) for key, (t, brand, kind) in TITLES.items()]
    return {
        item.item_id: Change(item.item_id, Embedding.of(item, encoder.version, encoded), None)
        for item, encoded in zip(items, encoder.encode_items([text(item) for item in items]), strict=True)
    }


@pytest.fixture
def catalogue(encoder: Encoder, changes: Mapping[str, Change]) -> Catalog:
    """Six items of four kinds."""
    catalogue = Catalog(encoder)
    catalogue.apply(list(changes.values()))
    catalogue.commit()
    return catalogue
