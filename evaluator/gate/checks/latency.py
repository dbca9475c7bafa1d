"""Latency of the challenger's calls relative to the champion's.

Knows two scorers and a clock. Both answer the same calls one after the other. Who goes first is drawn for each call, so
that other load on the machine affects both alike.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Score
from evaluator.gate.report import Check

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


def latency_checks(champion: Times, challenger: Times, config: GateConfig, bootstrap: Bootstrap) -> Iterator[Check]:
    """Ratios of medians and of 99 % quantiles; they pass unless the ratio's whole interval is above its limit."""
    for name, share, limit in (("median", 0.5, config.latency_median), ("p99", 0.99, config.latency_p99)):

        def ratio(rows: npt.NDArray[np.intp], share: float = share) -> Times:
            drawn = (times[rows].reshape(*rows.shape[:-1], -1) for times in (challenger, champion))
            over, under = (np.quantile(some, share, axis=-1) for some in drawn)
            return np.asarray(over / under, np.float64)

        count = len(champion)
        value = float(ratio(np.arange(count)))
        low, high = bootstrap.interval(ratio, count, "percentile", champion.shape[1])
        passed = low <= limit
        took = [1_000 * float(np.quantile(times, share)) for times in (champion, challenger)]
        said = f"A call takes {took[0]:.2f} ms by the champion, {took[1]:.2f} ms by the challenger ({name}): "
        said += f"{value:.2f} times ({low:.2f} to {high:.2f})" + ("." if passed else f", {limit:g} are allowed.")
        yield Check(
            name=f"latency_{name}", value=value, interval=(low, high), limit=limit, passed=passed, sentence=said
        )
