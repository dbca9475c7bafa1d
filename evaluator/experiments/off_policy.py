"""Off-policy estimates of another policy's reward: inverse propensity, self-normalised, and doubly robust.

Pure: takes arrays. Action probabilities are counted from a policy's own log; the reward model is shrunken means.
Knows nothing of files. Horvitz and Thompson 1952 (IPS); Swaminathan and Joachims 2015 (SNIPS); Dudík, Langford and Li
2011 (DR); Kish 1965 for the effective sample size.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logs:
    """Logged decisions, n of them.

    Attributes
    ----------
    reward
        Reward of the action that was taken [n].
    propensity
        Probability with which the logging policy took it [n], above zero.
    target
        Probability with which the evaluated policy takes it in the same place [n].
    predicted, predicted_target
        For DR: a model's reward of the action taken [n], and its mean over the actions of the evaluated policy [n].

    Raises
    ------
    ValueError
        Where arrays differ in length, a propensity is not in (0, 1], or a probability not in [0, 1].
    """

    reward: Floats
    propensity: Floats
    target: Floats
    predicted: Floats | None = None
    predicted_target: Floats | None = None

    def __post_init__(self) -> None:
        given = [self.reward, self.propensity, self.target, self.predicted, self.predicted_target]
        if len({len(one) for one in given if one is not None}) != 1 or not len(self.reward):
            raise ValueError("logs need at least one decision, and all columns of one length")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise ValueError("a logged action's propensity is above zero and at most one; log what explored")
        if not ((self.target >= 0) & (self.target <= 1)).all():
            raise ValueError("probabilities of the evaluated policy lie in 0..1")

    def weights(self, clip: float) -> Floats:
        """Importance weights, at most ``clip``."""
        return np.minimum(self.target / self.propensity, clip)

    def take(self, rows: npt.NDArray[np.intp]) -> "Logs":
        """Some of the decisions, repetitions allowed."""
        some = [None if one is None else one[rows] for one in (self.predicted, self.predicted_target)]
        return Logs(self.reward[rows], self.propensity[rows], self.target[rows], *some)


def ips(logs: Logs, clip: float = np.inf) -> float:
    """Inverse propensity score: unbiased without clipping, and as noisy as its largest weights."""
    return float((logs.weights(clip) * logs.reward).mean())


def snips(logs: Logs, clip: float = np.inf) -> float:
    """Self-normalised: weights over their mean. A small bias, much less variance, never outside the rewards' range."""
    weights = logs.weights(clip)
    total = weights.sum()
    return float((weights * logs.reward).sum() / total) if total else 0.0


def dr(logs: Logs, clip: float = np.inf) -> float:
    """Doubly robust: a model corrected by its weighted errors; unbiased if propensities or model are right."""
    if logs.predicted is None or logs.predicted_target is None:
        raise ValueError("doubly robust estimates need a reward model's predictions")
    return float((logs.predicted_target + logs.weights(clip) * (logs.reward - logs.predicted)).mean())


def effective_size(logs: Logs, clip: float = np.inf) -> float:
    """Kish's effective sample size: how many decisions of the policy itself would give the same precision."""
    weights = logs.weights(clip)
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


class Estimate(NamedTuple):
    """A policy's value with a bootstrap interval, and the effective sample size."""

    value: float
    low: float
    high: float
    effective: float


def estimate(
    logs: Logs,
    estimator: Callable[[Logs, float], float],
    *,
    clip: float = np.inf,
    confidence: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """An estimator's value with a percentile bootstrap interval over decisions.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> arm = chance.integers(0, 2, 5_000)  # uniform logs over two items, clicked at 10 and 30 %
    >>> reward = (chance.random(5_000) < np.where(arm, 0.3, 0.1)).astype(float)
    >>> logs = Logs(reward, np.full(5_000, 0.5), np.where(arm, 0.9, 0.1))
    >>> found = estimate(logs, snips)
    >>> found.low < 0.28 < found.high, 0.26 < found.value < 0.3, 2_900 < found.effective < 3_200
    (True, True, True)
    """
    chance = np.random.default_rng(seed)
    count = len(logs.reward)
    values = [estimator(logs.take(chance.integers(0, count, count)), clip) for _ in range(draws)]
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(estimator(logs, clip), float(low), float(high), effective_size(logs, clip))


class Frequencies:
    """Probabilities of actions by place, such as items by position, as frequencies of a log.

    Exact for policies without context, such as Thompson sampling without context. For others it is the mean over the
    log's visitors.

    Examples
    --------
    >>> policy = Frequencies()
    >>> for place, action in [(0, "a"), (0, "a"), (0, "b"), (1, "b")]: policy.update(place, action)
    >>> policy.get(0), policy.get(7)
    ({'a': 0.6666666666666666, 'b': 0.3333333333333333}, {})
    """

    def __init__(self) -> None:
        self._counts: defaultdict[Hashable, Counter[Hashable]] = defaultdict(Counter)

    def update(self, place: Hashable, action: Hashable) -> None:
        """Count one decision."""
        self._counts[place][action] += 1

    def get(self, place: Hashable) -> dict[Hashable, float]:
        """Probability of each action there; empty where the log has none."""
        counts = self._counts.get(place, Counter())
        total = counts.total()
        return {action: count / total for action, count in counts.items()}


STRENGTH = 20.0
"""Weight, in decisions, with which each action's mean is shrunk to the mean over all actions."""


def predict(
    actions: Sequence[Hashable], reward: Floats, policies: Sequence[dict[Hashable, float]]
) -> tuple[Floats, Floats]:
    """Predicted reward of each logged action [n], and its mean under the evaluated policy in the same place [n].

    Parameters
    ----------
    policies
        The evaluated policy's probabilities by action, one dictionary a decision.

    Examples
    --------
    >>> reward = np.array([1.0, 0.0] * 50)
    >>> own, target = predict(["a", "b"] * 50, reward, [{"a": 1.0}] * 100)
    >>> bool(own[0] > 0.8), bool(own[1] < 0.3), bool(target[1] > 0.8)
    (True, True, True)
    """
    half = np.random.default_rng(0).permutation(len(actions)) % 2 == 0
    own, target = np.zeros(len(actions)), np.zeros(len(actions))
    for fitted in (half, ~half):
        means, overall = _means(actions, reward, fitted)
        for row in np.flatnonzero(~fitted).tolist():
            own[row] = means.get(actions[row], overall)
            target[row] = sum(p * means.get(action, overall) for action, p in policies[row].items())
    return own, target


def _means(actions: Sequence[Hashable], reward: Floats, rows: np.ndarray) -> tuple[dict[Hashable, float], float]:
    overall = float(reward[rows].mean()) if rows.any() else 0.0
    sums: dict[Hashable, list[float]] = {}
    for row in np.flatnonzero(rows).tolist():
        total = sums.setdefault(actions[row], [0.0, 0.0])
        total[0] += float(reward[row])
        total[1] += 1
    return {
        action: (total + STRENGTH * overall) / (count + STRENGTH) for action, (total, count) in sums.items()
    }, overall
