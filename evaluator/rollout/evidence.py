"""What is known of a challenger at a moment: its stage, what workers made of it in shadow, what shoppers did with it.

Plain values; knows nothing of where they come from.
"""

import math
from typing import Literal, NamedTuple

Stage = Literal["none", "shadow", "canary"]


class Shadow(NamedTuple):
    """Shelves it made beside the champion, and tries that failed; median times of the same asks, in milliseconds; the
    share of its first ten items that are the champion's too."""

    shelves: int = 0
    failed: int = 0
    champion_ms: float = math.nan
    challenger_ms: float = math.nan
    alike: float = math.nan

    @property
    def times(self) -> float:
        """Its time in the champion's; NaN where nothing was timed."""
        return self.challenger_ms / self.champion_ms if self.champion_ms else math.nan


class Canary(NamedTuple):
    """Shelves it made for shoppers, and tries that failed; what came of its impressions and of the champion's.

    ``ratio`` is its click rate in the champion's, surely above ``ratio_low``; ``log10_clicks`` and ``log10_traffic``
    are evidence that this is not one, and that shoppers are not shared out as planned.
    """

    shelves: int = 0
    failed: int = 0
    impressions: int = 0
    clicks: int = 0
    champion_impressions: int = 0
    champion_clicks: int = 0
    ratio: float = math.nan
    ratio_low: float = 0.0
    log10_clicks: float = 0.0
    log10_traffic: float = 0.0


class Seen(NamedTuple):
    """All there is to decide by.

    Attributes
    ----------
    since
        When the stage began (epoch ms).
    share
        Of the shoppers who get it.
    workers, ready
        Those that are alive, and those of them that have it loaded.
    unready_ms
        For how long there has been a worker without it, or no worker; 0 while all have it.
    overtaken
        Whether another champion came into charge since: what was measured is no comparison with it.
    """

    stage: Stage = "none"
    version: str = ""
    since: int = 0
    share: float = 0.0
    workers: int = 0
    ready: int = 0
    unready_ms: int = 0
    overtaken: bool = False
    shadow: Shadow = Shadow()
    canary: Canary = Canary()
