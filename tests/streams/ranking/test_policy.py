from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.config import PolicyConfig, PolicyStep
from streams.events.shelf import shelf_id
from streams.ranking.candidates import EXPLORED
from streams.ranking.policy import STEPS, Facts, Rankings, pipeline
from streams.ranking.policy.steps import BrandCap, Diversity, Exploration, Fatigue, Variants

SLOTS = 60
ORDERS: list[tuple[PolicyStep, ...]] = [
    (*order, "exploration")
    for order in permutations(("in_stock", "already_bought", "variants", "fatigue", "brand_cap", "diversity"))
]
VECTORS = np.random.default_rng(0).normal(size=(SLOTS, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def context(**changes: Any) -> Facts:
    """The facts of one shelf."""
    facts: dict[str, Any] = {
        "in_stock": np.ones(SLOTS, dtype=np.bool_),
        "brands": np.full(SLOTS, -1, dtype=np.int32),
        "groups": np.full(SLOTS, -1, dtype=np.int32),
        "vectors": VECTORS.__getitem__,
        "bought": np.zeros(0, np.int64),
        "overlooked": {},
        "seed": 1,
        "length": 5,
    } | changes
    several = {"bought": [facts.pop("bought")], "overlooked": [facts.pop("overlooked")], "seeds": [facts.pop("seed")]}
    return Facts(**facts, **several)


def of(slots: np.ndarray, scores: np.ndarray) -> Rankings:
    return Rankings.of([len(slots)], slots, scores, np.ones(len(slots), np.uint16))


def ranking(n: int) -> Rankings:
    return of(np.arange(n), np.linspace(1, 0, n))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rankings, Facts]:
    slots = draw(st.lists(st.integers(0, SLOTS - 1), unique=True, max_size=SLOTS))
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]) | st.floats(-1, 1), min_size=SLOTS, max_size=SLOTS))
    return (
        of(np.array(slots, dtype=np.int64), np.array(scores[: len(slots)])),
        context(
            in_stock=np.array(draw(st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS))),
            brands=np.array(draw(st.lists(st.integers(-1, 4), min_size=SLOTS, max_size=SLOTS)), dtype=np.int32),
            groups=np.array(draw(st.lists(st.integers(-1, 30), min_size=SLOTS, max_size=SLOTS)), dtype=np.int32),
            bought=np.array(sorted(draw(st.sets(st.integers(0, SLOTS - 1), max_size=20))), np.int64),
            overlooked=draw(st.dictionaries(st.integers(0, SLOTS - 1), st.floats(0, 10), max_size=20)),
            seed=draw(st.integers(0, 2**60)),
            length=draw(st.integers(1, 20)),
        ),
    )


@settings(max_examples=200, deadline=None)
@given(
    cases(), st.sampled_from(ORDERS), st.integers(1, 6), st.sampled_from([0.0, 0.15, 1.0]), st.sampled_from([0, 0.5, 1])
)
def test_any_order_of_steps_keeps_the_promises(
    case: tuple[Rankings, Facts],
    steps: tuple[PolicyStep, ...],
    cap: int,
    diversity: float,
    exploration: float,
) -> None:
    found, facts = case
    facts = replace(facts, groups=np.full(SLOTS, -1, np.int32))
    stock, brands, [overlooked] = facts.in_stock, facts.brands, facts.overlooked
    config = PolicyConfig(
        steps=steps, brand_cap=cap, diversity=diversity, exploration=exploration, exploration_position=2
    )
    shelf = pipeline(config).apply(found, facts)
    shown = shelf.slots.tolist()
    eligible = [slot for slot in found.slots.tolist() if stock[slot] and slot not in facts.bought[0]]
    assert len(set(shown)) == len(shown) == min(facts.length, len(eligible))
    assert set(shown) <= set(eligible)
    score = dict(zip(found.slots.tolist(), found.scores.tolist(), strict=True))
    for slot, worth in zip(shown, shelf.scores.tolist(), strict=True):
        assert worth == score[slot] or (worth < score[slot] and overlooked[slot] > 0)
    assert ((shelf.propensities > 0) & (shelf.propensities <= 1)).all()
    assert np.count_nonzero(shelf.propensities < 1) <= 1
    assert shelf.slots.tolist() == pipeline(config).apply(found, facts).slots.tolist()
    per_brand = Counter(brands[slot] for slot in eligible if brands[slot] >= 0)
    room = sum(min(count, cap) for count in per_brand.values()) + sum(brands[slot] < 0 for slot in eligible)
    if room >= facts.length and steps.index("brand_cap") > max(steps.index("in_stock"), steps.index("already_bought")):
        assert all(count <= cap for brand, count in Counter(brands[shown].tolist()).items() if brand >= 0)


def test_steps_can_be_left_out() -> None:
    facts = context(in_stock=np.zeros(SLOTS, dtype=np.bool_))
    assert len(pipeline(PolicyConfig(steps=())).apply(ranking(10), facts).slots) == 5
    assert len(pipeline(PolicyConfig(steps=("in_stock",))).apply(ranking(10), facts).slots) == 0


