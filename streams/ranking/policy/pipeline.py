"""Turns rankings into shelves: applies the steps that settings name, in their order.

Knows every step by name, and nothing of how a step works.
"""

from collections.abc import Callable, Sequence

from streams.config import PolicyConfig, PolicyStep
from streams.ranking.policy.ranking import Rankings
from streams.ranking.policy.steps import (
    AlreadyBought,
    BrandCap,
    Diversity,
    Exploration,
    Facts,
    Fatigue,
    InStock,
    Step,
    Variants,
)

STEPS: dict[PolicyStep, Callable[[PolicyConfig], Step]] = {
    "in_stock": lambda _: InStock(),
    "already_bought": lambda _: AlreadyBought(),
    "variants": lambda _: Variants(),
    "fatigue": lambda config: Fatigue(config.fatigue),
    "brand_cap": lambda config: BrandCap(config.brand_cap),
    "diversity": lambda config: Diversity(config.diversity),
    "exploration": lambda config: Exploration(config.exploration, config.exploration_position),
}


class Policy:
    """Applies steps one after the other, then cuts the rankings to the shelf's length."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """The shelves of a batch: at most ``facts.length`` places each."""
        for step in self._steps:
            rankings = step.apply(rankings, facts)
        return rankings.head(facts.length)


def pipeline(config: PolicyConfig) -> Policy:
    """The policy that settings describe.

    Raises
    ------
    ValueError
        When a step is named twice, or a step follows ``exploration``: it would make the logged propensities wrong.

    Examples
    --------
    >>> pipeline(PolicyConfig(steps=("exploration", "in_stock")))
    Traceback (most recent call last):
    ...
    ValueError: exploration must be the last step
    """
    if len(set(config.steps)) < len(config.steps):
        raise ValueError("a policy step is named twice")
    if "exploration" in config.steps[:-1]:
        raise ValueError("exploration must be the last step")
    return Policy([STEPS[name](config) for name in config.steps])
