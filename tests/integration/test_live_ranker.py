"""A feed's ranker learns live, on real servers: from events to a ranker that serves.

Events make feeds, what shoppers touch of them makes examples with the features as served, the trainer makes a
challenger with a changed ranker, the gate passes it, and the worker serves it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from evaluator.attribution.example import LabelledExample
from evaluator.attribution.example import encoder as labelled
from evaluator.gate.report import decode
from liveshelf.cli.models import models_promote
from models.measures.names import FEEDS, NDCG
from models.ranker import ItemWeights, Linear, load, packaged
from models.store import ModelStore
from models.store.slots import CHALLENGER
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import ShelfRecord
from streams.features.behaviour import COLUMNS, FEATURES
from streams.ranking.ranked_rows import features
from streams.redis import keys
from tests import lessons
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

ITEMS, SHOPPERS, ROUNDS, VIEWS = 104, 120, 4, 600
CHEAP, DEAR = 5.0, 80.0


@pytest.fixture
def shop(
    kafka: KafkaConfig,
    redis_db: str,
    topics_config: TopicsConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LIVESHELF_STATE__TREND_REFRESH_S": "0.2",
        "LIVESHELF_MODEL__WATCH_S": "1",
        "LIVESHELF_EVALUATOR__WINDOW_S": "60",
        "LIVESHELF_EVALUATOR__GRACE_S": "200",
        "LIVESHELF_EVALUATOR__IDLE_S": "3600",
        "LIVESHELF_EXAMPLES__FOLDER": str(tmp_path / "examples"),
        "LIVESHELF_EXAMPLES__FLUSH_S": "1",
        "LIVESHELF_LEARNING__FOLDER": str(tmp_path / "learning"),
        "LIVESHELF_LEARNING__NICENESS": "0",
        "LIVESHELF_TRIGGERS__EVERY_S": "1",
        "LIVESHELF_TRIGGERS__LEAST_EXAMPLES": str(6 * VIEWS + 15 * SHOPPERS * ROUNDS),
        "LIVESHELF_GATE__LEAST_SHOPPERS": "50",
        "LIVESHELF_GATE__LEAST_QUERIES": "50",
        "LIVESHELF_GATE__LEAST_FEEDS": "40",
        "LIVESHELF_GATE__DRAWS": "200",
        # A machine that tests share tells nothing of times, and beside a model that knows nothing all changes.
        "LIVESHELF_GATE__LATENCY_P99": "100",
        "LIVESHELF_GATE__LATENCY_CALLS": "10",
        "LIVESHELF_GATE__LATENCY_MEDIAN": "100",
        "LIVESHELF_GATE__ROBUSTNESS_CONTEXTS": "50",
    }
    for name, value in shop.env.items():
        monkeypatch.setenv(name, value)
    with shop.open() as shop:
        yield shop


def liked(title: str) -> bool:
    return title.split()[1] in lessons.LIKED


def act(kind: str, event_id: str, ts: int, user: str, **fields: object) -> tuple[str, bytes]:
    return user, json.dumps({"type": kind, "event_id": event_id, "ts": ts, "user_id": user, **fields}).encode()


def visited(shop: Shop, number: int, start: int, chance: random.Random) -> list[ShelfRecord]:
    """All shoppers come once, by a click of any item, and see the feed that it makes; returns these feeds."""
    before = {one.shelf.shelf_id for one in shop.published()}
    visits = []
    for who in range(SHOPPERS):
        ts = start + (number * SHOPPERS + who) * 1_000
        visits.append(act("click", f"v{number}.{who}", ts, f"u{who}", item_id=f"i{chance.randrange(ITEMS)}"))
    shop.produce(shop.topics.events, visits)
    shop.drained()
    made = [one for one in shop.published() if one.shelf.surface == "feed" and one.shelf.shelf_id not in before]
    return list({one.shopper: one for one in made}.values())


def touched(shop: Shop, feeds: Sequence[ShelfRecord], titles: dict[str, str], chance: random.Random) -> None:
    """Pages show the feeds; what is of a liked colour, which is cheap, is clicked more often."""
    records = []
    for one in feeds:
        user, ts, shelf = one.shopper or "", one.shelf.event_ts + 200, one.shelf.shelf_id
        shown = [{"item_id": item.item_id, "position": place} for place, item in enumerate(one.shelf.items)]
        records.append(act("impression", f"p{shelf}", ts, user, shelf_id=shelf, surface="feed", items=shown))
        for item in one.shelf.items:
            if chance.random() < (0.3 if liked(titles[item.item_id]) else 0.02):
                records.append(
                    act("click", f"{shelf}{item.item_id}", ts + 200, user, shelf_id=shelf, item_id=item.item_id)
                )
    shop.produce(shop.topics.events, records)
    shop.drained()


def lived(shop: Shop, titles: dict[str, str], start: int) -> None:
    """A shop's first days: purchases, then rounds of visits, until all that feeds showed is an example."""
    chance = random.Random(5)
    day = start - 86_400_000
    bought = [
        act(
            "purchase",
            f"b{number}",
            day + number * 60_000,
            f"u{number % SHOPPERS}",
            item_id=f"i{chance.randrange(ITEMS)}",
        )
        for number in range(3 * SHOPPERS)
    ]
    shop.produce(shop.topics.events, bought)
    shop.drained()
    records: dict[str, ShelfRecord] = {}
    for number in range(ROUNDS):
        feeds = [one for one in visited(shop, number, start, chance) if one.ranked is not None]
        records |= {one.shelf.shelf_id: one for one in feeds}
        touched(shop, feeds, titles, chance)
    later = start + (ROUNDS * SHOPPERS + 500) * 1_000
    shop.produce(shop.topics.events, [act("search", f"l{n}", later, f"u{n}", query="lamp") for n in range(SHOPPERS)])
    shown = sum(len(one.shelf.items) for one in records.values())
    assert shown > 15 * SHOPPERS * ROUNDS
    until(lambda: len(shop.examples()) >= shown, lambda: f"{len(shop.examples())} of {shown}", every_s=1.0)
    found = shop.examples()
    as_served(found, records)


