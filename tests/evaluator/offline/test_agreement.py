"""How well offline measures predict: intervals hold what they promise, by simulation, with noise and with groups."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from evaluator.experiments.result import result
from evaluator.offline.agreement import LEAST, Agreement, Pair, agreement, agreements, correct
from models.store.experiments import Arm, Figure, FinishedExperiment

RUNS, DRAWS = 300, 300
CHANCE = 3 * math.sqrt(0.05 * 0.95 / RUNS)
"""Three standard errors of a coverage of 95 %."""


def spearman(rho: float) -> float:
    """Of a bivariate normal distribution (Pearson 1907)."""
    return 6 / math.pi * math.asin(rho / 2)


def drawn(chance: np.random.Generator, count: int, rho: float, reliability: float = 1.0, shared: int = 1) -> list[Pair]:
    """Pairs whose true differences have a correlation of ``rho``; ``shared`` of each group have a common part."""
    noise = np.sqrt((1 / reliability - 1) * chance.gamma(4, 1 / 4, count))
    common = [np.repeat(chance.normal(size=count // shared), shared) for _ in range(2)]
    part = 0.0 if shared == 1 else 0.7
    first, second = (math.sqrt(part) * one + math.sqrt(1 - part) * chance.normal(size=count) for one in common)
    true = rho * first + math.sqrt(1 - rho**2) * second
    online = true + noise * chance.normal(size=count)
    return [
        Pair(float(x), float(y), max(1e-9, float(e)), bool(abs(y) > 2 * e), str(place // shared) if shared > 1 else "")
        for place, (x, y, e) in enumerate(zip(first, online, noise, strict=True))
    ]


@pytest.mark.parametrize(("count", "rho", "shared"), [(LEAST, 0.0, 1), (LEAST, 0.7, 1), (30, 0.5, 1), (80, 0.5, 4)])
def test_the_correlations_interval_covers_it(count: int, rho: float, shared: int) -> None:
    chance, hits = np.random.default_rng(1), 0
    for _ in range(RUNS):
        found = agreement("m", drawn(chance, count, rho, shared=shared), DRAWS).correlation
        assert found is not None
        hits += found.low <= spearman(rho) <= found.high
    assert hits / RUNS > 0.95 - CHANCE - (0.01 if shared > 1 else 0.0), hits / RUNS


@pytest.mark.parametrize(("count", "rho"), [(20, 0.8), (40, 0.8)])
def test_noise_is_corrected_for_where_the_plain_interval_misses_the_truth(count: int, rho: float) -> None:
    chance, hits, plain, known = np.random.default_rng(2), 0, 0, 0
    for _ in range(RUNS):
        found = agreement("m", drawn(chance, count, rho, reliability=0.5), DRAWS)
        if found.corrected is None or found.correlation is None:
            continue
        known += 1
        hits += found.corrected.low <= spearman(rho) <= found.corrected.high
        plain += found.correlation.low <= spearman(rho) <= found.correlation.high
    assert known > 0.8 * RUNS and hits / known >= 0.95 - CHANCE
    assert plain / known < 0.75, "so much that it was worth it"


@pytest.mark.parametrize(("count", "shared"), [(LEAST, 1), (40, 1), (120, 4)])
def test_the_interval_of_signs_covers_their_agreement(count: int, shared: int) -> None:
    """A share of 0.8 agree; those of one group more often together."""
    chance, hits, weighted, true = np.random.default_rng(3), 0, 0, 0.8
    for _ in range(RUNS):
        together = np.repeat(chance.random(count // shared) < 0.5, shared)
        own, common = chance.random(count) < true, np.repeat(chance.random(count // shared) < true, shared)
        agree = np.where(together, common, own)
        online = np.where(chance.random(count) < 0.5, 1.0, -1.0)
        error = chance.uniform(0.2, 2.0, count)
        pairs = [
            Pair(float(y if same else -y), float(y), float(e), True, str(place // shared) if shared > 1 else "")
            for place, (y, same, e) in enumerate(zip(online, agree, error, strict=True))
        ]
        found = agreement("m", pairs, draws=2)
        assert found.signs is not None and found.weighted is not None and found.decided == found.signs
        hits += found.signs.low <= true <= found.signs.high
        weighted += found.weighted.low <= true <= found.weighted.high
    assert hits / RUNS > 0.95 - CHANCE - 0.01 and weighted / RUNS > 0.95 - CHANCE - 0.015, (hits, weighted)


def test_measures_without_any_relation_are_rarely_said_to_predict() -> None:
    """Eight measures at a time: Holm's correction holds the chance that any of them is."""
    chance, wrong = np.random.default_rng(4), 0
    for _ in range(100):
        found = [agreement("m", drawn(chance, 20, 0.0), DRAWS) for _ in range(8)]
        correct(found)
        wrong += any(one.claim in ("predicts", "opposite") for one in found)
    assert wrong <= 11, "5 are expected, 11 at three standard errors"


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=12))
def test_the_correlation_is_scipys_and_signs_are_counted(values: list[tuple[int, int]]) -> None:
    found = agreement("m", [Pair(x, y, 1.0, abs(y) > 3) for x, y in values], draws=100)
    if len({x for x, _ in values}) > 1 and len({y for _, y in values}) > 1:
        if found.correlation is None:
            return  # hardly any draw varies
        assert found.correlation.value == pytest.approx(spearmanr(*zip(*values, strict=True)).statistic)
    else:
        assert found.correlation is None and found.p is None and found.claim in ("too_few", "not_shown")
    signed = [(x > 0) == (y > 0) for x, y in values if x and y]
    decided = [(x > 0) == (y > 0) for x, y in values if x and abs(y) > 3]
    for share, wanted in ((found.signs, signed), (found.decided, decided)):
        assert (share is None) == (not wanted)
        if share is not None:
            assert share.count == len(wanted) and share.value == pytest.approx(sum(wanted) / len(wanted))
            assert share.low <= share.value <= share.high


