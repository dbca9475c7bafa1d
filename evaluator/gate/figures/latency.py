"""Latency of the challenger's calls beside the champion's.

Knows two scorers and a clock. Both answer the same calls one after the other. Who goes first is drawn for each call, so
that other load on the machine affects both alike.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.dataset import GateRequest, Score
from evaluator.gate.thresholds import Figure
from models.measures.names import LATENCY_P50, LATENCY_P99

Times = npt.NDArray[np.float64]

WARM = 3
"""Calls before times are taken."""


def measure(
    champion: Score,
    challenger: Score,
    calls: Sequence[GateRequest],
    repeats: int,
    seed: int,
    clock: Callable[[], float],
) -> tuple[Times, Times]:
    """Seconds of each call, [calls, repeats] of the champion and of the challenger."""
    chance = np.random.default_rng(seed)
    scorers = (champion, challenger)
    for call in calls[:WARM]:
        for score in scorers:
            score([call])
    times = np.zeros((2, len(calls), repeats))
    for repeat in range(repeats):
        for place, call in enumerate(calls):
            for who in chance.permutation(2):
                start = clock()
                scorers[who]([call])
                times[who, place, repeat] = clock() - start
    return times[0], times[1]


def latency_figures(champion: Times, challenger: Times, segment: str, bootstrap: Bootstrap) -> Iterator[Figure]:
    """Medians and 99 % quantiles, in milliseconds. The interval is that of their ratio: calls are resampled."""
    for name, share in ((LATENCY_P50, 0.5), (LATENCY_P99, 0.99)):

        def ratio(rows: npt.NDArray[np.intp], share: float = share) -> Times:
            drawn = (times[rows].reshape(*rows.shape[:-1], -1) for times in (challenger, champion))
            over, under = (np.quantile(some, share, axis=-1) for some in drawn)
            return np.asarray(over / under, np.float64)

        low, high = bootstrap.interval(ratio, len(champion), "percentile", champion.shape[1])
        before, after = (1_000 * float(np.quantile(times, share)) for times in (champion, challenger))
        yield Figure(
            measure=name,
            segment=segment,
            unit="ms",
            value=after,
            reference=before,
            difference=after - before,
            difference_low=(low - 1) * before,
            difference_high=(high - 1) * before,
            count=len(champion),
            counted="calls",
        )
