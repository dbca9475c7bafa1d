"""A scorer that costs nothing, to measure the cost of everything around a scorer.

Knows only the number of candidates.
"""

from collections.abc import Sequence

import numpy as np

from models.scorer import Floats, ScoreRequest


class ConstantScorer:
    """Keeps the candidates' order: probabilities fall slightly with the place.

    Examples
    --------
    >>> [scores] = ConstantScorer().score([ScoreRequest(np.arange(3))])
    >>> scores.shape, bool((np.diff(scores[:, 0]) < 0).all()), scores.sum(axis=1).round(6).tolist()
    ((3, 4), True, [1.0, 1.0, 1.0])
    """

    name = "constant"
    version = "constant"

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """Fixed probabilities by place."""
        return [_by_place(len(request.candidates)) for request in requests]


def _by_place(count: int) -> Floats:
    engaged = (0.3 / (1.0 + 0.01 * np.arange(count, dtype=np.float32)))[:, None]
    shares = np.array([[0.2, 0.3, 0.5]], np.float32)
    return np.hstack([engaged * shares, 1.0 - engaged]).astype(np.float32)
