"""The names of measures that the gate, the offline evaluation and the live metrics share.

Values only. Where a name cannot be the same online, :data:`ONLINE` has what stands for it; ``docs/measures.md`` is the
same table in words.
"""

LOG_LOSS = "log_loss"
NDCG = "ndcg@10"
MRR = "mrr"
ECE = "ece"
RANK_CORRELATION = "rank correlation"
EXPOSURE_BY_ITEM = "exposure by item"
EXPOSURE_BY_BRAND = "exposure by brand"
COVERAGE = "coverage@10"
NOVELTY = "novelty@10"
DIVERSITY = "diversity@10"
LATENCY_P50 = "latency p50"
LATENCY_P99 = "latency p99"

ONLINE = {
    COVERAGE: "coverage",
    ECE: "calibration",
    EXPOSURE_BY_BRAND: "exposure",
}
"""The beginning of the series' names, of measures that are not labels of ``measure_sum`` and ``measure_count``: a name
of Prometheus has no ``@`` and no spaces."""


FEEDS = "feeds"
"""The segment of figures of feeds as workers order them."""


def perturbed(kind: str) -> str:
    """The segment of figures of queries that are written differently.

    Examples
    --------
    >>> perturbed("keyboard")
    'perturbation: keyboard, strength 1'
    """
    return f"perturbation: {kind}, strength 1"


def candidates(count: int) -> str:
    """The segment of figures of calls with so many candidates.

    Examples
    --------
    >>> candidates(1_000)
    'candidates: 1,000'
    """
    return f"candidates: {count:,}"
