"""A running experiment: counts by arm, evidence, the check of its traffic, and going on after a restart."""

import json

import numpy as np
import pytest
from scipy import stats

from evaluator.experiments.experiment import Experiment
from evaluator.metrics.impression import AttributedImpression, JoinEvent

SHARES = {"champion": 0.8, "canary": 0.1, "other": 0.1}
CLICKED = (JoinEvent(1, "click", "e"),)


def shown(shopper: str, ts: int, clicked: bool = False) -> AttributedImpression:
    return AttributedImpression(shopper, "i", "s", "feed", 0, ts, CLICKED if clicked else ())


def run(
    rates: dict[str, float], shares: dict[str, float], shoppers: int, each: int = 10, seed: int = 0
) -> list[tuple[AttributedImpression, str]]:
    chance, arms = np.random.default_rng(seed), list(shares)
    where = chance.choice(arms, size=shoppers, p=list(shares.values()))
    who = chance.integers(shoppers, size=shoppers * each).tolist()
    return [
        (shown(f"u{one}", 100 * number, bool(chance.random() < rates[where[one]])), str(where[one]))
        for number, one in enumerate(who)
    ]


def after(stream: list[tuple[AttributedImpression, str]]) -> Experiment:
    experiment = Experiment(SHARES)
    for closed, arm in stream:
        experiment.update(closed, arm)
    return experiment


def test_a_better_arm_is_told_from_one_that_is_not() -> None:
    stream = run({"champion": 0.05, "canary": 0.08, "other": 0.05}, SHARES, 6_000)
    experiment = after(stream)
    found = experiment.get()
    assert found["canary"].log10_clicks > 1.3 > found["other"].log10_clicks and found["champion"].log10_clicks == 0
    assert max(report.log10_traffic for report in found.values()) < 1.3
    for arm, report in found.items():
        own = [closed for closed, of in stream if of == arm]
        assert report.impressions == len(own) and report.clicks == sum(bool(one.outcomes) for one in own)
        assert report.shoppers == len({one.shopper for one in own})
    ratio, low, high = experiment.clicks["canary"].ratio()
    assert low < 1.6 < high and low < ratio < high


def test_traffic_that_is_split_otherwise_is_found() -> None:
    rates = dict.fromkeys(SHARES, 0.05)
    found = after(run(rates, {"champion": 0.77, "canary": 0.13, "other": 0.1}, 3_000)).get()
    assert found["canary"].log10_traffic > 1.3 > found["other"].log10_traffic
    assert max(report.log10_clicks for report in found.values()) < 1.3


def test_only_blocks_that_are_over_are_evidence_and_late_ones_count_in_the_open_one() -> None:
    experiment = Experiment(SHARES)
    for number in range(200):
        experiment.update(shown(f"u{number}", 60_000 + number, number % 2 == 0), ("champion", "canary")[number % 2])
    experiment.update(shown("late", 0), "champion")
    assert experiment.get()["canary"].log10_clicks < 1e-9 and experiment.get()["champion"].impressions == 101
    experiment.update(shown("next", 120_000), "champion")
    assert experiment.get()["canary"].log10_clicks > 1.3
    assert experiment.clicks["canary"].other_impressions == 101


@pytest.mark.parametrize("count", [0, 1, 777, 5_000])
def test_what_is_saved_goes_on(count: int) -> None:
    stream = run({"champion": 0.05, "canary": 0.2, "other": 0.05}, SHARES, 500)
    before = after(stream[:count])
    other = Experiment.load(json.loads(json.dumps(before.save())), before.seen())
    assert before.seen() == {}, "each piece is given once"
    for closed, arm in stream[count:]:
        other.update(closed, arm)
    whole = after(stream)
    assert other.get() == whole.get() and other.save() == whole.save()
    for piece in ({0: b"short"}, {1 << 20: bytes(64)}):
        with pytest.raises(ValueError, match="piece"):
            Experiment.load(before.save(), piece)


