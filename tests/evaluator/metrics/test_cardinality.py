"""Names of surfaces, arms and models: bounded, the same after a restart, and those that matter keep theirs."""

from collections import Counter

import pytest

from evaluator.attribution.items import Items
from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.config import EvaluatorConfig
from evaluator.metrics.cardinality import MOST, OTHER, ROWS, LabelLimiter, capped
from evaluator.metrics.impression import AttributedImpression
from evaluator.metrics.rates import WINDOWS, Slice, Tally, cut, tally
from streams.config import TopicsConfig
from streams.telemetry.meter import LABEL_LETTERS, Meter, decoder, fitted, label_value

HOUR_MS = 3_600_000


def at(surface: str, arm: str = "champion", model: str = "m") -> Slice:
    return Slice(surface, arm, model, "1")


def test_a_flood_of_new_names_does_not_displace_what_is_known() -> None:
    names = LabelLimiter()
    for number in range(1_000):
        names.of(number, at(f"random {number}"))
        names.of(number, at("home"))  # too late for a name in this hour
    for hour in range(1, 4):
        for number in range(500):
            assert names.of(hour * HOUR_MS, at("feed")).surface == "feed"
            names.of(hour * HOUR_MS, at("home" if hour == 1 and not number else f"random {hour}.{number}"))
        found = [names.of(hour * HOUR_MS, at("home")).surface for _ in range(100)]
        assert set(found) == {"home"}, "once large it stays"


def test_each_field_is_bounded_every_hour() -> None:
    names = LabelLimiter()
    for hour in range(3):
        found = [names.of(hour * HOUR_MS, at(*[f"{hour}.{number}"] * 3)) for number in range(300)]
        for place in range(3):
            assert len({one[place] for one in found} - {OTHER}) <= MOST


def test_names_are_the_same_after_a_restart() -> None:
    told = [(HOUR_MS + number * 60_000, at(f"s{number * number % 97}")) for number in range(150)]
    names, sums = LabelLimiter(), dict[tuple[int, Slice], Tally]()
    for number, (ts, shown) in enumerate(told):
        after = LabelLimiter()
        after.restore(sums)
        wanted = names.of(ts, shown)
        assert after.of(ts, shown) == wanted, number
        sums.setdefault((ts, wanted), Tally()).add(Tally(impressions=1))


def test_a_window_is_told_with_few_rows_and_all_impressions() -> None:
    found = {(f"s{number}", f"a{number % 60}", f"m{number % 7}"): Tally(impressions=number) for number in range(400)}
    shown = capped(found)
    assert len(shown) <= ROWS + 1
    assert sum(one.impressions for one in shown.values()) == sum(range(400))
    assert ("s399", "a39", "m0") in shown


def test_a_snapshot_fits_however_many_surfaces_shops_send() -> None:
    metrics = LiveMetrics(EvaluatorConfig(), Items())
    meter = Meter("evaluator", "e", 0)
    for number in range(5_000):
        surface = f"{number:05}" + "\x01\x85\U0001f600" * 19
        impression = AttributedImpression("u", "i", "s", label_value(surface), number % 20, ts=60_000)
        model = "model " * 100 + str(number % 100)
        metrics.count({(60_000, cut(impression, f"arm {number % 90}", model)): tally(impression)})
    meter.series = metrics.get(until=70_000, now=0)
    snapshot = meter.snapshot(1)
    value = fitted(snapshot, TopicsConfig().max_message_bytes)
    assert decoder.decode(value).series == snapshot.series, "nothing has to be left out"
    for window in WINDOWS:
        rows = [one for one in snapshot.series if one.labels.get("window") == window]
        seen = Counter(one.name for one in rows)
        assert max(seen.values()) <= ROWS + 1
        assert sum(one.value for one in rows if one.name == "rate_impressions") == 5_000
        for name in ("surface", "arm", "model"):
            values = {one.labels[name] for one in rows}
            assert len(values) <= MOST + 1 and all(len(value) <= LABEL_LETTERS for value in values)
            assert all(value.isprintable() for value in values)


@pytest.mark.parametrize("limit", [700, 5_000, 50_000])
def test_what_does_not_fit_is_left_out_and_counted(limit: int) -> None:
    metrics, meter = LiveMetrics(EvaluatorConfig(), Items()), Meter("evaluator", "e", 0)
    for number in range(40):
        impression = AttributedImpression("u", "i", "s", f"s{number}", 0, ts=60_000)
        metrics.count({(60_000, cut(impression, "champion", "m")): tally(impression)})
    meter.series = metrics.get(until=70_000, now=0)
    snapshot = meter.snapshot(1)
    value = fitted(snapshot, limit)
    found = decoder.decode(value)
    assert len(value) <= limit
    assert len(found.series) + found.gauges["series_left_out"] == len(snapshot.series)
