"""What shoppers bought together: a shopper's own purchases, item-kNN and EASE.

Know which items each shopper of the training part acted on; nothing of texts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from evaluator.offline.contenders.contender import ContenderError, Scores, parameter
from evaluator.offline.data import Case, EvaluationData
from models.ranker import ease

MOST_ITEMS = 8_000
"""Items of EASE's dense matrix at most, those that most shoppers acted on; of others it knows nothing."""

LAMBDA = 300.0
"""EASE's default regularisation."""


class OwnHistory:
    """The items that the shopper acted on most often before; of equally many the newest first."""

    def __init__(self, _: str = "") -> None:
        pass

    def fit(self, data: EvaluationData) -> None:
        """Nothing to learn."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """How often each candidate is in the case's history, plus less than one for being recent."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Scores:
        counts, length = Counter(case.history), len(case.history)
        newest = {item: place for place, item in reversed(list(enumerate(case.history)))}
        return np.array([counts[item] + (1 - newest[item] / length if item in newest else 0) for item in case.items])


class Interactions:
    """Which items each shopper acted on, 0 or 1: a row a shopper, a column an item.

    Parameters
    ----------
    cases
        Of a training part. A case without a shopper is a row of its own.
    most
        Columns at most: the items with the most rows; 0 for all.

    Examples
    --------
    >>> cases = [Case(id, items, np.ones(len(items)), shopper="u") for id, items in (("1", ("a", "b")), ("2", ("a",)))]
    >>> found = Interactions(cases, least=0.0)
    >>> found.matrix.toarray().tolist(), found.columns
    ([[1.0, 1.0]], {'a': 0, 'b': 1})
    """

    def __init__(self, cases: Iterable[Case], least: float, most: int = 0) -> None:
        chosen: dict[str, dict[str, None]] = {}
        for case in cases:
            row = chosen.setdefault(case.shopper or f"case {case.id}", {})
            row |= dict.fromkeys(item for item, gain in zip(case.items, case.gains, strict=True) if gain > least)
        counts = Counter(item for row in chosen.values() for item in row)
        self.columns = {item: place for place, (item, _) in enumerate(counts.most_common(most or None))}
        places = [[self.columns[item] for item in row if item in self.columns] for row in chosen.values()]
        ends = np.cumsum([0, *map(len, places)])
        flat = np.fromiter((place for row in places for place in row), np.int64)
        self.matrix: Any = csr_matrix((np.ones(len(flat), np.float32), flat, ends), (len(places), len(self.columns)))

    def past(self, case: Case) -> list[int]:
        """The columns of the items that a case's shopper acted on before, each once."""
        return [self.columns[item] for item in dict.fromkeys(case.history) if item in self.columns]


class ByNeighbours:
    """Ranks by the summed similarity of a candidate to the items of the shopper's past.

    Attributes
    ----------
    known, similar
        After :meth:`fit`: the columns of items, and the similarities, row i those of all items to item i.
    """

    known: Interactions
    similar: Any

    def similarities(self, cases: Sequence[Case], least: float) -> tuple[Interactions, Any]:
        """Learn; row i has the similarities of all items to item i."""
        raise NotImplementedError

    def fit(self, data: EvaluationData) -> None:
        """Learn similarities from the training part.

        Raises
        ------
        ContenderError
            Where nobody acted on anything there.
        """
        self.learn(data.train, data.span[0])

    def learn(self, cases: Sequence[Case], least: float) -> None:
        """As :meth:`fit`, from cases; ``least`` is the gain of an item that was not acted on."""
        self.known, self.similar = self.similarities(cases, least)
        if not self.known.columns:
            raise ContenderError("it needs a training part in which items were bought or clicked: give --train")

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Sums of similarities; zero for items that training has not seen."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Scores:
        places = np.fromiter((self.known.columns.get(item, -1) for item in case.items), np.intp, len(case.items))
        past = self.known.past(case)
        if not past:
            return np.zeros(len(places))
        sums = np.asarray(self.similar[past].sum(axis=0), np.float64).ravel()
        return np.where(places >= 0, sums[places], 0.0)


class ItemKNN(ByNeighbours):
    """Item-kNN: cosines of the items' columns of shoppers, of the 100 nearest each (Sarwar et al. 2001).

    Parameters
    ----------
    neighbours
        How many nearest items of each item count.
    """

    def __init__(self, neighbours: str = "") -> None:
        self.neighbours = int(parameter(neighbours, 100, least=1))

    def similarities(self, cases: Sequence[Case], least: float) -> tuple[Interactions, Any]:
        """Cosines without the diagonal."""
        known = Interactions(cases, least)
        norms = np.sqrt(np.asarray(known.matrix.sum(axis=0)).ravel()) + 1e-9
        scaled = known.matrix.multiply(1 / norms).tocsr()
        cosines = (scaled.T @ scaled).tocsr()
        cosines.setdiag(0)
        return known, nearest(cosines, self.neighbours)


def nearest(similar: Any, count: int) -> Any:
    """A sparse matrix with the largest entries of each row only.

    Examples
    --------
    >>> nearest(csr_matrix([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]), 1).toarray().tolist()
    [[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]]
    """
    kept = similar.copy()
    for row in range(kept.shape[0]):
        values = kept.data[kept.indptr[row] : kept.indptr[row + 1]]
        if len(values) > count:
            values[np.argpartition(values, -count)[:-count]] = 0
    kept.eliminate_zeros()
    return kept


class EASE(ByNeighbours):
    """EASE: a linear autoencoder of items without self-similarity, in closed form (Steck 2019).

    Parameters
    ----------
    regularisation
        Lambda; 300 by default.
    """

    def __init__(self, regularisation: str = "") -> None:
        self.regularisation = parameter(regularisation, LAMBDA)

    def similarities(self, cases: Sequence[Case], least: float) -> tuple[Interactions, Any]:
        """The weights B of the closed form: minus P / diag P, with P the inverse of the regularised Gram matrix."""
        known = Interactions(cases, least, MOST_ITEMS)
        return known, ease(known.matrix, self.regularisation)


CONTENDERS = {"own_history": OwnHistory, "item_knn": ItemKNN, "ease": EASE}