def test_every_step_of_the_settings_is_there() -> None:
    assert set(STEPS) == set(PolicyConfig().steps)


@pytest.mark.parametrize("steps", [("exploration", "in_stock"), ("in_stock", "in_stock")])
def test_refuses_orders_that_cannot_be_true(steps: tuple[PolicyStep, ...]) -> None:
    with pytest.raises(ValueError, match=r"last step|twice"):
        pipeline(PolicyConfig(steps=steps))


def test_unusable_scores_are_left_out() -> None:
    scores = np.array([0.2, np.nan, np.inf, 0.3, -np.inf])
    assert of(np.arange(5), scores).slots.tolist() == [3, 0]


def test_overflow_of_a_brand_goes_behind_in_its_order_and_fills_a_short_shelf() -> None:
    brands = np.array([1, 1, 1, -1, 1, -1, -1, 2], dtype=np.int32)
    capped = BrandCap(2).apply(ranking(8), context(brands=brands))
    assert capped.slots.tolist() == [0, 1, 3, 5, 6, 7, 2, 4]
    assert capped.fronts.tolist() == [6]
    same = np.ones(SLOTS, dtype=np.int32)
    capping = pipeline(PolicyConfig(steps=("brand_cap",), brand_cap=2))
    shelf = capping.apply(ranking(8), context(brands=same))
    assert shelf.slots.tolist() == [0, 1, 2, 3, 4]


def test_of_each_group_of_variants_the_highest_is_kept() -> None:
    groups = np.array([-1, 3, 3, -1, 2, 3, 2, -1], dtype=np.int32)
    found = ranking(8).reorder(np.array([6, 5, 0, 1, 2, 3, 4, 7]))
    assert Variants().apply(found, context(groups=groups)).slots.tolist() == [6, 5, 0, 3, 7]
    assert Variants().apply(found, context()) is found


def joined(several: list[tuple[Rankings, Facts]]) -> tuple[Rankings, Facts]:
    """One batch of several rankings, under the facts about items of the first."""
    found, facts = [one for one, _ in several], [one for _, one in several]
    names = ("rows", "slots", "scores", "reasons", "propensities", "fronts")
    shelves = np.concatenate([one.shelves + number for number, one in enumerate(found)])
    together = Rankings(shelves, *(np.concatenate([getattr(one, name) for one in found]) for name in names))
    own = {name: [getattr(one, name)[0] for one in facts] for name in ("bought", "overlooked", "seeds")}
    return together, replace(facts[0], **own)


@settings(max_examples=100, deadline=None)
@given(st.lists(cases(), min_size=1, max_size=4), st.sampled_from(ORDERS))
def test_the_policy_of_a_batch_is_that_of_each_shelf_alone(
    several: list[tuple[Rankings, Facts]], steps: tuple[PolicyStep, ...]
) -> None:
    policy = pipeline(PolicyConfig(steps=steps, brand_cap=3, diversity=0.3, exploration=0.5, exploration_position=2))
    rankings, facts = joined(several)
    together = policy.apply(rankings, facts)
    for number, (one, own) in enumerate(several):
        shared = replace(facts, bought=own.bought, overlooked=own.overlooked, seeds=own.seeds)
        alone, among = policy.apply(one, shared).shelf(0), together.shelf(number)
        for name in alone._fields:
            assert getattr(alone, name).tolist() == getattr(among, name).tolist()


def textbook_mmr(found: Rankings, strength: float, length: int) -> list[int]:
    spread = found.scores.max() - found.scores.min()
    relevance = {
        slot: (score - found.scores.min()) / spread for slot, score in zip(found.slots, found.scores, strict=True)
    }
    picked: list[int] = []
    while len(picked) < length:
        left = [slot for slot in found.slots.tolist() if slot not in picked]
        value = {
            slot: (1 - strength) * relevance[slot]
            - strength * max((float(VECTORS[slot] @ VECTORS[other]) for other in picked), default=0.0)
            for slot in left
        }
        picked.append(max(left, key=lambda slot: value[slot]))
    return picked


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_diversity_is_textbook_mmr(strength: float) -> None:
    scores = np.random.default_rng(5).random(40)
    found = of(np.arange(40), scores)
    diverse = Diversity(strength).apply(found, context(length=12))
    assert diverse.slots[:12].tolist() == textbook_mmr(found, strength, 12)
    assert sorted(diverse.slots.tolist()) == list(range(40))
    rest = [slot for slot in found.slots.tolist() if slot not in diverse.slots[:12]]
    assert diverse.slots[12:].tolist() == rest


def test_diversity_parts_twins_and_off_changes_nothing() -> None:
    twins = np.eye(8, dtype=np.float32)[[0, 0, 1, 2]]
    facts = context(vectors=twins.__getitem__, length=3)
    found = of(np.arange(4), np.array([1.0, 0.99, 0.9, 0.0]))
    assert Diversity(0.3).apply(found, facts).slots.tolist()[:2] == [0, 2]
    assert Diversity(0.0).apply(found, facts) is found


