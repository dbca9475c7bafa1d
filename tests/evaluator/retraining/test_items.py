"""Of the topic of embeddings a run keeps texts of some items, and of all variants their group as it is now."""

from evaluator.retraining.items import ItemTexts
from streams.catalog.embedding import Embedding, Entry, Origin, Place
from streams.events.schema import Item


def entry(item: str, group: str | None, at: int) -> Entry:
    told = Item(item_id=item, title=item, group_id=group)
    return Entry(Place(item, "v", Origin(0, at)), Embedding(told, "v", "", b""))


def test_groups_are_those_of_the_newest_records_of_all_items() -> None:
    texts = ItemTexts({"wanted"}, "v", 4, 4)
    for number, (item, group) in enumerate([("S", "cup"), ("M", "cup"), ("L", "cup"), ("wanted", None), ("M", None)]):
        texts.update(entry(item, group, number))
    texts.update(Entry(Place("L", "v", None), None))  # one encoder's record alone was removed
    assert texts.groups == {"S": "cup", "L": "cup"} and texts.texts.keys() == {"wanted"}
    texts.update(Entry(Place("L", "v", Origin(0, 9)), None))
    assert texts.groups == {"S": "cup"}