def test_unsure_pairs_weigh_little_and_mostly_noise_is_not_corrected() -> None:
    clear = [Pair(1.0 + place, 1.0 + place, 0.1, True) for place in range(10)]
    noisy = [Pair(1.0 + place, -0.01, 5.0, False) for place in range(10)]
    found = agreement("m", clear + noisy)
    assert found.signs is not None and found.weighted is not None and found.decided is not None
    assert found.signs.value == 0.5 and found.weighted.value > 0.99 and found.decided.value == 1.0
    assert found.one_sided and found.chance == 0.5, "always above zero: it says only how many won"
    assert agreement("m", [*noisy, Pair(0.0, 0.5, 5.0, False)]).corrected is None


def test_few_shops_are_few_however_many_pairs_they_have() -> None:
    pairs = [Pair(place, place + 0.1, 0.1, True, str(place % 3)) for place in range(60)]
    assert agreement("m", pairs).claim == "too_few"


def finished(number: int, ndcg: float, loss: float, clicks: int) -> FinishedExperiment:
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=number)
    figures = [
        Figure(measure="ndcg@10", source="gate", better="higher", difference=ndcg),
        Figure(measure="log_loss", source="gate", better="lower", difference=loss),
    ]
    evidence = 2.0 if abs(clicks - 1_000) > 100 else 0.5
    return FinishedExperiment(
        kind="canary",
        champion="",
        challenger=f"202611{number + 1:02}-153000-head-1a2b3c4d",
        begun_at=at,
        ended_at=at,
        share=0.5,
        ended="promoted",
        reason="",
        online=result(Arm(10_000, 1_000), Arm(10_000, clicks), log10_evalue=evidence),
        offline=tuple(figures),
    )


def test_measures_of_past_canaries_are_turned_the_better_way() -> None:
    past = [finished(n, ndcg=0.01 * (n - 6), loss=-0.02 * (n - 6), clicks=1_000 + 40 * (n - 6)) for n in range(14)]
    bare = finished(20, 0.0, 0.0, 900)
    empty = type(bare)(**{name: getattr(bare, name) for name in bare.__struct_fields__} | {"online": None})
    found = agreements([*past, empty])
    assert [(one.measure, one.source, one.count) for one in found] == [
        ("ndcg@10", "gate", 14),
        ("log_loss", "gate", 14),
    ]
    for one in found:
        assert one.claim == "predicts" and one.signs is not None and one.signs.value == 1.0
        assert one.decided is not None and one.decided.count == 9, "beyond 100 clicks of difference"


def test_three_canaries_are_too_few() -> None:
    found: list[Agreement] = agreements([finished(n, 0.01 * n, 0.0, 1_000 + 100 * n) for n in range(1, 4)])
    assert {one.claim for one in found} == {"too_few"}
