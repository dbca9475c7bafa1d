"""Is a shelf's short ``reason`` faithful? What it names is left out, or is all that is left, and the score is watched.

Explanations that a worker makes reasons of have the places that the reason names; it gives no numbers, so all that it
names counts alike here. Knows a sample and asks its ablation for scores.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from evaluator.offline.explanations.ablation import Reduced
from evaluator.offline.explanations.explanation import Explained, Explanation, Side
from evaluator.offline.explanations.faithfulness import only, random_order, without
from evaluator.offline.explanations.sample import Sample
from evaluator.offline.resampling import Numbers

DRAWS = 4
"""As many parts drawn at random, so often, stand beside what a reason names."""

Test = tuple[Reduced, Reduced, tuple[Reduced, ...], tuple[Reduced, ...]]
"""A score without what is named, with nothing else, and both for other parts."""


def sides(sample: Sample) -> list[Side]:
    """The sides of which a worker makes reasons."""
    every = (one.sides for some in sample.of.values() for one in some)
    return list(
        dict.fromkeys(side for of in every for side, explanation in of.items() if explanation.named is not None)
    )


def short(explanation: Explanation) -> Explanation:
    """An explanation as its reason tells it: the named parts, all worth the same."""
    told = np.zeros(len(explanation.parts))
    told[list(explanation.named or ())] = 1.0
    return replace(explanation, attributions=told)


def values(sample: Sample, side: Side) -> dict[str, Numbers]:
    """Numbers of the reasons of one side by case, float64 [cases]; NaN where nothing was measured."""
    tests = {place: _tests(sample, place, some, side) for place, some in sample.of.items()}
    sample.ablation.scores([reduced for some in tests.values() for test in some for reduced in _flat(test)])

    def mean(of: Callable[[Test], float]) -> Numbers:
        def number(place: int, _: Sequence[Explained]) -> float:
            return float(np.mean([of(test) for test in tests[place]])) if tests[place] else math.nan

        return sample.values(number)

    def fall(reduced: Sequence[Reduced]) -> float:
        first = reduced[0]
        whole = Reduced(first.target, side, tuple(range(len(sample.ablation.parts(first.target, side)))))
        full, *less = sample.ablation.scores([whole, *reduced])
        return float(full - np.mean(less)) / sample.scale

    return {
        "reason given": sample.values(lambda _, some: float(np.mean([bool(one.sides[side].named) for one in some]))),
        "reason comprehensiveness": mean(lambda test: fall([test[0]])),
        "reason comprehensiveness over random": mean(lambda test: fall([test[0]]) - fall(test[2])),
        "reason sufficiency": mean(lambda test: fall([test[1]])),
        "reason sufficiency over random": mean(lambda test: fall(test[3]) - fall([test[1]])),
    }


def _flat(test: Test) -> list[Reduced]:
    whole = tuple(range(len(test[0].kept) + len(test[1].kept)))
    return [test[0]._replace(kept=whole), test[0], test[1], *test[2], *test[3]]


def _tests(sample: Sample, place: int, some: Sequence[Explained], side: Side) -> list[Test]:
    """Of the explanations whose reason names some parts and not all."""
    chance = np.random.default_rng([sample.bench.seed, place])
    found = []
    for one in some:
        named, count = one.sides[side].named or (), len(one.sides[side].parts)
        if not 0 < len(named) < count or sample.scale <= 0:
            continue
        order = (*named, *(other for other in range(count) if other not in named))
        others = [random_order(count, chance) for _ in range(DRAWS)]
        size = len(named)

        def reduced(kept: tuple[int, ...], one: Explained = one) -> Reduced:
            return Reduced(one.target, side, kept)

        found.append(
            (
                reduced(without(order, size)),
                reduced(only(order, size)),
                tuple(reduced(without(other, size)) for other in others),
                tuple(reduced(only(other, size)) for other in others),
            )
        )
    return found