def test_diversity_survives_equal_scores() -> None:
    found = of(np.arange(6), np.full(6, 0.5))
    assert sorted(Diversity(1.0).apply(found, context()).slots.tolist()) == list(range(6))


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("shape", [np.linspace(1, 0, 60), np.geomspace(1, 1e-9, 60), -(np.arange(60.0) ** 3)])
def test_what_was_overlooked_moves_back_by_half_a_shelf_each_time_on_any_scale(scale: float, shape: np.ndarray) -> None:
    found = of(np.arange(60), shape * scale)
    seen = {slot: 3.0 for slot in range(20) if slot != 7}
    moved = Fatigue(0.5).apply(found, context(overlooked=seen, length=20))
    fresh = [7, *range(20, 31)]
    assert moved.slots[:12].tolist() == fresh, "three times: a shelf and a half"
    assert moved.slots[12:20].tolist() == [0, 31, 1, 32, 2, 33, 3, 34][:8]
    assert (np.diff(moved.scores) <= 0).all() and set(moved.slots.tolist()) == set(range(60))
    assert moved.propensities.tolist() == [1.0] * 60
    once = Fatigue(0.5).apply(found, context(overlooked={0: 1.0}, length=20)).slots.tolist()
    assert once.index(0) == 10 and Fatigue(0.5).apply(found, context(overlooked={0: 0.001}, length=20)).slots[0] == 0


def test_fatigue_leaves_other_items_their_order_and_scores_and_stays_in_the_front() -> None:
    found = ranking(12)
    assert Fatigue(0.5).apply(found, context(overlooked={50: 2.0})) is found
    assert Fatigue(0.0).apply(found, context(overlooked={1: 2.0})) is found
    behind = replace(found, fronts=np.array([6]))
    moved = Fatigue(9.0).apply(behind, context(overlooked={0: 2.0, 8: 2.0}))
    assert moved.slots.tolist() == [1, 2, 3, 4, 5, 0, *range(6, 12)] and moved.fronts.tolist() == [6]
    assert moved.scores[:5].tolist() == found.scores[1:6].tolist() and moved.scores[5] < found.scores[5]


def seeds(n: int) -> list[int]:
    return [int(shelf_id("feed", "k", str(event), "m"), 16) for event in range(n)]


def test_logged_propensities_are_the_frequencies() -> None:
    n, epsilon = 20_000, 0.4
    step, found = Exploration(epsilon, position=2), ranking(9)
    seen: Counter[int] = Counter()
    logged: dict[int, float] = {}
    for seed in seeds(n):
        shelf = step.apply(found, context(seed=seed)).head(5)
        slot = int(shelf.slots[2])
        seen[slot] += 1
        logged[slot] = float(shelf.propensities[2])
        assert shelf.propensities[[0, 1, 3, 4]].tolist() == [1] * 4
        assert shelf.slots[[0, 1, 3, 4]].tolist() == [0, 1, 3, 4]
        assert bool(shelf.reasons[2] & EXPLORED) == (slot != 2)
    assert set(logged) == {2, 5, 6, 7, 8}
    assert sum(logged.values()) == pytest.approx(1)
    for slot, propensity in logged.items():
        assert seen[slot] / n == pytest.approx(propensity, abs=4 * (propensity * (1 - propensity) / n) ** 0.5)


def test_inverse_propensity_estimates_are_unbiased() -> None:
    """Value of a policy that was never run, from logs of this one, by their logged propensities alone."""
    n, rewards = 20_000, np.array([0, 0, 0.2, 0, 0, 0.9, 0.4, 0.1, 0.6])
    target = {2: 0.1, 5: 0.3, 6: 0.3, 7: 0.2, 8: 0.1}
    truth = sum(share * rewards[slot] for slot, share in target.items())
    step, found, terms = Exploration(0.4, position=2), ranking(9), []
    for seed in seeds(n):
        shelf = step.apply(found, context(seed=seed)).head(5)
        slot = int(shelf.slots[2])
        terms.append(target[slot] / float(shelf.propensities[2]) * rewards[slot])
    assert np.mean(terms) == pytest.approx(truth, abs=4 * np.std(terms) / n**0.5)


@pytest.mark.parametrize(("candidates", "position"), [(5, 2), (3, 2), (9, 5), (0, 0)])
def test_nothing_is_left_to_chance_where_nothing_can_be_drawn(candidates: int, position: int) -> None:
    found = ranking(candidates)
    assert Exploration(1.0, position).apply(found, context()) is found


def test_exploration_does_not_break_the_brand_cap() -> None:
    brands = np.array([1] * 6 + [-1] * 5, dtype=np.int32)
    config = PolicyConfig(steps=("brand_cap", "exploration"), brand_cap=2, exploration=1, exploration_position=3)
    drawn = Counter[int]()
    for seed in seeds(200):
        shelf = pipeline(config).apply(ranking(11), context(brands=brands, seed=seed))
        assert np.count_nonzero(brands[shelf.slots] == 1) <= 2
        drawn[int(shelf.slots[3])] += 1
    assert set(drawn) == {9, 10}
