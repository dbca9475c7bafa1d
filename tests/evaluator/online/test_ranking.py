"""Measures of shelves, against what they are by hand."""

import math

import numpy as np
import pytest

from evaluator.online.attribution import Closed, Fact
from evaluator.online.ranking import Ranking, diversity, ndcg, novelty, reciprocal_rank


def shelf(*kinds: str) -> list[Closed]:
    return [
        Closed("u", f"i{place}", "s", "feed", place, 0, (Fact(1, kind, f"e{place}"),) if kind else ())
        for place, kind in enumerate(kinds)
    ]


def test_ndcg_weighs_outcomes_by_what_they_were_worth() -> None:
    gains = [0, 1, 4]
    got = sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))
    best = sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))
    assert ndcg(shelf("", "click", "purchase")) == pytest.approx(got / best)
    assert ndcg(shelf("purchase", "click", "")) == pytest.approx(1)
    assert ndcg(shelf("", "")) is None and ndcg([]) is None


def test_reciprocal_rank_is_of_the_first_outcome() -> None:
    assert [reciprocal_rank(shelf(*kinds)) for kinds in (("click",), ("", "", "read", "click"), ("", ""))] == [
        1,
        1 / 3,
        0,
    ]


def test_diversity_is_the_mean_of_all_pairs() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [1 - float(rows[a] @ rows[b]) for a in range(6) for b in range(a)]
    assert diversity(rows) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert math.isnan(diversity(rows[:1]))


def test_novelty_is_bits_of_rarity() -> None:
    assert novelty(["a", "b"], {"a": 50, "b": 25}, 100) == pytest.approx(1.5)
    assert math.isnan(novelty([], {}, 10))


def test_running_figures_over_shelves() -> None:
    ranking = Ranking(
        brand={"i0": "Acme", "i1": "Acme", "i2": "Globex"}.get,  # type: ignore[arg-type]
        vector=lambda item: np.eye(3, dtype=np.float32)[int(item[1])],
    )
    ranking.update(shelf("click", "", ""))
    ranking.update(shelf("", ""))
    assert ranking.mrr.get() == 0.5 and ranking.ndcg_10.get() == 1 and ranking.diversity.get() == 1
    assert ranking.coverage(10) == pytest.approx(0.3)
    assert ranking.exposure() == {"Acme": pytest.approx(0.8), "Globex": pytest.approx(0.2)}
