"""The catalogue: what each kind of change leaves behind, in facts and in both indexes."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from models.encoder import Encoder
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Origin, text, text_hash
from streams.events.schema import Item

Upsert = Callable[..., Change]
TENT = Item(item_id="tent", title="Tent for two", brand="Dune", description="x" * 5_000, attributes={"a": 1.0})


def lexical(catalogue: Catalog, words: str) -> list[str]:
    catalogue.commit()
    slots = catalogue.lexical.search(catalogue.encoder.word_pieces([words])[0], 10)
    return [catalogue.item(slot).item_id for slot in slots.tolist()]


def nearest(catalogue: Catalog, words: str) -> str:
    [query] = catalogue.encoder.encode_queries([words])
    [slots] = catalogue.vectors.search(query.pooled[None, :], 1)
    return catalogue.item(int(slots[0])).item_id


def test_an_item_is_found_by_words_and_by_meaning(catalogue: Catalog) -> None:
    assert len(catalogue) == 6 and "hdmi" in catalogue and "none" not in catalogue
    assert lexical(catalogue, "toner") == ["toner"]
    assert nearest(catalogue, "portable computer") == "laptop"


def test_a_delete_takes_all_traces_away_and_its_slot_is_used_again(catalogue: Catalog, upsert: Upsert) -> None:
    slot = catalogue.slot("toner")
    assert slot is not None
    assert catalogue.apply([Change("toner", None, None), Change("never there", None, None)]) == 2
    assert catalogue.slot("toner") is None and not catalogue.live[slot] and not catalogue.in_stock[slot]
    assert lexical(catalogue, "toner cartridge") == []
    with pytest.raises(KeyError):
        catalogue.item(slot)
    catalogue.apply([upsert(TENT)])
    assert catalogue.slot("tent") == slot and nearest(catalogue, "camping") == "tent"


def test_an_update_replaces_words_vectors_and_facts(catalogue: Catalog, upsert: Upsert) -> None:
    slot = catalogue.slot("toner")
    catalogue.apply([upsert(Item(item_id="toner", title="Garden chair", brand="Acme", in_stock=False))])
    assert catalogue.slot("toner") == slot and len(catalogue) == 6
    assert lexical(catalogue, "toner") == [] and lexical(catalogue, "garden") == ["toner"]
    assert nearest(catalogue, "seat for outdoors") == "toner"
    assert not catalogue.in_stock[slot] and catalogue.live[slot]
    assert catalogue.brand[slot] == catalogue.brand[catalogue.slot("hdmi")]


def test_an_earlier_state_never_replaces_a_later_one(catalogue: Catalog, upsert: Upsert) -> None:
    later = upsert(TENT, Origin(1, 8))
    earlier = upsert(msgspec.structs.replace(TENT, title="Old"), Origin(1, 7))
    assert catalogue.apply([later, earlier]) == 1
    assert catalogue.apply([earlier]) == 0
    assert catalogue.apply([Change("tent", None, Origin(1, 7))]) == 0
    assert catalogue.title(catalogue.slot("tent") or 0) == "Tent for two"
    assert catalogue.apply([upsert(TENT, Origin(0, 1))]) == 1, "another partition cannot be compared"


def test_what_another_encoder_made_is_counted_not_taken(catalogue: Catalog, upsert: Upsert) -> None:
    catalogue.apply([upsert(TENT, version="other")])
    broken = upsert(TENT)
    assert broken.embedding is not None
    cut = msgspec.structs.replace(broken.embedding, vectors=broken.embedding.vectors[:-1])
    catalogue.apply([Change("tent", cut, None)])
    assert catalogue.foreign == 2 and "tent" not in catalogue and len(catalogue) == 6


def test_only_the_very_same_text_is_encoded_already(catalogue: Catalog, upsert: Upsert) -> None:
    catalogue.apply([upsert(TENT)])
    assert catalogue.encoded("tent", text_hash(text(TENT))) is not None
    assert catalogue.encoded("tent", text_hash(text(TENT) + "!")) is None
    assert catalogue.encoded("unknown", text_hash(text(TENT))) is None
    catalogue.apply([Change("tent", None, None)])
    assert catalogue.encoded("tent", text_hash(text(TENT))) is None


def test_long_texts_are_not_kept_and_newest_come_first(catalogue: Catalog, upsert: Upsert) -> None:
    catalogue.apply([upsert(TENT)])
    kept = catalogue.item(catalogue.slot("tent") or 0)
    assert kept.description == "" and kept.attributes == {}
    assert catalogue.newest(2).tolist() == catalogue.slots(["tent", "toner"]).tolist()
    assert catalogue.slots(["pad", "none", "usb"]).dtype == np.int64


def test_it_grows_beyond_its_first_size(encoder: Encoder, upsert: Upsert) -> None:
    catalogue = Catalog(encoder)
    one = upsert(TENT)
    assert one.embedding is not None
    many = [
        Change(f"i{n}", msgspec.structs.replace(one.embedding, item=Item(item_id=f"i{n}", title="t")), None)
        for n in range(1_500)
    ]
    catalogue.apply(many)
    assert len(catalogue) == 1_500 and int(catalogue.live.sum()) == 1_500