def test_experiments_on_other_shoppers_say_together_what_one_on_all_would() -> None:
    stream = run({"champion": 0.05, "canary": 0.08, "other": 0.05}, SHARES, 3_000)
    parts = [after([one for one in stream if int(one[0].shopper[1:]) % 4 == part]) for part in range(4)]
    together, whole = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3]), after(stream)
    for arm, told in together.get().items():
        alone = whole.get()[arm]
        assert (told.impressions, told.clicks, told.shoppers) == (alone.impressions, alone.clicks, alone.shoppers)
        assert told.log10_traffic == pytest.approx(alone.log10_traffic)
    assert together.get()["canary"].log10_clicks == pytest.approx(whole.get()["canary"].log10_clicks, rel=0.2)
    assert together.clicks["canary"].dispersion == pytest.approx(whole.clicks["canary"].dispersion, rel=0.1)
    with pytest.raises(ValueError, match="two experiments"):
        whole.merge(Experiment(SHARES, 9))


def test_thin_traffic_is_compared_in_longer_blocks() -> None:
    """Eight partitions with a view of ten items in 80 s each: blocks of a minute would show one arm alone."""
    chance, found = np.random.default_rng(5), []
    shares = {"champion": 0.9, "canary": 0.1}
    for _ in range(8):
        experiment = Experiment(shares)
        for number in range(1_000):
            arm = "canary" if chance.random() < 0.1 else "champion"
            clicks = chance.random(10) < (0.1 if arm == "canary" else 0.05)
            for clicked in clicks.tolist():
                experiment.update(shown(f"{arm}{chance.integers(10**9)}", 80_000 * number, clicked), arm)
        found.append(experiment)
    together = found[0]
    for one in found[1:]:
        together = together.merge(one)
    assert together.get()["canary"].log10_clicks > 10


def test_thin_traffic_of_many_partitions_errs_no_more_often_than_it_may() -> None:
    """200 experiments without a difference on four partitions each, whose rates go up and down; looked at often."""
    chance, erred = np.random.default_rng(6), 0
    for _ in range(200):
        parts = [Experiment({"champion": 0.7, "canary": 0.3}) for _ in range(4)]
        wrong, drawn = False, zip(chance.integers(4, size=2_400), chance.integers(400, size=2_400), strict=True)
        for number, ((at, who), mood) in enumerate(zip(drawn, chance.random(2_400), strict=True)):
            arm, rate = ("canary" if who % 10 < 3 else "champion"), 0.1 + 0.08 * np.sin(number / 400)
            parts[at].update(shown(f"{at}.{who}", 20_000 * number, bool(mood < rate)), arm)
            if number % 240 == 239:
                together = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
                wrong |= together.get()["canary"].log10_clicks >= np.log10(20)
        erred += wrong
    assert erred <= stats.binom.ppf(0.999, 200, 0.05)


def test_a_full_filter_misses_shoppers_of_all_arms_alike() -> None:
    experiment, chance = Experiment({"a": 0.7, "b": 0.3}), np.random.default_rng(3)
    for number, arm in enumerate(chance.choice(["a", "b"], size=350_000, p=[0.7, 0.3]).tolist()):
        experiment.update(shown(f"u{number}", number), arm)
    found = experiment.get()
    counted = found["a"].shoppers + found["b"].shoppers
    assert 250_000 < counted < 340_000 and max(one.log10_traffic for one in found.values()) < 1.3
    assert len(json.dumps(experiment.save())) < 20_000


def test_shelves_of_no_arm_are_passed_over_and_plans_that_make_no_whole_are_refused() -> None:
    experiment = Experiment(SHARES)
    experiment.update(shown("u", 0), "")
    assert sum(one.impressions for one in experiment.get().values()) == 0
    for shares in ({"a": 1.0}, {"a": 0.5, "b": 0.4}, {"a": 1.0, "b": 0.0}, {}):
        with pytest.raises(ValueError, match="sum to one"):
            Experiment(shares)
