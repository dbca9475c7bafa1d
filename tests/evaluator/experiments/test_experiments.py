"""Evidence that may be looked at all the time, and interleaving that finds the better model."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluator.experiments.evalue import EValue
from evaluator.experiments.interleaving import Preference, interleave

RANKINGS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(st.integers(1, 12), st.floats(0.05, 0.95), st.floats(1, 500))
def test_its_mean_is_one_under_the_null(events: int, share: float, prior: float) -> None:
    mean = 0.0
    for inside in range(events + 1):
        test = EValue(share, prior)
        test.update(inside, events - inside)
        mean += test.get() * math.comb(events, inside) * share**inside * (1 - share) ** (events - inside)
    assert mean == pytest.approx(1)


def test_peeking_does_not_raise_false_positives_while_a_z_test_triples_them() -> None:
    """2,000 experiments without a difference, looked at after every 50 of 5,000 clicks."""
    chance, runs, looks = np.random.default_rng(0), 2_000, np.arange(50, 5_001, 50)
    inside = np.cumsum(chance.random((runs, 5_000)) < 0.5, axis=1)[:, looks - 1]
    z = np.abs(inside - looks / 2) / np.sqrt(looks / 4)
    naive = (z > stats.norm.ppf(0.975)).any(axis=1).mean()
    ours = 0
    for row in inside:
        for hits, count in zip(row.tolist(), looks.tolist(), strict=True):
            test = EValue(0.5)
            test.update(hits, count - hits)
            if test.get() >= 20:
                ours += 1
                break
    assert ours / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert naive > 0.25


def test_a_real_difference_is_found() -> None:
    chance, needed = np.random.default_rng(1), []
    for _ in range(50):  # 6 against 5 % clicks in arms of equal size
        test, clicks = EValue(0.5), 0
        while test.get() < 20 and clicks < 20_000:
            hits = int(chance.binomial(50, 6 / 11))
            test.update(hits, 50 - hits)
            clicks += 50
        needed.append(clicks)
    assert np.median(needed) < 1_800


def test_counts_merge_in_any_order_and_never_overflow() -> None:
    one, other = EValue(0.1), EValue(0.1)
    one.update(10, 5)
    other.update(0, 400)
    assert one.merge(other).log() == other.merge(one).log()
    one.update(10**7, 0)
    assert one.get() > 1e300 and one.p_value == 0 and math.isfinite(one.log())
    with pytest.raises(ValueError, match="different"):
        one.merge(EValue(0.2))
    with pytest.raises(ValueError, match="taken back"):
        one.update(-1, 0)
    with pytest.raises(ValueError, match="share"):
        EValue(1)


@given(RANKINGS, RANKINGS, st.integers(0, 10), st.text(max_size=5))
def test_shelves_are_shared_fairly(a: list[str], b: list[str], length: int, seed: str) -> None:
    found = interleave(a, b, length, seed)
    assert found == interleave(a, b, length, seed)
    assert len(set(found.items)) == len(found.items) == len(found.teams) == min(length, len({*a, *b}))
    for team, ranking in (("a", a), ("b", b)):
        own = [item for item, of in zip(found.items, found.teams, strict=True) if of == team]
        assert own == [item for item in ranking if item in own], "each team's items stand in its own order"
    if len(a) >= length and len(b) >= length and not set(a) & set(b):
        assert abs(found.teams.count("a") - found.teams.count("b")) <= 1


def test_the_better_ranking_is_preferred_and_equal_ones_are_not() -> None:
    chance, items = np.random.default_rng(2), [f"i{number}" for number in range(10)]
    better, fair = Preference(), Preference()
    for number in range(1_500):
        good = sorted(items, key=lambda item: int(item[1:]) + chance.normal(0, 2))
        poor = sorted(items, key=lambda item: int(item[1:]) + chance.normal(0, 6))
        equal = sorted(items, key=lambda item: int(item[1:]) + chance.normal(0, 2))
        for preference, other in ((better, poor), (fair, equal)):
            shelf = interleave(good, other, 5, str(number))
            clicked = [item for item in shelf.items if chance.random() < 0.3 / (1 + int(item[1:]))]
            preference.update(shelf.credit(clicked))
    assert better.share > 0.55 and better.evidence.get() > 20
    assert abs(fair.share - 0.5) < 0.05 and fair.evidence.get() < 20


def test_peeking_at_equal_models_errs_no_more_than_stated_and_a_z_test_does() -> None:
    """600 interleaved comparisons of equal models, looked at after every 10 of 400 shelves; half are ties."""
    chance, runs, ours, naive = np.random.default_rng(3), 600, 0, 0
    for credits in chance.choice([-1, 0, 0, 1], size=(runs, 400)).tolist():
        preference, erred, erred_naive = Preference(), False, False
        for number, credit in enumerate(credits):
            preference.update(credit)
            if number % 10 == 9:
                decided = preference.wins + preference.losses
                erred |= preference.evidence.get() >= 20
                erred_naive |= abs(preference.wins - preference.losses) > 1.96 * math.sqrt(decided)
        ours, naive = ours + erred, naive + erred_naive
    assert ours / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert naive / runs > 0.2