def as_served(found: Sequence[LabelledExample], records: dict[str, ShelfRecord]) -> None:
    """Every example has its row of the record, and all examples of a shelf have its others."""
    for one in found:
        made = records[one.shelf_id]
        assert one.ranked is not None and made.ranked is not None and one.ranked.columns == COLUMNS
        place = [item.item_id for item in made.shelf.items].index(one.item_id)
        assert one.ranked == made.ranked.of(place, len(made.shelf.items))
        rows = features(one.ranked)
        assert rows is not None and rows.shape == (1 + len(one.ranked.others), len(FEATURES))
    others = sum(len(one.ranked.others) for one in found if one.ranked)
    assert others == sum(len(one.ranked.others) for one in records.values() if one.ranked) > 5 * len(records)


def trained(shop: Shop, folder: Path) -> tuple[str, Path]:
    """The version that the trainer made and the gate passed, and its files."""
    shop.start("trainer-1", "trainer")

    def passed() -> bool:
        last = next(reversed(reporting.snapshots(shop.config, wall_ms() - 5_000, "trainer")), None)
        assert last is None or last.labels["verdict"] in ("", "passed"), last.labels["verdict_sentence"]
        return ModelStore(str(folder / "models")).slots.read(CHALLENGER).current is not None

    until(passed, lambda: shop.log("trainer-1").read_text()[-3000:], every_s=0.5)
    shop.stop("trainer-1")
    store = ModelStore(str(folder / "models"))
    slot = store.slots.read(CHALLENGER).current
    assert slot is not None
    return slot.version, store.fetch(slot.version)


def test_what_shoppers_touch_of_their_feeds_changes_the_ranker_that_serves_them(shop: Shop, tmp_path: Path) -> None:
    items = lessons.items(ITEMS)
    titles = {one.item_id: one.title for one in items}
    priced = {one.item_id: {"item_id": one.item_id, "title": one.title} for one in items}
    shop.put_items(
        {
            name: json.dumps(one | {"price": CHEAP if liked(titles[name]) else DEAR}).encode()
            for name, one in priced.items()
        }
    )
    shop.start("worker-1")
    shop.start("evaluator-1", "evaluator")
    shop.ready(ITEMS)
    start = wall_ms() - 3_600_000
    lived(shop, titles, start)
    searches = [(one.id, labelled.encode(one)) for one in lessons.views(items, VIEWS, start)]
    shop.produce(shop.topics.examples, searches)
    version, folder = trained(shop, tmp_path)
    ranker, before = load(folder / "ranker", FEATURES), packaged(FEATURES)
    assert isinstance(ranker, Linear) and "price" not in before.features
    assert ranker.weights[ranker.features.index("price")] < -0.1, "what is cheap was touched"
    store = ModelStore(str(tmp_path / "models"))
    manifest = store.manifest(version)
    model = ItemWeights.load(folder / "ranker")
    assert model is not None and len(model.ids) > ITEMS / 2 and manifest.metrics["item_model_at"] > 1.7e9
    assert "The ranker of feeds (linear) learned from" in manifest.notes
    assert manifest.metrics["ranker_loss"] < manifest.metrics["ranker_loss_before"]
    verdict = decode((folder / "gate.json").read_bytes())
    [feeds] = [one for one in verdict.figures if (one.measure, one.segment) == (NDCG, FEEDS)]
    assert feeds.difference is not None and feeds.difference > 0
    rounds, old = count(ROUNDS), shop.published()
    models = {one.shelf.model for one in old}
    models_promote(version, reason="it passed")

    def served() -> list[ShelfRecord]:
        made = visited(shop, next(rounds), start + 600_000, random.Random(7))
        return [one for one in made if one.shelf.model not in models and one.ranked is not None]

    found = until(served, lambda: shop.log("worker-1").read_text()[-3000:], every_s=1.0)
    assert share(found, titles) > share(old, titles) + 0.2
    assert shop.redis.get(keys.feed(found[-1].shopper or ""))
    shop.stop("evaluator-1")
    shop.stop("worker-1")


def share(feeds: Sequence[ShelfRecord], titles: dict[str, str]) -> float:
    """Of the first five items of feeds, how many are liked."""
    of = [one for one in feeds if one.shelf.surface == "feed" and one.ranked is not None]
    return float(np.mean([liked(titles[item.item_id]) for one in of for item in one.shelf.items[:5]]))
