"""The interface of all scorers: requests in, probabilities of the four intents out.

Knows values only; nothing of the models behind the interface, nor of how scores are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.encoded import EncodedQuery
from models.intents import INTENTS

Architecture = Literal["late_interaction", "cross_encoder", "constant"]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRequest:
    """One context and the candidates to score in it.

    Attributes
    ----------
    candidates
        int64 [n]: slots of the item store; may be empty.
    query
        The encoded query; None if the context is only the shopper's history.
    query_text
        The query as text, for scorers that read texts.
    history
        float32 [h, D]: unit-norm pooled vectors of recent items and past queries; None and zero rows mean the same.
    weights
        float32 [h] in 0..1: how much each row of ``history`` counts, by recency and intent.
    popularity
        float32 [n] in 0..1, or None.
    """

    candidates: npt.NDArray[np.int64]
    query: EncodedQuery | None = None
    query_text: str = ""
    history: Floats | None = None
    weights: Floats | None = None
    popularity: Floats | None = None


class Scorer(Protocol):
    """A model that gives each candidate a probability of each intent.

    The worker calls it from one thread at a time.
    """

    @property
    def name(self) -> str:
        """The architecture."""

    @property
    def version(self) -> str:
        """Changes whenever scores may change."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """Probabilities, float32 [n, 4] per request, columns as :data:`INTENTS`; every row sums to one."""


def utility(probabilities: Floats, weights: Mapping[str, float]) -> Floats:
    """The utility of showing each candidate: the sum over intents of weight times probability.

    Parameters
    ----------
    probabilities
        float32 [n, 4], columns as :data:`INTENTS`.
    weights
        A weight per intent; a missing one is zero.

    Returns
    -------
    float32 [n]

    Examples
    --------
    >>> utility(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32), {"buy": 1.0, "look": 0.5}).round(3).tolist()
    [0.25]
    """
    unknown = set(weights) - set(INTENTS)
    if unknown:
        raise ValueError(f"unknown intents {sorted(unknown)}; there are {', '.join(INTENTS)}")
    worth: Floats = probabilities @ np.array([weights.get(intent, 0.0) for intent in INTENTS], np.float32)
    return worth
