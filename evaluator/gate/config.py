"""Settings of the gate: how good a challenger must be, and how much worse than the champion it may be."""

from typing import Annotated

from pydantic import Field

from streams.config import Config, Count, Share

Margin = Annotated[float, Field(ge=0, le=1_000)]
Effect = Annotated[float, Field(gt=0, le=1_000)]
Ratio = Annotated[float, Field(ge=1, le=1_000)]


class GateConfig(Config):
    """Margins are of differences, challenger minus champion; ``loss_margin`` and ``loss_effect`` are shares of the
    champion's log loss. ``loss_effect`` is the smallest gain worth having: a slice that cannot show it is too small.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    draws: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    least_shoppers: Annotated[int, Field(ge=2, le=10_000_000)] = 200
    least_queries: Annotated[int, Field(ge=2, le=10_000_000)] = 200
    most_contexts: Count = 5_000
    loss_margin: Margin = 0.0
    loss_effect: Effect = 0.01
    ndcg_margin: Effect = 0.01
    calibration_margin: Margin = 0.01
    pool: Count = 100
    latency_calls: Count = 100
    latency_repeats: Count = 5
    latency_median: Ratio = 1.25
    latency_p99: Ratio = 1.5
    robustness_contexts: Count = 300
    robustness_order: Margin = 0.03
    robustness_ndcg: Margin = 0.01
    exposure_contexts: Count = 200
    exposure_brand: Share = 0.5
    exposure_item: Share = 0.8
