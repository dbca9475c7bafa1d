"""Arms that stay: who is in which, with nothing stored."""

from scipy import stats

from streams.ranking.assignment import assign


def test_places_are_uniform_and_salts_are_independent() -> None:
    one, other = ([assign(f"user-{number}", salt) for number in range(20_000)] for salt in ("a", "b"))
    assert stats.kstest(one, "uniform").pvalue > 0.01 and stats.kstest(other, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(one, other).statistic) < 0.03
