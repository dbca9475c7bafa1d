"""The experiment on a challenger as the evaluator runs it: begun by an announcement, over a kill, to its end."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.store.slots import CHALLENGER, Promotion, Slot
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, encoder
from streams.ranking.assignment import assign
from streams.serving.announcement import announce_now
from streams.telemetry.meter import Snapshot
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

SHARE, VERSION = 0.3, "20261125-090000-head-5e6f7081"
VIEWS, SHOPPERS = 3_000, 200
BEGUN = datetime.now(UTC) - timedelta(hours=2)
START = int(BEGUN.timestamp() * 1_000)
PAUSE_MS = 100_000
"""Between the two halves; in it the first one's windows close."""
EARLY = 5
"""Of the views, so many are of shelves from before the challenger had its share."""


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": "60",
        "LIVESHELF_EVALUATOR__GRACE_S": "10",
        "LIVESHELF_EVALUATOR__IDLE_S": "3600",
        "LIVESHELF_EVALUATOR__EXPERIMENT_BLOCK_S": "5",
    }
    with shop.open() as shop:
        yield shop


def arm(shopper: str) -> str:
    return "canary" if assign(shopper, VERSION) < SHARE else "champion"


def view(number: int) -> tuple[str, bytes, list[bytes]]:
    """A shopper, a shelf of their arm, and what they did: canary shelves are clicked more than twice as often."""
    shopper, ts = f"u{number % SHOPPERS}", START + 1_000 * number + PAUSE_MS * (number // (VIEWS // 2))
    made = Shelf(
        shelf_id=f"s{number}",
        surface="feed",
        model="m",
        arm=arm(shopper),
        made_at=ts,
        event_ts=ts,
        items=[ShelfItem("i1", 1.0, 0.1, 0.1, 0.1, "vector")],
    )
    record = ShelfRecord(key=f"shelf:feed:{shopper}", shopper=shopper, query=None, shelf=made, propensities=[1.0])
    about = {"user_id": shopper, "shelf_id": made.shelf_id}
    events = [
        {"type": "impression", "event_id": f"v{number}", "ts": ts + 1, "surface": "feed", **about}
        | {"items": [{"item_id": "i1", "position": 0}]}
    ]
    if assign(f"{number}", "clicks") < (0.5 if arm(shopper) == "canary" else 0.2):
        events.append({"type": "click", "event_id": f"c{number}", "ts": ts + 2, "item_id": "i1", **about})
    return shopper, encoder.encode(record), [json.dumps(one).encode() for one in events]


def send(shop: Shop, numbers: range) -> None:
    views = [view(number) for number in numbers]
    shop.produce(shop.topics.shelves, [(shopper, record) for shopper, record, _ in views])
    shop.produce(shop.topics.events, [(shopper, event) for shopper, _, events in views for event in events])
    later = START + 1_000 * numbers.stop + PAUSE_MS * (numbers.stop // (VIEWS // 2)) - 1_000
    about = {"type": "search", "ts": later, "query": "lamp"}
    names = [f"u{number}" for number in range(SHOPPERS)]
    asked = [(name, json.dumps({**about, "event_id": f"{name}.{later}", "user_id": name}).encode()) for name in names]
    shop.produce(shop.topics.events, asked)


def last(shop: Shop) -> dict[str, float]:
    """What the evaluator says of the experiment now."""
    snapshots: list[Snapshot] = reporting.snapshots(shop.config, wall_ms() - 60_000, "evaluator")
    found = {}
    for one in max(snapshots, key=lambda one: one.to_ms).series if snapshots else []:
        if one.name.startswith("experiment_"):
            assert one.labels["challenger"] == VERSION
            name = one.name.removeprefix("experiment_")
            found[" ".join(filter(None, (name, one.labels["arm"], one.labels.get("test"))))] = one.value
    return found


LOST = 0.1
"""Share of the views that a killed evaluator may have counted since it last saved."""


def seen(shop: Shop, numbers: range, lost: float = 0.0) -> dict[str, float]:
    """Wait until views up to the last of these are counted, each once, but for a share that may be lost."""
    counting = [f"u{number % SHOPPERS}" for number in numbers if number >= EARLY]
    wanted = {f"impressions {name}": sum(arm(one) == name for one in counting) for name in ("champion", "canary")}

    def counted() -> dict[str, float] | None:
        found = last(shop)
        enough = all((1 - lost) * number <= found.get(name, 0) <= number for name, number in wanted.items())
        return found if enough else None

    return until(counted, why=lambda: f"{wanted} were wanted, {last(shop)} came")


def test_a_challenger_is_compared_until_it_is_gone_though_the_evaluator_is_killed(shop: Shop) -> None:
    tried = Promotion(VERSION, BEGUN + timedelta(seconds=3), "passed the gate", SHARE)
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, Slot(Promotion("m0", BEGUN, "before", 0.5)))
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, Slot(tried))
    shop.start("evaluator-1", "evaluator")
    until(lambda: last(shop), why=shop.log("evaluator-1").read_text)
    send(shop, range(VIEWS // 2))
    half = seen(shop, range(VIEWS // 2))
    assert half["log10_evalue canary traffic"] < 1.3
    shop.kill("evaluator-1")
    shop.start("evaluator-1", "evaluator")
    send(shop, range(VIEWS // 2, VIEWS))
    whole = seen(shop, range(VIEWS), LOST)
    assert whole["log10_evalue canary clicks"] > half["log10_evalue canary clicks"] and whole["ratio_low canary"] > 1
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, Slot(None, (tried,), "promoted"))
    until(lambda: last(shop) == {})
