"""The policy: what to do with a challenger now, and why, in figures.

Pure: takes settings, evidence and a clock. Knows nothing of where the figures come from, nor of who changes a slot.
"""

import math
from typing import Literal, NamedTuple

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import Canary, CanaryEvidence, Shadow
from streams.clock import span

Action = Literal["wait", "canary", "promote", "roll_back", "give_up"]


class Decision(NamedTuple):
    """What to do, the reason as a sentence, and the figures that it rests on."""

    action: Action
    words: str
    evidence: Evidence


def decide(config: RolloutConfig, seen: CanaryEvidence, now: int) -> Decision:
    """The decision of a moment; the same input gives the same decision.

    Examples
    --------
    >>> shadow = Shadow(shelves=200, failed=0, champion_ms=4.0, challenger_ms=5.0)
    >>> begun = CanaryEvidence("shadow", "m2", since=0, workers=2, ready=2, shadow=shadow)
    >>> config = RolloutConfig()
    >>> decide(config, begun, 60_000)[:2]
    ('canary', "200 shelves in shadow, 0 failed, 1.25 times the champion's time: 10% of the shoppers get it")
    >>> canary = Canary(9_000, 0, 20_000, 2_000, 180_000, 14_400, 1.25, 1.02, 1.9, 0.1)
    >>> tried = CanaryEvidence("canary", "m2", since=0, share=0.1, workers=2, ready=2, canary=canary)
    >>> found = decide(config, tried, 60_000)
    >>> found.action, found.words.partition(": ")[0]
    ('promote', "click rate 10.00% in 20,000 impressions, against the champion's 8.00%")
    """
    if seen.stage == "none":
        return Decision("wait", "no challenger", {})
    if seen.champion_changed:
        return Decision("give_up", "another champion was promoted: the figures do not compare with it", {})
    found = _shadow(config, seen) if seen.stage == "shadow" else _canary(config, seen.canary)
    if found.action == "wait":
        return _in_time(config, seen, found, now)
    return found


def _in_time(config: RolloutConfig, seen: CanaryEvidence, found: Decision, now: int) -> Decision:
    """Wait, until the time for it is over."""
    if seen.unready_ms >= config.ready_s * 1_000:
        words = f"{seen.ready} of {seen.workers} workers have it loaded, {span(config.ready_s * 1_000)} were enough"
        return Decision("give_up", words, {"workers": seen.workers, "ready": seen.ready})
    if now - seen.since >= config.horizon_s * 1_000:
        return Decision("give_up", f"{found.words}: no answer in {span(config.horizon_s * 1_000)}", found.evidence)
    return found


def _shadow(config: RolloutConfig, seen: CanaryEvidence) -> Decision:
    shadow = seen.shadow
    evidence: Evidence = {"shelves": shadow.shelves, "failed": shadow.failed}
    if math.isfinite(shadow.time_ratio):
        evidence |= {"ms": round(shadow.challenger_ms, 3), "champion ms": round(shadow.champion_ms, 3)}
    words = f"{shadow.shelves:,} shelves in shadow, {shadow.failed:,} failed"
    if _failing(config, shadow):
        return Decision("roll_back", f"{words}: {config.failed_share:.0%} may", evidence)
    if seen.ready < max(1, seen.workers):
        return Decision("wait", f"{seen.ready} of {seen.workers} workers have it loaded", evidence)
    if shadow.shelves < config.shadow_shelves:
        return Decision("wait", f"{words}; {config.shadow_shelves:,} are enough", evidence)
    if not math.isfinite(shadow.time_ratio):
        return Decision("roll_back", f"{words}, none of them timed: it may take too long", evidence)
    words += f", {shadow.time_ratio:.2f} times the champion's time"
    if math.isfinite(shadow.overlap):
        words += f", {shadow.overlap:.0%} of the first ten are the champion's too"
        evidence["alike"] = round(shadow.overlap, 3)
    if shadow.time_ratio > config.slower:
        return Decision("roll_back", f"{words}: {config.slower:g} are allowed", evidence)
    return Decision("canary", f"{words}: {config.share:.0%} of the shoppers get it", evidence)


def _canary(config: RolloutConfig, canary: Canary) -> Decision:
    if _failing(config, canary):
        words = f"{canary.failed:,} of {canary.shelves + canary.failed:,} shelves failed: {config.failed_share:.0%} may"
        return Decision("roll_back", words, {"shelves": canary.shelves, "failed": canary.failed})
    evidence: Evidence = {
        "impressions": canary.impressions,
        "clicks": canary.clicks,
        "champion impressions": canary.champion_impressions,
        "champion clicks": canary.champion_clicks,
        "ratio": round(canary.ratio, 4),
        "ratio at least": round(canary.ratio_low, 4),
        "log10 e-value of clicks": round(canary.log10_clicks, 3),
        "log10 e-value of traffic": round(canary.log10_traffic, 3),
    }
    if canary.log10_traffic >= -math.log10(config.alpha_traffic):
        words = f"shoppers are not shared out as planned, evidence {_odds(canary.log10_traffic)}: clicks say nothing"
        return Decision("give_up", words, evidence)
    words = _click_rates(canary)
    if canary.impressions < config.least_impressions:
        return Decision("wait", f"{words}; {config.least_impressions:,} impressions are the least", evidence)
    if canary.log10_clicks >= -math.log10(config.alpha):
        return Decision("promote" if canary.ratio > 1 else "roll_back", words, evidence)
    if canary.ratio_low >= 1 - config.harm:
        words += f"; surely at least {canary.ratio_low:.3f} times, and {1 - config.harm:.3g} is enough: "
        words += "the gate shows whether it is better, the canary whether shoppers lose by it"
        return Decision("promote", words, evidence)
    words += f"; {1 / config.alpha:.0f} to 1 is enough, or surely at least {1 - config.harm:.3g} times"
    return Decision("wait", words, evidence)


def _failing(config: RolloutConfig, stage: Shadow | Canary) -> bool:
    return stage.failed > config.failed_share * max(stage.shelves + stage.failed, config.shadow_shelves)


def _click_rates(canary: Canary) -> str:
    words = f"click rate {_rate(canary.clicks, canary.impressions)} in {canary.impressions:,} impressions, "
    if not canary.champion_impressions:
        return words + "the champion's is unknown"
    words += f"against the champion's {_rate(canary.champion_clicks, canary.champion_impressions)}"
    if math.isfinite(canary.ratio):
        words += f": {canary.ratio:.2f} times, evidence {_odds(canary.log10_clicks)} of a difference"
    return words


def _rate(clicks: int, impressions: int) -> str:
    return f"{clicks / impressions:.2%}" if impressions else "unknown"


def _odds(log10: float) -> str:
    """An e-value as odds.

    Examples
    --------
    >>> _odds(1.3), _odds(-0.5), _odds(12.4)
    ('20 to 1', '0.32 to 1', '10^12 to 1')
    """
    if log10 >= 6:
        return f"10^{log10:.0f} to 1"
    return f"{10**log10:,.0f} to 1" if log10 >= 1 else f"{10**log10:.2g} to 1"
