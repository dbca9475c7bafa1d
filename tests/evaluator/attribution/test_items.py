"""Items as the evaluator knows them, from records of the embeddings topic."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evaluator.attribution.items import Items
from models.encoded import EncodedItem
from models.trigrams import trigrams
from streams.catalog.embedding import Embedding, Origin, encoder, key, parse
from streams.events.schema import Item
from streams.kafka.guard import Guard


def put(item_id: str, version: str, axis: int, brand: str = "Acme", width: int = 4) -> Any:
    pooled = np.eye(width, dtype=np.float32)[axis]
    made = EncodedItem.quantise(np.eye(1, 4, dtype=np.float32), pooled, [7], trigrams("tap"))
    item = Item(item_id=item_id, title=f"Tap {item_id}", brand=brand)
    value = encoder.encode(Embedding(item, version, "hash", made.to_bytes()))
    return SimpleNamespace(key=key(item_id, version), value=value, headers=())


def deleted(item_id: str, version: str, *headers: Any) -> Any:
    return SimpleNamespace(key=key(item_id, version), value=None, headers=headers)


def read(*messages: Any) -> Items:
    items, guard = Items(), Guard("embeddings", parse)
    for message in messages:
        guard.hand(message, items.update)
    return items


def test_the_last_record_of_an_item_counts() -> None:
    items = read(put("1", "a", 0), put("2", "a", 1), put("1", "a", 2, "Globex"))
    assert len(items) == 2 and items.brand("1") == "Globex" and items.title("2") == "Tap 2"
    vector = items.vector("1")
    assert vector is not None and vector.tolist() == [0, 0, 1, 0]
    assert items.vector("3") is None and items.brand("3") == "" and items.title("3") == ""


def test_vectors_of_two_encoders_are_never_mixed() -> None:
    items = read(put("1", "a", 0), put("2", "a", 1), put("3", "a", 2), put("1", "b", 2))
    assert items.encoder == "a" and items.vector("2") is not None, "one record of another encoder changes nothing"
    assert items.vector("1") is None and items.brand("1") == "Acme"
    items.update(parse(put("2", "b", 1), 0))
    assert items.encoder == "b" and items.vector("1") is not None
    assert items.vector("3") is None and items.brand("3") == "Acme" and "3" in items and "4" not in items
    for item_id in ("1", "2", "3"):
        items.update(parse(deleted(item_id, "b", Origin(0, 9).header()), 0))
    items.update(parse(put("4", "c", 2), 0))
    assert items.encoder == "c" and items.vector("4") is not None


@pytest.mark.parametrize(("headers", "left"), [((Origin(0, 9).header(),), 0), ((), 1)])
def test_only_a_delete_of_the_item_itself_removes_it(headers: tuple[Any, ...], left: int) -> None:
    items = read(put("1", "a", 0), deleted("1", "a", *headers))
    assert len(items) == left


def test_a_vector_of_another_width_than_its_encoders_is_none() -> None:
    items = read(put("0", "a", 0, width=7), *(put(str(number), "a", 0) for number in range(1, 4)))
    assert items.vector("0") is None and items.vector("1") is not None and items.brand("0") == "Acme"
    items.update(parse(put("0", "a", 1), 0))
    assert items.vector("0") is not None


def test_what_cannot_be_read_is_passed_over() -> None:
    broken = SimpleNamespace(key=key("1", "a"), value=b"\xc1", headers=())
    cut = put("2", "a", 0)
    cut.value = encoder.encode(Embedding(Item(item_id="2", title="t"), "a", "h", b"LE"))
    items = read(broken, cut, put("3", "a", 0))
    assert len(items) == 1
