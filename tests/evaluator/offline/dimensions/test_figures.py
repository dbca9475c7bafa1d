"""Every figure of the dimensions, computed another way: by hand, by brute force, by scikit-learn or SciPy."""

from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import ndcg_score

from evaluator.experiments.off_policy import Logs, snips
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions import effect, fairness, robustness, safety
from evaluator.offline.dimensions.dimension import Part
from evaluator.offline.effect.honesty import chance_ndcg
from evaluator.offline.fairness.swaps import plan
from evaluator.offline.perturbations import attack
from evaluator.offline.perturbations.attack import attacks
from evaluator.offline.perturbations.shift import place_of, shift
from tests.evaluator.offline.dimensions.benches import Rank, bench, by_chance, shop
from tests.evaluator.offline.world import bench as bench_of_scores
from tests.evaluator.offline.world import graded

DEEP = 15
"""Candidates of a case: more than are shown."""


def feed(count: int = 40) -> EvaluationData:
    """Lists of clicks with a past, and a training part in which some items sold."""
    chance = np.random.default_rng(5)
    data = shop(count)
    names = list(data.items)
    cases = []
    for number in range(count):
        shown = tuple(names[at] for at in chance.choice(len(names), DEEP, replace=False))
        gains = (chance.random(DEEP) < 0.3).astype(float)
        gains[0] = 1.0
        past = tuple(names[at] for at in chance.choice(len(names), 4))
        cases.append(Case(f"c{number}", shown, gains, "hose", past, shopper=f"ann-{number // 2}"))
    train = [
        Case(f"t{number}", tuple(names[at] for at in chance.choice(len(names), 5, replace=False)), np.eye(5)[0])
        for number in range(200)
    ]
    items = {name: replace(one, seller=f"seller {number % 3}") for number, (name, one) in enumerate(data.items.items())}
    return EvaluationData("feed", "clicks", cases, train, items)


def value(part: Part, measure: str, segment: str = "") -> float:
    [found] = [one.value for one in part.readings if (one.measure, one.segment) == (measure, segment)]
    assert found is not None
    return found


def firsts(data: EvaluationData, rank: Rank, count: int = 10) -> list[list[str]]:
    """The first items of each case."""
    orders = [sorted(zip(-rank(case, data), case.items, strict=True)) for case in data.cases]
    return [[item for _, item in some[:count]] for some in orders]


def measured(dimension: object, data: EvaluationData, rank: Rank) -> Part:
    items = {**data.items, **dimension.further_items(data, 0)}  # type: ignore[attr-defined]
    return dimension.measure(bench(replace(data, items=items), rank))  # type: ignore[attr-defined,no-any-return]


def test_what_of_the_catalogue_is_shown() -> None:
    data = feed()
    part, shown = measured(effect.DIMENSION, data, by_chance), firsts(data, by_chance)
    candidates = {item for case in data.cases for item in case.items}
    assert value(part, "coverage@10") == pytest.approx(len({i for some in shown for i in some}) / len(candidates))
    words = {item: set(one.text.casefold().split()) for item, one in data.items.items()}
    apart = [
        np.mean([1 - len(words[a] & words[b]) / len(words[a] | words[b]) for a, b in combinations(some, 2)])
        for some in shown
    ]
    assert value(part, "diversity@10") == pytest.approx(np.mean(apart))
    seen = Counter(item for case in data.train for item in case.items)
    best = {  # of ties the first of the candidates
        case.id: [
            i for _, _, i in sorted((-seen[item], place, item) for place, item in enumerate(case.items) if seen[item])
        ][:10]
        for case in data.cases
    }
    hits = [
        sum(
            case.gains[case.items.index(item)] > 0 and item not in case.history and item not in best[case.id]
            for item in some
        )
        / 10
        for case, some in zip(data.cases, shown, strict=True)
    ]
    assert value(part, "serendipity@10") == pytest.approx(np.mean(hits))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5).filter(lambda some: len(set(some)) > 1))
def test_the_ndcg_of_a_random_order_is_the_mean_over_all_orders(gains: list[int]) -> None:
    case = Case("c", tuple(map(str, range(len(gains)))), np.array(gains, float))
    scores = list(permutations(range(len(gains))))
    mean = ndcg_score([gains] * len(scores), scores, k=10)
    assert chance_ndcg(case, 0.0) == pytest.approx(mean)


def test_off_policy_value_is_that_of_the_estimator() -> None:
    data, chance = graded(60, each=4, task="clicks"), np.random.default_rng(2)
    propensities = chance.uniform(0.1, 0.9, (60, 4))
    cases = [replace(case, propensities=row) for case, row in zip(data.cases, propensities, strict=True)]
    scores = [chance.permutation(4).astype(float) for _ in cases]
    part = effect.DIMENSION.measure(bench_of_scores(replace(data, cases=cases), scores))
    stays = [float(rankdata(-own)[place] == place + 1) for own in scores for place in range(4)]
    rewards = np.concatenate([case.gains for case in cases])
    expected = snips(Logs(rewards, propensities.ravel(), np.array(stays)), 100.0)
    assert value(part, "off_policy_value") == pytest.approx(expected)


