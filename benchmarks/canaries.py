"""How does a canary end, and after how many impressions, by how good the challenger is?

Simulated shoppers who differ in how readily they click, watched by the rollout's policy at every second; once as it is
(``harm`` 0.02), once as it would be if shoppers had to show the challenger better once more (``harm`` 0).
``python -m benchmarks.canaries --json F --runs 200``
"""

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.progress import track

from benchmarks.report import Report
from benchmarks.smoke import Scale, smoke
from evaluator.experiments.click_test import ClickTest
from evaluator.experiments.dispersion import GROUPS, Dispersion, of_ratio
from evaluator.experiments.evalue import EValue
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import Canary, CanaryEvidence
from evaluator.rollout.policy import Action, decide


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
        (other_shown, other_clicks), (mine_shown, mine_clicks) = counts.tolist()
        ratio, low, _ = test.ratio()
        canary = Canary(
            shelves=mine_shown,
            impressions=mine_shown,
            clicks=mine_clicks,
            champion_impressions=other_shown,
            champion_clicks=other_clicks,
            ratio=ratio,
            ratio_low=low,
            log10_clicks=test.log10(),
            log10_traffic=traffic.log() / math.log(10),
        )
        seen = CanaryEvidence("canary", "m2", since=0, share=config.share, workers=1, ready=1, canary=canary)
        decision = decide(config, seen, now * 1_000)
        if decision.action != "wait":
            break
    assert decision is not None
    return Ended(decision.action, int(counts[:, 0].sum()), now)


CASES = (
    (Shop(ratio=1.0), 0.5, 60_000),
    (Shop(ratio=1.0, varies=1.0), 0.5, 60_000),
    (Shop(ratio=1.0, shoppers=5_000), 0.1, 60_000),
    (Shop(ratio=1.3), 0.5, 60_000),
    (Shop(ratio=1.3, shoppers=2_000), 0.5, 60_000),
    (Shop(ratio=1.3, shoppers=5_000), 0.1, 60_000),
    (Shop(ratio=1.2), 0.5, 300_000),
    (Shop(ratio=0.95), 0.5, 300_000),
    (Shop(ratio=0.8), 0.5, 300_000),
    (Shop(ratio=0.5), 0.5, 60_000),
    (Shop(ratio=0.5, shoppers=5_000), 0.1, 60_000),
)
"""Shops, the canary's share, and impressions of both arms after which it is given up."""


@smoke(runs=1, scale=0.05)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Canaries of each kind.")] = 100,
    scale: Scale = 1.0,
) -> None:
    """Simulate."""
    report = Report("canaries", runs=runs, click_rate=Shop().rate, impressions_per_s=Shop().per_s)
    for shop, share, most in CASES:
        for harm in (RolloutConfig().harm, 0.0):
            config = RolloutConfig(share=share, harm=harm, horizon_s=scale * most / shop.per_s)
            what = f"{shop.ratio:g}, {shop.shoppers:,} shoppers, {share:.0%}"
            found = [live(shop, config, seed) for seed in track(range(runs), f"{what}, harm {harm:g}", transient=True)]
            ends = Counter(one.action for one in found)
            shown = [one.impressions for one in found if one.action != "give_up"]
            report.row(
                ratio=shop.ratio,
                varies=shop.varies,
                shoppers=shop.shoppers,
                share=share,
                most=most,
                harm=harm,
                promoted=ends["promote"],
                rolled_back=ends["roll_back"],
                given_up=ends["give_up"],
                **{
                    f"{name}_impressions": float(np.quantile(shown, level)) if shown else None
                    for name, level in (("low", 0.1), ("median", 0.5), ("high", 0.9))
                },
            )
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
