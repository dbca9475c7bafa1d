"""The reasons of a real worker's shelves equal what the offline evaluation explains, of the same model and items."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluator.offline.contenders.bert import ServedModel
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.explanations.ablation import Ablation
from evaluator.offline.explanations.choice import explainer_of
from evaluator.offline.explanations.explanation import Explanation, Side, target
from models.store.parts import Parts
from streams.catalog.embedding import text
from streams.config import KafkaConfig, TopicsConfig
from streams.events.schema import Item, encoder
from streams.events.shelf import Shelf
from streams.ranking import reasons
from streams.redis import keys
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

THINGS = ("hdmi cable", "usb hub", "garden hose", "hose reel", "wireless mouse", "mouse pad", "desk lamp", "水 大 lamp")
LOOKS = ("red", "blue", "2 m", "small")
ITEMS = {
    f"i{number}": Item(item_id=f"i{number}", title=f"{look} {thing}", brand="Acme")
    for number, (thing, look) in enumerate((thing, look) for thing in THINGS for look in LOOKS)
}
DOCUMENTS = {item_id: Document(text(item)) for item_id, item in ITEMS.items()}


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.put_items({item_id: encoder.encode(item) for item_id, item in ITEMS.items()})
        shop.start()
        shop.ready(len(ITEMS))
        yield shop


def explained(case: Case, items: list[str], side: Side) -> dict[str, Explanation]:
    """What ``liveshelf evaluate late_interaction`` explains."""
    data = EvaluationData("shop", "feed" if side == "history" else "graded", [case], [], DOCUMENTS)
    contender = ServedModel(Parts())
    contender.fit(data)
    method = explainer_of(contender, data, Ablation(contender, data))
    return {one.target.item: one.sides[side] for one in method.explain([target(case, item) for item in items])}


def case(query: str = "", history: tuple[str, ...] = ()) -> Case:
    return Case("c", tuple(ITEMS), np.zeros(len(ITEMS)), query, history)


def waited(shop: Shop, key: str) -> Shelf:
    return until(lambda: shop.shelf(key), every_s=0.05)


def test_reasons_equal_the_explanations_of_the_evaluation(shop: Shop) -> None:
    now = int(time.time() * 1000)
    queries = ("red garden hose", "cable for a mouse", "水大 zqxjv", "zqxjv")
    events = [
        {"type": "search", "event_id": f"s{number}", "ts": now, "session_id": f"v{number}", "query": query}
        for number, query in enumerate(queries)
    ]
    touched = ("i5", "i17", "i2")  # at one time and alike, so that all weigh the same, as they do in the evaluation
    events += [
        {"type": "click", "event_id": f"c{number}", "ts": now, "user_id": "u", "item_id": item}
        for number, item in enumerate(touched)
    ]
    shop.produce(shop.topics.events, [(str(one.get("user_id")), json.dumps(one).encode()) for one in events])

    named = 0
    for query in queries:
        shelf = waited(shop, keys.search(query))
        found = explained(case(query), [one.item_id for one in shelf.items], "query")
        for one in shelf.items:
            kind, parts = reasons.read(one.reason)
            of = found[one.item_id]
            if kind == "explore":
                continue
            words = [of.parts[place] for place in of.named or ()]
            assert sorted("".join(parts)) == sorted("".join(words)), "touching Chinese characters are one part"
            assert (kind == "matches") == bool(of.named)
            named += len(parts)
    assert named > 20

    feed = until(lambda: (made := shop.shelf(keys.feed("u"))) is not None and len(history(shop, made)) == 3 and made)
    past = tuple(history(shop, feed))
    found = explained(case(history=past), [one.item_id for one in feed.items], "history")
    kinds = set()
    for one in feed.items:
        kind, parts = reasons.read(one.reason)
        kinds.add(kind)
        if kind in ("like", "again"):
            assert [past[place] for place in found[one.item_id].named or ()] == list(parts or [one.item_id])
        else:
            assert kind in ("explore", "trending", "together", "popular") or not found[one.item_id].named
    assert {"like", "again"} <= kinds


def history(shop: Shop, shelf: Shelf) -> list[str]:
    """The past items that a shelf was ranked by, from its record on Kafka, where each item has its sources."""
    [record, *_] = [one for one in shop.published() if one.shelf.shelf_id == shelf.shelf_id]
    assert len(record.sources) == len(record.shelf.items) and all(record.sources)
    return record.history
