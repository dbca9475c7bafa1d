"""Canaries with simulated shoppers who differ in how readily they click, watched by the policy at every second."""

import math
from typing import NamedTuple

import numpy as np

from evaluator.experiments.click_rates import ClickTest
from evaluator.experiments.dispersion import GROUPS, Dispersion, of_ratio
from evaluator.experiments.evalue import EValue
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.policy import Action, decide
from evaluator.rollout.seen import Canary, Seen


class Ended(NamedTuple):
    """How a canary ended: what was decided, after how many impressions of both arms, and seconds."""

    action: Action
    impressions: int
    seconds: int


class Shop(NamedTuple):
    """Shoppers of a canary: how many, impressions a second, the champion's click rate, how much readiness varies
    (standard deviation over mean, a gamma distribution), the canary's rate in the champion's, seconds in a block, share
    of the canary's shoppers who are never seen."""

    shoppers: int = 500
    per_s: int = 100
    rate: float = 0.08
    varies: float = 0.5
    ratio: float = 1.0
    block_s: int = 5
    lost: float = 0.0


def live(shop: Shop, config: RolloutConfig, seed: int) -> Ended:
    """Let a canary live until the policy decides or its horizon is reached."""
    chance = np.random.default_rng(seed)
    shape = 1 / shop.varies**2
    in_canary = chance.random(shop.shoppers) < config.share
    rates = np.minimum(shop.rate * chance.gamma(shape, 1 / shape, shop.shoppers), 1)
    rates = np.minimum(np.where(in_canary, shop.ratio * rates, rates), 1)
    there = np.flatnonzero(~in_canary | (chance.random(shop.shoppers) >= shop.lost))
    test, groups = ClickTest(), np.arange(shop.shoppers) % GROUPS
    sums = np.zeros((2, 2, GROUPS), np.int64)  # arm; shown, clicked
    block, counts, met = np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int64), np.zeros(shop.shoppers, bool)
    decision, now = None, 0
    while now < 10 * config.horizon_s:
        now += 1
        who = chance.choice(there, size=shop.per_s)
        clicked = chance.random(len(who)) < rates[who]
        met[who] = True
        for arm in (0, 1):
            mine = in_canary[who] == bool(arm)
            found = np.array([mine.sum(), clicked[mine].sum()])
            block[arm] += found
            counts[arm] += found
            np.add.at(sums[arm, 0], groups[who[mine]], 1)
            np.add.at(sums[arm, 1], groups[who[mine]], clicked[mine])
        if now % shop.block_s == 0:
            test.update(*block[1].tolist(), *block[0].tolist())
            spread = [
                Dispersion.load({"impressions": sums[arm, 0].tolist(), "clicks": sums[arm, 1].tolist()})
                for arm in (0, 1)
            ]
            test.dispersion = of_ratio(spread[1], test.clicks, spread[0], test.other_clicks)
            block[:] = 0
        traffic = EValue(config.share)
        traffic.update(int(met[in_canary].sum()), int(met[~in_canary].sum()))
        canary = Canary(
            int(counts[1, 0]), 0, *counts[1].tolist(), *counts[0].tolist(),
            *test.ratio()[:2], test.log10(), traffic.log() / math.log(10),
        )  # fmt: skip
        seen = Seen("canary", "m2", since=0, share=config.share, workers=1, ready=1, canary=canary)
        decision = decide(config, seen, now * 1_000)
        if decision.action != "wait":
            break
    assert decision is not None
    return Ended(decision.action, int(counts[:, 0].sum()), now)
