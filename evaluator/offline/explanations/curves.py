"""How faithful the explanations of a sample are: each against random words and against words of the same lengths.

Knows a sample and asks its ablation for scores.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluator.offline.explanations.ablation import Reduced
from evaluator.offline.explanations.explanation import Side, Target
from evaluator.offline.explanations.faithfulness import (
    CURVE,
    Faithfulness,
    Order,
    best_first,
    faithfulness,
    length_matched,
    needed,
    random_order,
)
from evaluator.offline.explanations.sample import Sample
from evaluator.offline.resampling import Numbers


class Three(NamedTuple):
    """The faithfulness of an explanation's order, of a random one, and of one of words of the same lengths."""

    own: Faithfulness
    random: Faithfulness
    matched: Faithfulness


def _won(one: Three) -> float:
    """The share of both curves that are better than those of the random order; equal ones count half."""
    deletion = np.sign(one.random.deletion_area - one.own.deletion_area)
    insertion = np.sign(one.own.insertion_area - one.random.insertion_area)
    return float(0.5 + (deletion + insertion) / 4)


NUMBERS: dict[str, Callable[[Three], float]] = {
    "comprehensiveness": lambda one: one.own.comprehensiveness,
    "sufficiency": lambda one: one.own.sufficiency,
    "deletion area": lambda one: one.own.deletion_area,
    "insertion area": lambda one: one.own.insertion_area,
    "deletion over random": lambda one: one.random.deletion_area - one.own.deletion_area,
    "deletion over length-matched": lambda one: one.matched.deletion_area - one.own.deletion_area,
    "insertion over random": lambda one: one.own.insertion_area - one.random.insertion_area,
    "insertion over length-matched": lambda one: one.own.insertion_area - one.matched.insertion_area,
    "better than random": _won,
}
"""Numbers of one explanation, in standard deviations of the contender's scores."""


def measured(sample: Sample) -> dict[Side, dict[int, list[Three]]]:
    """By side and by place of the case; only explanations that say something of at least two parts."""
    orders = _orders(sample)
    wanted = (
        Reduced(one, side, kept)
        for (_, one, side), three in orders.items()
        for kept in dict.fromkeys(kept for order in three for kept in needed(order))
    )
    sample.ablation.scores(list(wanted))  # all in one call; below they are known
    found: defaultdict[Side, defaultdict[int, list[Three]]] = defaultdict(lambda: defaultdict(list))
    for (place, one, side), three in orders.items():

        def score(kept: tuple[int, ...], one: Target = one, side: Side = side) -> float:
            return float(sample.ablation.scores([Reduced(one, side, kept)])[0]) / sample.scale

        found[side][place].append(Three(*(faithfulness(order, score) for order in three)))
    return {side: dict(by_place) for side, by_place in found.items()}


def values(sample: Sample, of: dict[int, list[Three]]) -> dict[str, Numbers]:
    """:data:`NUMBERS` of one side by case, float64 [cases]; NaN where nothing was measured."""
    found = {}
    for name, number in NUMBERS.items():
        numbers = np.full(len(sample.bench.data.cases), np.nan)
        for place, some in of.items():
            numbers[place] = np.mean([number(one) for one in some])
        found[name] = numbers
    return found


def curves(of: dict[int, list[Three]]) -> dict[str, Any]:
    """Mean changes of the score at each share of the words, for a picture."""
    flat = [one for some in of.values() for one in some]
    return {
        "shares": list(CURVE),
        **{
            curve: {
                "explanation": _mean([getattr(one.own, curve) for one in flat]),
                "random": _mean([getattr(one.random, curve) for one in flat]),
                "length-matched": _mean([getattr(one.matched, curve) for one in flat]),
            }
            for curve in ("deletion", "insertion")
        },
    }


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [float(value) for value in np.mean(rows, axis=0)]


def _orders(sample: Sample) -> dict[tuple[int, Target, Side], tuple[Order, Order, Order]]:
    found = {}
    for place, some in sample.of.items():
        chance = np.random.default_rng([sample.bench.seed, place])
        for one in some:
            for side, explanation in one.sides.items():
                parts = sample.ablation.parts(one.target, side) if side in sample.ablation.sides else ()
                if len(parts) > 1 and explanation.says_something and sample.scale > 0:
                    own = best_first(explanation.attributions)
                    matched = length_matched(own, sample.ablation.lengths(parts, side), chance)
                    found[place, one.target, side] = (own, random_order(len(own), chance), matched)
    return found
