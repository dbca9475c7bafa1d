"""Settings of the rollout: how a challenger is tried, and on what evidence it is promoted or taken back."""

from typing import Annotated

from pydantic import Field

from streams.config import Config, Count, Seconds, Share

Part = Annotated[float, Field(gt=0, lt=1)]


class RolloutConfig(Config):
    """In shadow a challenger answers ``shadow_shelves`` beside the champion; then it gets ``share`` of the shoppers.

    It may take ``slower`` times the champion's time (median), and fail ``failed_share`` of shelves, of at least
    ``shadow_shelves``. ``alpha`` bounds how often click rates that are equal are taken for different, ``alpha_traffic``
    the same for the shoppers' shares; clicks are asked after ``least_impressions`` of the challenger. The gate has
    shown it better, so shoppers need not show that once more: it is also promoted when its click rate is surely above
    ``1 - harm`` times the champion's. It is given up when a worker has not loaded it for ``ready_s``, or after
    ``horizon_s`` of shadow, or of canary, without an answer.
    """

    share: Part = 0.1
    shadow_shelves: Count = 200
    failed_share: Share = 0.01
    slower: Annotated[float, Field(ge=1, le=1_000)] = 1.5
    least_impressions: Count = 1_000
    alpha: Part = 0.05
    alpha_traffic: Part = 0.001
    harm: Share = 0.02
    ready_s: Seconds = 600.0
    horizon_s: Seconds = 7 * 86_400.0
