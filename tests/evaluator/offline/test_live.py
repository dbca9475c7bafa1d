"""Live metrics and the offline evaluation measure the same shelves alike, by the same names."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from evaluator.dashboard.panels import traffic
from evaluator.metrics.hourly import HOUR_MS, HourlyMetrics
from evaluator.metrics.impression import AttributedImpression, Chances, JoinEvent, View
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.effect import Effect
from evaluator.offline.fairness.exposure import shares_of
from evaluator.offline.resampling import Resampling
from models.intents import INTENT_OF, INTENTS
from models.measures.names import COVERAGE, DIVERSITY, ECE, MRR, NDCG, NOVELTY
from models.training.examples import LEVELS, soft_target
from tests.evaluator.dashboard.said import evaluator
from tests.evaluator.offline.world import bench

COUNT, PLACES, ITEMS = 80, 12, 60
AT = 3 * HOUR_MS


@dataclass
class Shop:
    """Items of seven brands, one of them without a name, whose titles share words."""

    titles: dict[str, str]
    brands: dict[str, str]

    def brand(self, item_id: str) -> str:
        return self.brands[item_id]

    def title(self, item_id: str) -> str:
        return self.titles[item_id]

    def __len__(self) -> int:
        return len(self.titles)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.titles


@dataclass
class Shelves:
    """What was shown, what became of it, and what the model had predicted."""

    shop: Shop
    items: np.ndarray
    intents: np.ndarray
    predicted: np.ndarray


@pytest.fixture(scope="module")
def shelves() -> Shelves:
    chance = np.random.default_rng(5)
    names = [f"i{number}" for number in range(ITEMS)]
    words = chance.choice(["red", "blue", "hose", "lamp", "drill", "garden", "old"], (ITEMS, 3))
    brands = {
        name: ("acme", "bolt", "core", "dell", "ever", "foxy", "")[number % 7] for number, name in enumerate(names)
    }
    shop = Shop({name: " ".join(words[number]) for number, name in enumerate(names)}, brands)
    items = np.array([chance.choice(names, PLACES, replace=False) for _ in range(COUNT)])
    intents = chance.choice(INTENTS, (COUNT, PLACES), p=[0.05, 0.05, 0.15, 0.75])
    intents[:, 3], intents[:, 7] = "look", "ignore"  # so that every order can be good or bad
    predicted = chance.dirichlet([0.5, 0.5, 1, 4], (COUNT, PLACES)).astype(np.float32)  # as scorers answer
    return Shelves(shop, items, intents, predicted.astype(np.float64))


def views(shelves: Shelves, ts: int) -> Iterator[View]:
    kinds = {intent: kind for kind, intent in INTENT_OF.items()}
    for row in range(COUNT):
        shown = tuple(
            AttributedImpression(
                f"u{row}",
                str(item),
                f"s{row}",
                "feed",
                place,
                ts + row,
                () if intent == "ignore" else (JoinEvent(ts + row + 1, kinds[intent], f"e{place}"),),
            )
            for place, (item, intent) in enumerate(zip(shelves.items[row], shelves.intents[row].tolist(), strict=True))
        )
        buy, look = (shelves.predicted[row][:, INTENTS.index(name)] for name in ("buy", "look"))
        chances = {
            one.item_id: Chances(0.0, b, p) for one, b, p in zip(shown, buy.tolist(), look.tolist(), strict=True)
        }
        yield View(shown, chances=chances)


@pytest.fixture(scope="module")
def offline(shelves: Shelves) -> EvaluationData:
    """The same lists as cases; what was shown in the hour before is what is known of popularity."""
    levels = np.vectorize(LEVELS.__getitem__)(shelves.intents)
    cases = [
        Case(
            f"c{row}",
            tuple(shelves.items[row].tolist()),
            levels[row],
            f"query {row}",
            targets=np.array([soft_target(level) for level in levels[row]], np.float64),
        )
        for row in range(COUNT)
    ]
    before = [Case(f"t{row}", tuple(shelves.items[row][:10].tolist()), np.ones(10)) for row in range(COUNT)]
    items = {name: Document(title, brand=shelves.shop.brands[name]) for name, title in shelves.shop.titles.items()}
    return EvaluationData("live", "clicks", cases, before, items)


def test_the_live_page_and_the_offline_evaluation_tell_the_same(shelves: Shelves, offline: EvaluationData) -> None:
    live = HourlyMetrics(shelves.shop)
    live.update(list(views(shelves, AT - HOUR_MS - 600_000)))
    list(live.get(AT - HOUR_MS))
    live.update(list(views(shelves, AT)))
    page = [evaluator(AT, list(live.get(AT + COUNT)))]
    measures = {row.measure: row.mean for row in traffic.measures(page)}
    as_shown = [-np.arange(PLACES, dtype=float)] * COUNT
    part = Effect().measure(bench(offline, as_shown, list(shelves.predicted), draws=10))
    found = {(one.measure, one.segment): one.value for one in part.readings}
    assert set(measures) == {MRR, NDCG, DIVERSITY, NOVELTY, COVERAGE}
    for name, value in measures.items():
        assert value == pytest.approx(found[name, ""], abs=1e-9), name
    for curve in traffic.calibration(page):
        assert curve.error == pytest.approx(found[ECE, f"intent: {curve.intent}"], abs=1e-9), curve.intent

    of = shares_of(offline, as_shown, {name: brand for name, brand in shelves.shop.brands.items() if brand})
    exposure, _, _ = of.replicates(Resampling.of([case.id for case in offline.cases], draws=2))
    told = {row.brand: row.share.rate for row in traffic.exposure(page)}
    assert told.pop("") == pytest.approx(1 - exposure[0].sum(), abs=1e-9), "items without a brand"
    assert told == pytest.approx(dict(zip(of.names, exposure[0].tolist(), strict=True)), abs=1e-9)
