"""Cost: which figures there are, that slower is slower, and that money follows its price."""

import time

import numpy as np
import pytest

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.cost import requests
from evaluator.offline.cost.calls import Kind
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.dimensions import cost
from evaluator.offline.dimensions.dimension import Part, Reading
from evaluator.offline.resampling import interval
from tests.evaluator.offline.dimensions.benches import Rank, bench, by_chance, shop


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SECONDS", (0.2, 0.05, 0.05))
    monkeypatch.setattr(cost, "SECONDS_OTHER", 0.05)


def measured(rank: Rank, **names: object) -> Part:
    return cost.DIMENSION.measure(bench(shop(), rank, **names))


def of(part: Part, measure: str, segment: str = "") -> Reading:
    [one] = [one for one in part.readings if (one.measure, one.segment) == (measure, segment)]
    return one


def sleepy(case: Case, data: EvaluationData) -> Scores:
    time.sleep(0.002)
    return np.zeros(len(case.items))


def busy(case: Case, data: EvaluationData) -> Scores:
    end = time.process_time() + 0.001
    while time.process_time() < end:
        pass
    return np.zeros(len(case.items))


def test_figures_of_a_call_have_intervals_and_grow_with_its_size() -> None:
    part = measured(sleepy, peak_mb=321.0)
    one, eight = of(part, "latency p50"), of(part, "latency p50", "batch: 8")
    assert one.unit == "ms"
    assert one.better == "lower"
    assert one.value is not None
    assert eight.value is not None
    assert 2.0 <= one.value < eight.value
    low, high = interval(np.array(one.replicates))[1:]
    assert low <= one.value <= high
    assert of(part, "latency p50", "candidates: 100").value is not None
    assert of(part, "latency p50", "texts: longest fifth").value is not None
    assert not [reading for reading in part.readings if reading.segment == "candidates: 1,000"]  # there are 120 items
    assert of(part, "peak memory").value == 321.0
    assert of(part, "start-up").value == 0.5
    assert not [reading for reading in part.readings if reading.measure == "operations per shelf"]


def test_waiting_costs_no_energy_and_work_does() -> None:
    waits, works = (of(measured(rank), "energy per 1,000 shelves").value for rank in (sleepy, busy))
    assert waits is not None
    assert works is not None
    assert works >= 1_000 * 0.001 * 4 * 0.99
    assert waits < works / 2


def test_money_follows_the_price_and_the_note_states_it() -> None:
    cheap, dear = (of(measured(busy, price_per_core_hour=price), "cost per million shelves") for price in (0.1, 10.0))
    assert cheap.value is not None
    assert dear.value is not None
    assert dear.value == pytest.approx(100 * cheap.value, rel=0.5)
    assert cheap.value >= 1e6 * 0.001 / 3_600 * 0.1 * 0.99
    assert "0.1 per core-hour" in str(cheap.note)


def test_all_contenders_have_as_many_replicates() -> None:
    for one in measured(busy).readings:
        assert len(one.replicates) in {0, 401}


def test_short_and_long_texts_are_those_of_the_ends() -> None:
    data = shop()
    short, long = requests.lengths(data, 0, 1.0)
    texts = sorted(len(document.text) for document in data.items.values())
    queries = sorted(len(case.query) for case in data.cases)
    some, few = len(texts) // 5, len(queries) // 5
    for _ in range(20):
        [[little], [large]] = short.cases(), long.cases()
        assert len(little.query) <= queries[few - 1] and len(large.query) >= queries[-few]
        assert max(len(data.items[item].text) for item in little.items) <= texts[some - 1]
        assert min(len(data.items[item].text) for item in large.items) >= texts[-some]
        assert len(little.items) == len(large.items) == 10 and np.isnan(large.gains).all()
    assert f"an item {np.mean(texts[:some]):.0f}, on average" in str(short.says)
    assert requests.lengths(shop(8), 0, 1.0) == []


def test_times_are_those_of_a_clock_that_is_known() -> None:
    """Every figure of calls, computed another way from the same times."""
    made = bench(shop(), by_chance)
    kind = Kind("", list, 1.0, 9)
    kind.times, kind.cpu = [0.001 * n for n in range(1, 10)], [0.002] * 9
    kind.pairs, kind.shelves = [10] * 9, [2] * 9
    [p50] = cost._latency(made, kind)
    throughput, energy, money = cost._per_shelf(made, kind)
    assert p50.value == pytest.approx(5.0)
    assert throughput.value == pytest.approx(90 / 0.045)
    assert energy.value == pytest.approx(1_000 * 0.001 * 4)
    assert money.value == pytest.approx(1e6 * 0.001 * 0.05 / 3_600)
    assert np.ptp(energy.replicates) == pytest.approx(0.0)
    low, high = interval(np.array(p50.replicates))[1:]
    assert 1.0 <= low < 5.0 < high <= 9.0


def test_training_is_what_the_contender_tells() -> None:
    made = bench(shop(), busy)
    assert not [one for one in cost.DIMENSION.measure(made).readings if one.measure.startswith("training")]
    made.contender.training = {"train_s": 60.0, "train_cpu_s": 100.0}  # type: ignore[attr-defined]
    part = cost.DIMENSION.measure(made)
    assert of(part, "training").value == 60.0
    assert of(part, "training CPU").value == 100.0
    assert of(part, "training energy").value == 400.0
    assert of(part, "start-up CPU").value == 0.5
    assert of(part, "start-up energy").value == 2.0
