"""What stands in the tables: rates, positions, drift, measures, exposure, calibration, experiments, health."""

from datetime import UTC, datetime

import pytest

from evaluator.dashboard.panels import learning, traffic
from evaluator.dashboard.panels.system import Processes, ProcessRow, health
from evaluator.metrics.intervals import wilson
from evaluator.rollout.evidence import EvidenceReader
from liveshelf.cli.status import evaluator_tables
from models.store.slots import Promotion
from streams.telemetry.meter import Series
from tests.evaluator.dashboard.said import drift, evaluator, rate

AT = 1_790_000_000_000


def process(role: str, id: str = "p", alive: bool = True, silent_s: float = 0.5, lag: float = 0.0) -> ProcessRow:
    return ProcessRow(role, id, alive, silent_s, lag, False, "m", "", 1.0, None, 0.0)


def test_rates_of_the_same_slice_add_up_over_evaluators() -> None:
    series = [*rate("1h", "feed", "champion", "m", 100, 10), *rate("1h", "feed", "", "", 50, 1)]
    found = traffic.tallies([evaluator(AT, series, "a"), evaluator(AT, series, "b")])
    first, second = traffic.rate_rows(found)
    assert (first.impressions, first.clicks, first.purchases) == (200, 20, 2) and first.ctr == wilson(20, 200)
    assert first.revenue.rate == pytest.approx(0.2) and first.debiased.rate == pytest.approx(0.15)
    assert first.revenue.low < first.revenue.rate < first.revenue.high
    assert (second.arm, second.model, second.impressions) == ("", "", 100)


def test_an_evaluator_that_was_killed_and_its_successor_count_once() -> None:
    """What the successor loads is what the killed one had counted, and whose last snapshot is seconds old."""
    taken = [
        evaluator(AT, rate("1h", "feed", "champion", "m", 100, 10), "e1-10", [0, 1]),
        evaluator(AT, rate("1h", "feed", "champion", "m", 70, 7), "e2-20", [2, 3]),
        evaluator(AT + 500, rate("1h", "feed", "champion", "m", 120, 12), "e1-11", [0, 1]),
    ]
    processes = Processes(quiet_ms=15_000)
    for snapshot in taken:
        processes.update(snapshot)
    (row,) = traffic.rate_rows(traffic.tallies(processes.live("evaluator", AT + 1_000)))
    assert (row.impressions, row.clicks) == (190, 19)
    _, told = evaluator_tables(taken)
    assert [list(map(str, column.cells)) for column in told.columns][4] == ["190"]
    reading = EvidenceReader(Promotion("c", datetime.fromtimestamp(0, UTC), "passed the gate", 0.1))
    arms = [Series("experiment_impressions", {"challenger": "c", "arm": "canary"}, 5.0)]
    reading.update([evaluator(AT, arms, "e1-10", [0]), evaluator(AT + 500, arms, "e1-11", [0])])
    assert reading.get(AT + 1_000).canary.impressions == 5


def test_series_that_no_evaluator_tells_break_nothing() -> None:
    """The topic of snapshots is open to others: negative counts, labels that are missing, more clicks than views."""
    hostile = [
        Series("position_impressions", {"position": "1"}, -1.0),
        Series("position_clicks", {}, 5.0),
        Series("rate_impressions", {}, 10.0),
        Series("rate_clicks", {}, 1e60),
        Series("rate_impressions", {"window": "1h", "surface": "feed"}, -5.0),
        Series("bots", {}, -2.0),
        Series("bot_clicks", {"reason": "burst"}, 1.0),
    ]
    taken = [evaluator(AT, hostile, "bad"), evaluator(AT, rate("1h", "feed", "a", "m", 100, 10), "good")]
    found = traffic.tallies(taken)
    assert [(row.surface, row.impressions, row.clicks) for row in traffic.rate_rows(found)] == [("feed", 100, 10)]
    assert list(traffic.lines(found)) and traffic.positions(taken) == []
    assert [table.title for table in evaluator_tables(taken)] == ["Evaluators", "Click rate", "Suspected bots"]


def test_counts_that_contradict_each_other_are_no_error() -> None:
    series = [Series("rate_clicks", {"window": "1h"}, 5.0), *rate("1m", "feed", "a", "m", 3, 9)]
    assert traffic.rate_rows(traffic.tallies([evaluator(AT, series)]))[0].ctr.rate == 1.0


def test_positions_come_in_their_order_with_their_propensity() -> None:
    series = [
        one
        for position, shown in (("13+", 10), ("1", 100), ("2-3", 50))
        for one in (
            Series("position_impressions", {"position": position}, float(shown)),
            Series("position_clicks", {"position": position}, 5.0),
        )
    ]
    series += [
        Series("propensity", {"position": name}, value) for name, value in (("1", 1.0), ("2-3", 0.5), ("13+", 0.1))
    ]
    found = traffic.positions([evaluator(AT, series)])
    assert [(row.position, row.impressions) for row in found] == [("1", 100), ("2-3", 50), ("13+", 10)]
    assert [row.propensity for row in found] == pytest.approx([1.0, 0.5, 0.1])


