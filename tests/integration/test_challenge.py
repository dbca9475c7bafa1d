"""The experiment on a challenger as the evaluator runs it: begun by an announcement, over a kill, to its end."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from evaluator.experiments.canary import STATE
from evaluator.rollout.evidence import EvidenceReader
from models.store.slots import CHALLENGER, Promotion, Slot
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord, encoder
from streams.ranking.assignment import assign
from streams.serving.announcement import announce_now
from streams.telemetry.meter import Snapshot
from tests.forked import Forked
from tests.integration.test_evaluator import shelves_read
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

SHARE, VERSION = 0.3, "20261125-090000-head-5e6f7081"
VIEWS, SHOPPERS = 3_000, 200
BEGUN = datetime.now(UTC) - timedelta(hours=2)
START = int(BEGUN.timestamp() * 1_000)
STRETCH = VIEWS // 6
PAUSE_MS = 100_000
"""After each stretch of the views; in it their windows close."""
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
    shopper, ts = f"u{number % SHOPPERS}", START + 1_000 * number + PAUSE_MS * (number // STRETCH)
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


def send(shop: Shop, numbers: range, *, read: bool = True) -> None:
    """Views of these numbers, of shelves that an evaluator has ``read`` by then, and time goes on until they are
    closed."""
    views = [view(number) for number in numbers]
    shop.produce(shop.topics.shelves, [(shopper, record) for shopper, record, _ in views])
    if read:
        until(lambda: shelves_read(shop) == numbers.stop)
    shop.produce(shop.topics.events, [(shopper, event) for shopper, _, events in views for event in events])
    later = START + 1_000 * numbers.stop + PAUSE_MS * (numbers.stop // STRETCH) - 1_000
    about = {"type": "search", "ts": later, "query": "lamp"}
    names = [f"u{number}" for number in range(SHOPPERS)]
    asked = [(name, json.dumps({**about, "event_id": f"{name}.{later}", "user_id": name}).encode()) for name in names]
    shop.produce(shop.topics.events, asked)


def last(shop: Shop) -> dict[str, float]:
    """What the evaluator that was heard of last says of the experiment now."""
    snapshots: list[Snapshot] = reporting.snapshots(shop.config, wall_ms() - 60_000, "evaluator")
    found = {}
    for one in max(snapshots, key=lambda one: one.to_ms).series if snapshots else []:
        if one.name.startswith("experiment_"):
            assert one.labels["challenger"] == VERSION
            name = one.name.removeprefix("experiment_")
            found[" ".join(filter(None, (name, one.labels["arm"], one.labels.get("test"))))] = one.value
    return found


def wanted(numbers: range) -> dict[str, int]:
    """Impressions of views up to the last of these, each once."""
    counting = [f"u{number % SHOPPERS}" for number in numbers if number >= EARLY]
    return {f"impressions {name}": sum(arm(one) == name for one in counting) for name in ("champion", "canary")}


def seen(shop: Shop, numbers: range) -> dict[str, float]:
    """Wait until views up to the last of these are counted, each once."""
    whole = wanted(numbers)

    def counted() -> dict[str, float] | None:
        found = last(shop)
        return found if all(found.get(name, 0) == number for name, number in whole.items()) else None

    return until(counted, why=lambda: f"{whole} were wanted, {last(shop)} came")


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
    whole = seen(shop, range(VIEWS))
    assert whole["log10_evalue canary clicks"] > half["log10_evalue canary clicks"] and whole["ratio_low canary"] > 1
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, Slot(None, (tried,), "promoted"))
    until(lambda: last(shop) == {})


def unnamed(shop: Shop, name: str) -> None:
    """Start an evaluator that has no name in its group."""
    shop.workers[name] = Forked("evaluator", log=shop.log(name), env=shop.env)


def judged(shop: Shop, tried: Promotion) -> tuple[int, int]:
    """Impressions of canary and champion as whoever decides on the challenger reads them."""
    reading = EvidenceReader(tried)
    reading.update(reporting.snapshots(shop.config, wall_ms() - 60_000, "evaluator"))
    canary = reading.get(wall_ms()).canary
    return canary.impressions, canary.champion_impressions


def test_two_without_a_name_count_each_view_once_while_partitions_move(shop: Shop) -> None:
    """One of them is killed and replaced, later one ends; each closed view counts in the evidence once."""
    shop.env["LIVESHELF_EVALUATOR__SESSION_TIMEOUT_S"] = "6"
    tried = Promotion(VERSION, BEGUN + timedelta(seconds=3), "passed the gate", SHARE)
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, Slot(tried))
    third = VIEWS // 3

    def come(part: int) -> None:
        send(shop, range(part * third, (part + 1) * third))
        enough = wanted(range((part + 1) * third))
        counted = enough["impressions canary"], enough["impressions champion"]
        until(lambda: judged(shop, tried) == counted, lambda: f"{counted} were wanted, {judged(shop, tried)} came")

    unnamed(shop, "one")
    unnamed(shop, "two")
    until(lambda: sharing(shop) == 2)
    come(0)
    shop.kill("one")
    unnamed(shop, "three")
    until(lambda: sharing(shop) == 2)
    come(1)
    shop.stop("two")
    come(2)
    evidence = [msgspec.msgpack.decode(shop.redis.hget(key, STATE)) for key in shop.redis.scan_iter("ls:*:experiment")]
    counts = [one["experiment"]["counts"] for one in evidence]
    assert sum(shoppers for one in counts for _, _, shoppers in one.values()) == SHOPPERS
    beside = {key.split(b".")[-1].split(b"}")[0] for key in shop.redis.scan_iter("ls:*:watches")}
    assert b"0" in beside and len(beside) > 1, "each watches its own"


def sharing(shop: Shop) -> int:
    """Evaluators that have partitions of their own, as they tell."""
    told = reporting.snapshots(shop.config, wall_ms() - 3_000, "evaluator")
    return len({one.id for one in {one.id: one for one in told}.values() if one.partitions})


def test_views_that_waited_for_the_evaluator_count_for_a_canary_that_began_before_it_did(shop: Shop) -> None:
    tried = Slot(Promotion(VERSION, BEGUN + timedelta(seconds=3), "passed the gate", SHARE))
    announce_now(shop.config.kafka, shop.config.topics, CHALLENGER, tried)
    send(shop, range(VIEWS // 2), read=False)
    shop.start("evaluator-1", "evaluator")
    seen(shop, range(VIEWS // 2))
