"""What a paid service costs: the time, tokens and money of the answers that the run has asked for.

Nothing is asked again: a service may cost money a call, and its kept answers would look free. Knows a contender by
what it says its cases took; nothing of HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.message import said
from evaluator.offline.contenders.contender import PaidContender
from evaluator.offline.cost.calls import LEAST_P99, resampled
from evaluator.offline.data import Case
from evaluator.offline.dimensions.dimension import Bench, Reading, optional

Statistic = Callable[[npt.NDArray[np.float64]], Any]
"""Takes the cases' numbers, the last axis that of the cases; gives a figure a draw."""


def readings(bench: Bench, contender: PaidContender, dimension: str) -> Iterator[Reading]:
    """Latency of a ranked list by the answers as they came, tokens, and money where prices are given."""
    cases = [case for case in bench.data.cases if case.items]
    took = contender.asked(cases)
    text = "{count:,} lists of {candidates:.0f} candidates, each timed when it was asked for"
    note = said(text, count=len(cases), candidates=_candidates(cases))
    common: dict[str, Any] = {"dimension": dimension, "better": "lower", "note": note, "count": len(cases)}
    seconds = [one.seconds for one in took]
    says = "Time to score one ranked list, the network and as many requests at once as are allowed included."
    for name, share, least in (("latency p50", 0.5, 1), ("latency p99", 0.99, LEAST_P99)):
        if len(cases) >= least:
            yield _reading(bench, seconds, partial(_quantile, share), measure=name, unit="ms", says=says, **common)
    tokens = [one.read + one.written for one in took]
    if any(tokens):
        says = "Tokens that the service read and wrote for one ranked list, as it counts them."
        yield _reading(bench, tokens, _mean, measure="tokens per shelf", unit="tokens", says=says, **common)
    if not np.isnan([one.price for one in took]).any():
        says = "What a million ranked lists cost at the service's prices that were given."
        prices = [1e6 * one.price for one in took]
        yield _reading(bench, prices, _mean, measure="cost per million shelves", says=says, **common)


def _quantile(share: float, seconds: npt.NDArray[np.float64]) -> Any:
    return 1e3 * np.quantile(seconds, share, axis=-1)


def _mean(values: npt.NDArray[np.float64]) -> Any:
    return values.mean(axis=-1)


def _candidates(cases: Sequence[Case]) -> float:
    return float(np.mean([len(case.items) for case in cases]))


def _reading(bench: Bench, values: Sequence[float], statistic: Statistic, **names: Any) -> Reading:
    places = resampled(len(values), len(bench.resampling.weights) - 1, bench.seed)
    found = np.asarray(statistic(np.asarray(values, np.float64)[places]), np.float64)
    return Reading(value=optional(found[0]), replicates=[optional(value) for value in found], **names)
