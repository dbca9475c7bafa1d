"""Evidence on click rates: its mean is at most one where there is no difference, whatever the traffic does."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluator.experiments.click_test import LOG_RATIOS, LOG_WEIGHTS, ClickTest

Block = tuple[int, int, int, int]
GROUP = st.integers(0, 3_000).flatmap(lambda shown: st.tuples(st.just(shown), st.integers(0, shown)))
BLOCKS = st.lists(st.tuples(GROUP, GROUP).map(lambda both: (*both[0], *both[1])), max_size=8)


def after(blocks: list[Block]) -> ClickTest:
    test = ClickTest()
    for block in blocks:
        test.update(*block)
    return test


def drifting(
    chance: np.random.Generator, ratio: float, blocks: int, shape: tuple[int, ...] = ()
) -> list[tuple[np.ndarray, ...]]:
    """Blocks of an experiment whose arm grows from 2 to 60 % of the traffic while clicks fall from 12 to 3 %, in both
    alike: rates over the whole differ twofold (Simpson), blocks do not."""
    found = []
    for part in np.linspace(0, 1, blocks):
        shown, rate = round(200 * (0.02 + 0.58 * part)), 0.12 - 0.09 * part
        arm, rest = chance.binomial(shown, ratio * rate, shape), chance.binomial(200 - shown, rate, shape)
        found.append((np.broadcast_to(shown, shape), arm, np.broadcast_to(200 - shown, shape), rest))
    return found


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.01, 0.99))
def test_its_mean_is_at_most_one_and_so_it_is_for_each_number_of_clicks(n: int, m: int, rate: float) -> None:
    values = np.array([[after([(n, k, m, j)]).get() for j in range(m + 1)] for k in range(n + 1)])
    clicks = np.outer(stats.binom.pmf(range(n + 1), n, rate), stats.binom.pmf(range(m + 1), m, rate))
    assert (values * clicks).sum() <= 1 + 1e-9
    for total in range(n + m + 1):
        arm = range(max(0, total - m), min(n, total) + 1)
        mean = sum(stats.hypergeom.pmf(k, n + m, n, total) * values[k, total - k] for k in arm)
        assert mean <= 1 + 1e-9, total


def test_peeking_errs_no_more_than_stated_while_traffic_drifts_and_a_z_test_errs_mostly() -> None:
    """1,000 experiments without a difference, looked at after each of 60 blocks; the mean at the end is 1 at most."""
    runs, blocks, looks = 1_000, drifting(np.random.default_rng(0), 1.0, 60, (1_000,)), []
    for run in range(runs):
        test, path = ClickTest(), []
        for block in blocks:
            test.update(*(int(part[run]) for part in block))
            path.append(test.get())
        looks.append(path)
    found = np.array(looks)
    assert (found >= 20).any(axis=1).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert found[:, -1].mean() <= 1 + 2 * found[:, -1].std() / math.sqrt(runs)
    n, k, m, j = np.cumsum(np.array(blocks), axis=0).transpose(1, 0, 2)
    pooled = (k + j) / (n + m)
    z = np.abs(k / n - j / m) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    assert (z > stats.norm.ppf(0.975)).any(axis=0).mean() > 0.9


@pytest.mark.parametrize("ratio", [1.0, 1.3, 0.6])
def test_bounds_hold_the_ratio_at_all_looks_together(ratio: float) -> None:
    runs, missed = 300, 0
    blocks = drifting(np.random.default_rng(1), ratio, 40, (runs,))
    for run in range(runs):
        test = ClickTest()
        for block in blocks:
            test.update(*(int(part[run]) for part in block))
            _, low, high = test.ratio()
            if not low <= ratio <= high:
                missed += 1
                break
    assert missed / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_a_real_difference_is_found_and_told_with_its_ratio() -> None:
    chance, needed = np.random.default_rng(2), []
    for _ in range(40):  # 6 against 5 % in arms of equal size
        test = ClickTest()
        while test.get() < 20 and test.clicks < 20_000:
            test.update(500, int(chance.binomial(500, 0.06)), 500, int(chance.binomial(500, 0.05)))
        needed.append(test.clicks + test.other_clicks)
    assert np.median(needed) < 1_800
    test = after([tuple(map(int, block)) for block in drifting(chance, 1.5, 400)])  # type: ignore[misc]
    ratio, low, high = test.ratio()
    assert 1.4 < ratio < 1.6 and 1.3 < low < 1.5 < high < 1.75 and test.log10() > 20


@given(BLOCKS, BLOCKS)
def test_evidence_of_other_blocks_merges_in_any_order(one: list[Block], other: list[Block]) -> None:
    merged, back, whole = after(one).merge(after(other)), after(other).merge(after(one)), after(one + other)
    assert merged.save() == back.save()
    assert merged.log10() == pytest.approx(whole.log10(), abs=1e-6)
    assert (merged.impressions, merged.other_clicks) == (whole.impressions, whole.other_clicks)


@given(BLOCKS)
def test_arms_that_change_places_give_the_same_evidence(blocks: list[Block]) -> None:
    swapped = after([(m, j, n, k) for n, k, m, j in blocks])
    assert swapped.log10() == pytest.approx(after(blocks).log10(), abs=1e-6)


def test_weights_are_symmetric_and_sum_to_one() -> None:
    assert np.exp(LOG_WEIGHTS).sum() == pytest.approx(1)
    assert np.allclose(LOG_WEIGHTS, LOG_WEIGHTS[::-1]) and np.allclose(LOG_RATIOS, -LOG_RATIOS[::-1])


def test_blocks_that_say_nothing_change_nothing_and_nothing_overflows() -> None:
    test = after([(0, 0, 100, 5), (100, 5, 0, 0), (50, 0, 50, 0)])
    assert test.get() == pytest.approx(1) and ClickTest().ratio()[1:] == (0, math.inf)
    test.update(10**7, 10**7, 10**7, 0)
    assert test.get() > 1e300 and math.isfinite(test.log10()) and test.ratio().high == math.inf
    for block in ((1, 2, 0, 0), (1, 1, 1, 2), (1, -1, 1, 1)):
        with pytest.raises(ValueError, match="no clicks"):
            test.update(*block)


def test_what_is_saved_goes_on() -> None:
    blocks = [(100, 7, 200, 9), (300, 11, 100, 9)]
    other = ClickTest.load(json.loads(json.dumps(after(blocks[:1]).save())))
    other.update(*blocks[1])
    assert other.save() == after(blocks).save()
    with pytest.raises(ValueError, match="begin the experiment anew"):
        ClickTest.load(after(blocks).save() | {"widest": 4.0})
