"""Measures of shelves, against what they are by hand."""

import math

import numpy as np
import pytest

from evaluator.metrics.impression import AttributedImpression, JoinEvent
from evaluator.metrics.ranking import RankingMetrics, diversity, ndcg, novelty, reciprocal_rank


def shelf(*kinds: str) -> list[AttributedImpression]:
    return [
        AttributedImpression(
            "u", f"i{place}", "s", "feed", place, 0, (JoinEvent(1, kind, f"e{place}"),) if kind else ()
        )
        for place, kind in enumerate(kinds)
    ]


def test_ndcg_weighs_outcomes_by_what_they_were_worth() -> None:
    gains = [0, 1, 4]
    got = sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))
    best = sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))
    shelves = [shelf("", "click", "purchase"), shelf("", ""), shelf("purchase", "click", ""), []]
    assert ndcg(shelves) == pytest.approx([got / best, 1]), "of those where something was done"
    assert ndcg([shelf("", "click", "purchase")[::-1]]) == pytest.approx([got / best]), "by position"


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


def test_sums_over_shelves_add_up() -> None:
    one, other = RankingMetrics(), RankingMetrics()
    one.mrr.update(1.0)
    one.novelty.update(math.nan)
    other.mrr.update(0.0)
    other.items.update(["i1", "i2", "i1"])
    one.add(other)
    assert (one.mrr.get(), one.novelty.count, one.coverage(4)) == (0.5, 0, 0.5) and math.isnan(one.coverage(0))
