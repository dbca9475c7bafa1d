"""A simple model of what actions earn, for doubly robust estimates: shrunken means, fitted on the other half.

Pure arrays. Cross-fitted (Chernozhukov et al. 2018), so that no decision is predicted by its own reward.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from evaluator.experiments.off_policy import Floats

STRENGTH = 20.0
"""Decisions' worth of the mean over all actions that each action's own mean is drawn to it by."""


def predict(
    actions: Sequence[Hashable], reward: Floats, policies: Sequence[dict[Hashable, float]]
) -> tuple[Floats, Floats]:
    """Predicted reward of each logged action [n], and its mean under the policy in question in the same place [n].

    Parameters
    ----------
    policies
        What the policy in question would do there: a probability by action, one dictionary a decision.

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
