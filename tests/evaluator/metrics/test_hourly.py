"""Measures of the last hour's views, against what they are by hand."""

import numpy as np
import pytest

from evaluator.metrics.cardinality import OTHER
from evaluator.metrics.hourly import BRANDS, SURFACES, HourlyMetrics
from evaluator.metrics.impression import AttributedImpression, Chances, JoinEvent, View
from models.measures.probabilities import FINE, bins_of

HOUR = 3_600_000


class Shop:
    """Items i0, i1 and so on, each with a title and a brand of its own."""

    def brand(self, item_id: str) -> str:
        return f"brand {item_id}"

    def title(self, item_id: str) -> str:
        return item_id

    def __len__(self) -> int:
        return 40

    def __contains__(self, item_id: object) -> bool:
        return item_id in {f"i{number}" for number in range(40)}


def view(ts: int, items: list[int], clicked: int | None, surface: str = "feed", look: float = 0.2) -> View:
    closed = tuple(
        AttributedImpression(
            "u", f"i{item}", f"s{ts}", surface, place, ts, (JoinEvent(ts + 1, "click", "e"),) if item == clicked else ()
        )
        for place, item in enumerate(items)
    )
    return View(closed, chances={f"i{item}": Chances(0.5, 0.01, look) for item in items})


def values(measures: HourlyMetrics, until: int, name: str, **labels: str) -> list[float]:
    found = (one for one in measures.get(until) if one.name == name)
    return [one.value for one in found if all(one.labels[key] == value for key, value in labels.items())]


def test_means_coverage_and_exposure_are_those_of_the_hour() -> None:
    measures = HourlyMetrics(Shop())
    measures.update([view(0, [0, 1, 2], 0)])
    assert values(measures, 0, "measure_sum", measure="mrr", surface="feed") == [1]
    measures.update([view(HOUR, [0, 1, 2], 2), view(HOUR, [3, 4], None)])
    until = HOUR + 1
    assert values(measures, until, "measure_sum", measure="mrr") == [pytest.approx(1 / 3)], "what is older fell out"
    assert values(measures, until, "measure_count", measure="mrr") == [1], "the other shelf says nothing of an order"
    assert values(measures, until, "measure_sum", measure="ndcg@10") == [pytest.approx(0.5)]
    assert values(measures, until, "measure_sum", measure="diversity@10") == [pytest.approx(2)]
    assert values(measures, until, "measure_sum", measure="novelty@10")[0] == pytest.approx(
        np.log2(3) + (np.log2(3) * 2) / 2
    ), "by how often the hour before had shown them"
    assert values(measures, until, "coverage") == [5 / 40]
    place = [1, 1 / np.log2(3), 0.5]
    assert sorted(values(measures, until, "exposure_sum")) == pytest.approx(sorted([*place, *place[:2]]))
    assert sorted(values(measures, until, "exposure_squared")) == pytest.approx(
        sorted([*(p**2 for p in [*place, *place[:2]])])
    )


def test_only_the_largest_brands_and_first_surfaces_have_names() -> None:
    measures = HourlyMetrics(Shop())
    measures.update([view(0, [*range(start, start + 10)], None) for start in (0, 10, 20)])
    measures.update([view(0, [1], None, f"surface {number}") for number in range(2 * SURFACES)])
    shown = [one for one in measures.get(0) if one.name == "exposure_sum"]
    assert len(shown) == BRANDS + 1 and shown[-1].labels == {"brand": ""}
    of_ten = sum(1 / np.log2(1 + rank) for rank in range(1, 11))
    assert sum(one.value for one in shown) == pytest.approx(3 * of_ten + 2 * SURFACES)
    surfaces = {one.labels["surface"] for one in measures.get(0) if one.name == "measure_sum"}
    assert len(surfaces) == SURFACES + 1 and OTHER in surfaces
    list(measures.get(2 * HOUR))
    measures.update([view(2 * HOUR, [1], None, "a later surface")])
    assert {one.labels["surface"] for one in measures.get(2 * HOUR) if one.name == "measure_sum"} == {"a later surface"}


def test_calibration_is_predicted_against_observed() -> None:
    measures = HourlyMetrics(Shop())
    measures.update([view(number, [1], 1 if number % 5 == 0 else None, look=0.3) for number in range(100)])
    of = {"intent": "look"}
    assert values(measures, 100, "calibration_count", **of) == [100]
    assert values(measures, 100, "calibration_predicted", **of) == [pytest.approx(30)]
    assert values(measures, 100, "calibration_observed", **of) == [20]
    assert values(measures, 100, "calibration_observed", intent="buy") == [0]
    [bin, *_] = (one.labels["bin"] for one in measures.get(100) if one.name == "calibration_count")
    assert bin == str(bins_of(np.array([0.3]), FINE)[0])


def test_propensities_come_from_items_that_stood_at_several_places() -> None:
    chance, measures = np.random.default_rng(0), HourlyMetrics(Shop())
    for ts in range(4_000):
        order = [int(item) for item in chance.permutation(6)]
        clicked = next(
            (item for place, item in enumerate(order) if chance.random() < 0.05 * (1 + item) * (place + 1) ** -1), None
        )
        measures.update([view(ts, order, clicked)])
    found = values(measures, 4_000, "propensity")
    assert len(found) == 3 and found[0] == 1, "places 1, 2-3 and 4-6"
    assert found[1] == pytest.approx((1 / 2 + 1 / 3) / 2, abs=0.12) and found[2] < found[1]
    assert measures.weights["2-3"] == pytest.approx(1 / found[1])