def test_exposure_merit_and_popularity() -> None:
    data = feed()
    part, shown = measured(fairness.DIMENSION, data, by_chance), firsts(data, by_chance)
    weights = [1 / log2(2 + place) for place in range(10)]
    seen, merit = Counter[str](), Counter[str]()
    for case, some in zip(data.cases, shown, strict=True):
        for item, weight in zip(some, weights, strict=True):
            seen[item] += weight
        for item, gain in zip(case.items, case.gains.tolist(), strict=True):
            merit[item] += gain / case.gains.sum() * sum(weights)
    total = seen.total()
    for by, of in (
        ("seller", lambda item: data.items[item].seller),
        ("brand", lambda item: data.items[item].text.split()[0].casefold()),
    ):
        groups = {of(item) for item in data.items}
        shares = {
            group: tuple(sum(v for item, v in some.items() if of(item) == group) / total for some in (seen, merit))
            for group in groups
        }
        assert value(part, f"exposure gap by {by}") == pytest.approx(sum(abs(a - b) for a, b in shares.values()) / 2)
        told = [one for one in part.readings if one.segment.startswith(f"{by}: ")]
        assert told
        for one in told:
            exposed, earned = shares[one.segment.removeprefix(f"{by}: ")]
            assert one.value == pytest.approx(exposed / earned)
    ranked = {item for case in data.cases for item in case.items}
    amounts = np.array([seen[item] for item in ranked])
    gini = np.abs(amounts[:, None] - amounts).mean() / (2 * amounts.mean())
    assert value(part, "gini of exposure") == pytest.approx(gini)
    sold = Counter(case.items[0] for case in data.train)
    lift = np.mean([np.mean([sold[i] for i in some]) for some in shown])
    lift /= np.mean([np.mean([sold[i] for i in case.items]) for case in data.cases])
    assert value(part, "popularity lift") == pytest.approx(lift)
    up = np.mean([np.average([sold[i] for i in some], weights=weights) for some in shown])
    up /= np.mean([np.average([sold[i] for i in case.items], weights=case.gains) for case in data.cases])
    assert value(part, "popularity amplification") == pytest.approx(up)


def test_the_gap_between_segments() -> None:
    data = shop(80)
    part = measured(fairness.DIMENSION, data, by_chance)
    of: dict[str, list[float]] = {"head": [], "tail": []}
    for case in data.cases:
        of[case.segments["query"]].append(ndcg_score([case.gains], [by_chance(case, data)], k=10))
    assert value(part, "ndcg@10 gap", "query") == pytest.approx(abs(np.mean(of["head"]) - np.mean(of["tail"])))


def letters(case: Case, data: EvaluationData) -> Scores:
    """Reads nothing but the first letters: the swapped brand changes the order."""
    return np.array([-float(ord(data.items[item].text[0])) for item in case.items])


def test_pairs_that_turn_round_when_brands_are_swapped() -> None:
    data = shop(60)
    swaps, documents = plan(data, 0)
    part = measured(fairness.DIMENSION, data, letters)
    turned = []
    for swap in swaps:
        initials = [[documents[item].text[0] for item in one.items] for one in (swap.before, swap.after)]
        rows = [
            abs((a > b) - (a < b) - (c > d) + (c < d)) / 2
            for (a, c, x), (b, d, y) in combinations(list(zip(*initials, swap.changed, strict=True)), 2)
            if x or y
        ]
        turned.append(np.mean(rows))
    assert value(part, "brand swap") == pytest.approx(np.mean(turned))


def test_harmful_exposure() -> None:
    data = feed()
    data = replace(data, items={**data.items, "i7": Document("Acme hunting rifle"), "i30": Document("Bolt handgun")})
    part = measured(safety.DIMENSION, data, by_chance)
    weights = np.array([1 / log2(2 + place) for place in range(10)])
    shares = [weights @ [item in {"i7", "i30"} for item in some] / weights.sum() for some in firsts(data, by_chance)]
    assert value(part, "harmful exposure") == pytest.approx(np.mean(shares))
    there = [np.mean([item in {"i7", "i30"} for item in case.items]) for case in data.cases]
    assert value(part, "harmful candidates") == pytest.approx(np.mean(there))


@given(st.integers(0, 10_000))
def test_shifts_are_those_of_scikit_learn_and_of_ranks(seed: int) -> None:
    chance = np.random.default_rng(seed)
    count = int(chance.integers(3, 30))
    gains = chance.integers(0, 4, count).astype(float)
    gains[:2] = 0.0, 3.0
    before, after = (chance.permutation(count).astype(float) for _ in range(2))
    found = shift(Case("c", tuple(map(str, range(count))), gains), before, after, 0.0)
    lost = ndcg_score([gains], [before], k=10) - ndcg_score([gains], [after], k=10)
    assert found.lost == pytest.approx(lost)
    first = min(10, -(-count // 2))
    ranks = [rankdata(-one) for one in (before, after)]
    kept = np.sum((ranks[0] <= first) & (ranks[1] <= first))
    assert found.overlap == pytest.approx(kept / first)
    assert found.flipped == float(np.argmax(before) != np.argmax(after))
    assert place_of(after, 1) == ranks[1][1]


def test_places_that_stuffing_wins() -> None:
    """A contender that counts the query's words: a stuffed listing has three more and stands first."""

    def counts(case: Case, data: EvaluationData) -> Scores:
        texts = [data.items[item].text.split() for item in case.items]
        return np.array([float(text.count(case.query)) for text in texts])

    data = shop(60)
    part = measured(robustness.DIMENSION, data, counts)
    whole = {**data.items, **robustness.DIMENSION.further_items(data, 0)}
    rises = []
    for one in attacks(data, 0, next(k for k in attack.kinds() if k.name == "stuffing")):
        case = data.cases[one.place]
        before = counts(case, data)
        was = rankdata(-before)[one.target]
        for strength, item in zip((1, 2, 3), one.changed, strict=True):
            after = before.copy()
            after[one.target] = whole[item].text.split().count(case.query)
            assert after[one.target] == before[one.target] + strength
            rises.append(was - rankdata(-after)[one.target])
    assert value(part, "places gained", "listing: stuffing") == pytest.approx(np.mean(rises))
