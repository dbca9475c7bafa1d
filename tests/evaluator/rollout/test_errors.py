"""How often a canary is promoted or rolled back for nothing, and how soon for something, looked at every second."""

import math
import statistics

import pytest

from benchmarks.canaries import Ended, Shop, live
from evaluator.rollout.config import RolloutConfig

CONFIG = RolloutConfig(share=0.5, horizon_s=200.0)


def lives(shop: Shop, runs: int, config: RolloutConfig = CONFIG) -> list[Ended]:
    return [live(shop, config, seed) for seed in range(runs)]


@pytest.mark.parametrize("varies", [0.5, 1.0])
def test_equal_challengers_are_seldom_taken_for_different(varies: float) -> None:
    """Of 150 runs at most alpha, half of it each way, and two standard errors; of 600 it were 5 (four promoted)."""
    runs = 150
    ends = [ended.action for ended in lives(Shop(varies=varies), runs)]
    for action in ("promote", "roll_back"):
        half = CONFIG.alpha / 2
        assert ends.count(action) / runs <= half + 2 * math.sqrt(half * (1 - half) / runs), action
    assert ends.count("give_up") > 0.9 * runs


@pytest.mark.parametrize(
    ("ratio", "action", "impressions"), [(1.3, "promote", 12_000), (0.5, "roll_back", 4_000), (0.1, "roll_back", 2_500)]
)
def test_what_is_different_is_found_the_sooner_the_larger_it_is(ratio: float, action: str, impressions: int) -> None:
    ends = lives(Shop(ratio=ratio), 40, RolloutConfig(share=0.5, horizon_s=1_000.0))
    assert {ended.action for ended in ends} == {action}
    assert statistics.median(ended.impressions for ended in ends) <= impressions


def test_shoppers_who_are_lost_on_the_way_make_it_give_up() -> None:
    ends = lives(Shop(ratio=1.3, shoppers=2_000, lost=0.3), 20)
    assert [ended.action for ended in ends].count("give_up") >= 19
