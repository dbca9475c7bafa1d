"""Feeds are judged as they are ordered: a better ranker passes, a worse one is refused, few feeds say nothing."""

from collections.abc import Sequence

import numpy as np
import pytest

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest
from evaluator.gate.figures.feeds import Feeds, feed_figure
from evaluator.gate.gate import decide
from models.measures.names import FEEDS, NDCG
from models.ranker import Columns, Linear, Scaling
from models.scorer import Floats
from models.training.examples import Example, expected_level
from models.training.served_feeds import ServedFeed
from streams.ranking.feeds import FeedRanker

KNOWN = ("champion", "taste")
LOOKED = tuple(1 / (1 + place) ** 0.5 for place in range(20))
CONFIG = GateConfig(draws=300, latency_calls=5, latency_repeats=1, latency_median=100, latency_p99=100)


def ranker(champion: float, taste: float) -> FeedRanker:
    scaling = Scaling(np.zeros(2, np.float32), np.ones(2, np.float32), np.zeros(2, bool))
    weights = np.array([champion, taste, 0, 0], np.float32)
    return FeedRanker(Linear(Columns.of(KNOWN, KNOWN), scaling, weights))


def served(count: int, seed: int = 0) -> list[ServedFeed]:
    """Feeds that the champion ordered; what is touched follows both features, where it is looked at."""
    chance, found = np.random.default_rng(seed), list[ServedFeed]()
    while len(found) < count:
        rows = chance.normal(size=(80, 2)).astype(np.float32)
        order = np.argsort(-rows[:, 0])
        kept = [*order[:20], *chance.permutation(order[20:])[:10]]
        chances = 1 / (1 + np.exp(4 - rows[kept[:20]] @ np.array([1.0, 1.0])))
        levels = ((chance.random(20) < LOOKED) & (chance.random(20) < chances)) / 3
        if levels.any():
            found.append(
                ServedFeed(
                    shopper=f"u{len(found) % 150}",
                    values=rows[kept].astype("<f2").tobytes(),
                    items=tuple(f"item {number}" for number in range(30)),
                    levels=tuple(levels.tolist()),
                    looked=LOOKED,
                    popularity=(0.0,) * 30,
                    unshown=60,
                    bought=3,
                )
            )
    return found


def even(asks: Sequence[GateRequest]) -> list[Floats]:
    return [np.full((len(ask.items), 4), 0.25, np.float32) for ask in asks]


def sure(chance: float) -> object:
    """Knows what is bought in the lists of searches, and nothing of feeds."""

    def score(asks: Sequence[GateRequest]) -> list[Floats]:
        row = np.array([[chance, 0, 0, 1 - chance], [1 - chance, 0, 0, chance]], "f4")
        return [row[::-1] if ask.query else even([ask])[0] for ask in asks]

    return score


SEARCHES = [Example(query=str(i), item=item, intent=item) for i in range(220) for item in ("buy", "ignore")]


def decision(challenger: FeedRanker, count: int = 500) -> tuple[str, str]:
    feeds = Feeds(served(count), ranker(1, 0), challenger)
    verdict = decide(sure(0.6), sure(0.8), SEARCHES, CONFIG, feeds=feeds)  # type: ignore[arg-type]
    return verdict.decision, verdict.sentence


def test_a_worse_ranker_is_refused_and_an_equal_or_a_better_one_is_not() -> None:
    assert decision(ranker(1, 1))[0] == "passed"
    assert decision(ranker(1, 0))[0] == "passed"
    worse, sentence = decision(ranker(1, -1))
    assert worse == "refused" and f"{NDCG} ({FEEDS})" in sentence
    assert decision(ranker(0, 0))[0] == "refused", "any order at all is worse than the champion's"


def test_few_feeds_say_nothing() -> None:
    assert decision(ranker(1, -1), CONFIG.least_feeds - 1)[0] == "passed"


@pytest.mark.parametrize(("taste", "better"), [(1.0, True), (-1.0, False)])
def test_the_scorers_part_of_the_order_counts(taste: float, better: bool) -> None:
    """Both versions have one ranker; a scorer that knows the taste makes feeds better, its opposite worse."""
    feeds = served(500)
    rows = {one.values: one.features for one in feeds}
    asked = iter([one.values for one in feeds])

    def knowing(asks: Sequence[GateRequest]) -> list[Floats]:
        found = []
        for _ in asks:
            chance = 1 / (1 + np.exp(-taste * rows[next(asked)][:, 1]))
            found.append(np.stack([chance, 0 * chance, 0 * chance, 1 - chance], 1).astype(np.float32))
        return found

    same = ranker(1, 0)
    trained = FeedRanker(same.ranker, trained=True)
    found = feed_figure(Feeds(feeds, same, trained), even, knowing, expected_level, Bootstrap(0.95, 300, 0))
    assert found.difference_low is not None and found.difference_high is not None
    assert found.difference_low > 0 if better else found.difference_high < 0
    assert (found.measure, found.segment, found.counted) == (NDCG, FEEDS, "shoppers")


def test_touches_of_places_that_are_seldom_looked_at_count_for_those_not_seen() -> None:
    """An item at the last place that is touched as often as it is looked at is as good as the first one: the order that
    exchanges them is worth the same."""
    first = ServedFeed(
        shopper="a",
        values=np.array([[1, 0], [0, 0]], "<f2").tobytes(),
        items=("item 1", "item 2"),
        levels=(1.0, 0.0),
        looked=(1.0, 0.25),
        popularity=(0.0, 0.0),
    )
    last = ServedFeed(**{name: getattr(first, name) for name in first.__struct_fields__} | {"levels": (0.0, 1.0)})
    named = [
        ServedFeed(**{name: getattr(one, name) for name in one.__struct_fields__} | {"shopper": f"u{number}"})
        for number, one in enumerate([first] * 4 + [last])
    ]
    feeds = Feeds(named, ranker(1, 0), ranker(-1, 0))
    found = feed_figure(feeds, even, even, expected_level, Bootstrap(0.95, 300, 0))
    assert found.difference == pytest.approx(0.0, abs=1e-9)
