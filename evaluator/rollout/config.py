"""Settings of the rollout: how a challenger is tested, and on what evidence it is promoted or rolled back."""

from typing import Annotated

from pydantic import Field

from streams.config import Config, Count, Seconds, Share

Part = Annotated[float, Field(gt=0, lt=1)]


class RolloutConfig(Config):
    """In shadow a challenger answers ``shadow_shelves`` beside the champion; then it gets ``share`` of the shoppers.

    It may take ``slower`` times the champion's median time, and may fail on ``failed_share`` of shelves, of at least
    ``shadow_shelves``. ``alpha`` bounds the probability that equal click rates are taken for different;
    ``alpha_traffic`` does the same for the shares of shoppers. Clicks are compared after ``least_impressions`` of the
    challenger. The gate has shown that it is better, so the canary only has to exclude harm: it is also promoted when
    the lower bound of its click rate is above ``1 - harm`` times the champion's. It is given up when a worker has not
    loaded it for ``ready_s``, or after ``horizon_s`` of shadow, or of canary, without a result.
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