def test_of_several_evaluators_the_watch_nearest_to_its_limit_is_told() -> None:
    one = evaluator(AT, [*drift("queries", 0.2, 0.001), *drift("click_rate", 10.0, 1_000.0)], "a")
    other = evaluator(AT, [*drift("queries", 0.01, 0.001), *drift("click_rate", 2_000.0, 1_000.0, True)], "b")
    found = {row.watch: row for row in learning.monitor_rows([one, other])}
    assert found["queries"].statistic == 0.01 and not found["queries"].rising
    assert found["click_rate"].statistic == 2_000.0 and found["click_rate"].alarm and found["click_rate"].rising


def test_a_p_value_of_zero_is_as_near_as_can_be() -> None:
    [row] = learning.monitor_rows([evaluator(AT, drift("items", 0.0, 0.001, True))])
    assert row.near == 1e12


def test_measures_carry_an_interval_where_one_holds() -> None:
    series = [
        one
        for measure, total in (("mrr", 30.0), ("novelty@10", 800.0))
        for one in (
            Series("measure_sum", {"measure": measure, "surface": "feed"}, total),
            Series("measure_count", {"measure": measure, "surface": "feed"}, 100.0),
        )
    ] + [Series("coverage", {}, 0.25)]
    found = {row.measure: row for row in traffic.measures([evaluator(AT, series, "a"), evaluator(AT, series, "b")])}
    assert found["mrr"].mean == pytest.approx(0.3) and found["mrr"].count == 200
    assert found["mrr"].interval == pytest.approx(traffic.hoeffding(0.3, 200))
    assert found["novelty@10"].interval is None
    assert found["coverage@10"].interval == (0.25, 0.5), "two evaluators may have shown the same items or others"


def test_exposure_keeps_the_largest_brands_and_the_rest() -> None:
    def part(brand: str, places: int, each: float = 0.5) -> list[Series]:
        labels = {"brand": brand}
        return [
            Series("exposure_sum", labels, places * each),
            Series("exposure_squared", labels, places * each**2),
        ]

    series = [one for number in range(1, 31) for one in part(f"b{number}", number)] + part("", 35)
    found = traffic.exposure([evaluator(AT, series)])
    assert found[0].brand == "b30" and found[-1].brand == "" and len(found) == 13
    assert sum(row.exposure for row in found) == pytest.approx(250)
    assert found[0].share == pytest.approx(wilson(30, 500)), "equal places are so many impressions"
    assert traffic.exposure([evaluator(AT, [])]) == []


def test_calibration_tells_reliability_and_its_error() -> None:
    def part(bin: str, count: float, predicted: float, observed: float) -> list[Series]:
        values = {"count": count, "predicted": predicted, "observed": observed}
        return [Series(f"calibration_{name}", {"intent": "look", "bin": bin}, value) for name, value in values.items()]

    [found] = traffic.calibration(
        [evaluator(AT, [*part("7", 100, 20, 30), *part("4", 100, 5, 5), *part("2", 100, 1, 0), *part("99", 9, 9, 0)])]
    )
    assert found.count == 300 and found.error == pytest.approx((10 + 1) / 300), "bins below a tenth are one"
    assert [row.predicted for row in found.bins] == pytest.approx([0.01, 0.05, 0.2])
    assert found.bins[2].observed == wilson(30, 100)


def test_evidence_of_an_experiment_counts_once_though_several_evaluators_tell_of_it() -> None:
    series = [
        Series("experiment_log10_evalue", {"test": "clicks", "arm": "b"}, 0.7),
        Series("experiment_log10_evalue", {"test": "traffic", "arm": ""}, -0.2),
    ]
    for arm in ("a", "b"):
        for name, value in (("impressions", 100.0), ("clicks", 9.0), ("shoppers", 10.0)):
            series.append(Series(f"experiment_{name}", {"arm": arm}, value))
    first, second = traffic.arms([evaluator(AT, series, "x"), evaluator(AT, series, "y")])
    assert (first.arm, first.impressions, first.clicks_log10) == ("a", 100, None)
    assert second.clicks_log10 == pytest.approx(0.7) and second.traffic_log10 == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("rows", "events", "firing", "problem", "level", "told"),
    [
        ([process("worker"), process("evaluator")], 5.0, 0, None, "ok", "Healthy. 1 worker and 1 evaluator up"),
        ([process("worker"), process("evaluator")], 5.0, 2, None, "warn", "2 alerts firing"),
        ([process("worker", lag=900), process("evaluator")], 9.0, 0, None, "warn", "behind by 900 events, about 100 s"),
        ([process("worker", lag=900), process("evaluator")], 0.0, 0, None, "warn", "and nothing moves"),
        ([process("evaluator")], 0.0, 0, None, "bad", "No worker reports"),
        ([process("worker", alive=False, silent_s=60)], 0.0, 0, None, "bad", "Everything is silent"),
        ([process("worker"), process("evaluator")], 5.0, 0, "Kafka at b:1 cannot be read", "bad", "Kafka at b:1"),
        ([], 0.0, 0, None, "none", "Nothing has reported within the last hour."),
    ],
)
def test_health_is_one_sentence(
    rows: list[ProcessRow], events: float, firing: int, problem: str | None, level: str, told: str
) -> None:
    found = health(rows, events, firing, problem)
    assert found.level == level and told in found.sentence
