"""The three kinds of ranker: a weighted sum, a small network, boosted trees.

Know columns and numbers; nothing of files, nor of how they are learned.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.ranker.columns import Columns, Floats, Scaling, means
from models.weights import WeightsError

Kind = Literal["linear", "network", "trees"]
Flags = npt.NDArray[np.bool_]


class Ranker(Protocol):
    """What scores candidates by their features. It may be called from several threads."""

    @property
    def kind(self) -> Kind:
        """Which of the three it is."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features it uses."""

    def scores(self, features: Floats, sizes: Sequence[int] | None = None, counts: Floats | None = None) -> Floats:
        """A score of each row; only differences between the rows of one request mean anything.

        Parameters
        ----------
        features
            float32 [n, F], columns as the ``known`` that it was loaded with; NaN is "not known".
        sizes
            Rows of each request, where rows of several stand one after the other; by default all are of one.
        counts
            For how many of its request's candidates each row stands, [n], where not all of them are here.

        Returns
        -------
        float32 [n]

        Raises
        ------
        ValueError
            When there are not as many columns as ``known``, or the sizes do not add up to the rows.
        """

    def owed(
        self, features: Floats, rows: npt.NDArray[np.int64], parts: Flags, sizes: Sequence[int] | None = None
    ) -> Floats:
        """What scores owe to some features: by how much each falls when these are as usual among the request's rows.

        A linear ranker's is exact: the weights times the scaled values less their mean over all rows. A network's
        scaled values become that mean. For trees a feature becomes the mean of those that are known, or not known
        where most are not.

        Parameters
        ----------
        features, sizes
            As :meth:`scores`: all rows of the requests.
        rows, parts
            int64 [m] and bool [m, F]: of which row, and which of the columns are as usual.

        Returns
        -------
        float32 [m]
        """


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A weighted sum of scaled features, and a weight for each that is not known.

    Attributes
    ----------
    weights
        float32 [2 F].

    Examples
    --------
    >>> plain = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32), np.zeros(1, bool))
    >>> ranker = Linear(Columns.of(("times",), ("age", "times")), plain, np.array([2, -1], np.float32))
    >>> ranker.scores(np.array([[5, 1.5], [5, np.nan]], np.float32)).tolist()
    [3.0, -1.0]
    """

    columns: Columns
    scaling: Scaling
    weights: Floats

    @property
    def kind(self) -> Kind:
        """As :class:`Ranker`."""
        return "linear"

    @property
    def features(self) -> tuple[str, ...]:
        """As :class:`Ranker`."""
        return self.columns.features

    def scores(self, features: Floats, sizes: Sequence[int] | None = None, counts: Floats | None = None) -> Floats:
        """As :class:`Ranker`."""
        found: Floats = self.scaling(self.columns.take(features), sizes, counts) @ self.weights
        return found

    def owed(
        self, features: Floats, rows: npt.NDArray[np.int64], parts: Flags, sizes: Sequence[int] | None = None
    ) -> Floats:
        """As :class:`Ranker`.

        Examples
        --------
        >>> plain = Scaling(np.zeros(2, np.float32), np.ones(2, np.float32), np.zeros(2, bool))
        >>> ranker = Linear(Columns.of(("age", "times"), ("age", "times")), plain, np.array([1, 2, 0, 0], np.float32))
        >>> found = np.array([[0, 3], [2, 1]], np.float32)
        >>> ranker.owed(found, np.array([0, 0]), np.array([[True, False], [False, True]])).tolist()
        [-1.0, 2.0]
        """
        scaled = self.scaling(self.columns.take(features), sizes)
        apart = scaled[rows] - means(scaled, rows, sizes)
        weights = np.where(np.tile(parts[:, self.columns.places], 2), self.weights, 0.0)
        found: Floats = np.einsum("rf,rf->r", apart, weights).astype(np.float32)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Scaled features and flags through one hidden layer (GELU).

    Attributes
    ----------
    inner, inner_bias, outer
        float32 [2 F, H], [H] and [H].
    """

    columns: Columns
    scaling: Scaling
    inner: Floats
    inner_bias: Floats
    outer: Floats

    @property
    def kind(self) -> Kind:
        """As :class:`Ranker`."""
        return "network"

    @property
    def features(self) -> tuple[str, ...]:
        """As :class:`Ranker`."""
        return self.columns.features

    def scores(self, features: Floats, sizes: Sequence[int] | None = None, counts: Floats | None = None) -> Floats:
        """As :class:`Ranker`."""
        return self._scores(self.scaling(self.columns.take(features), sizes, counts))

    def owed(
        self, features: Floats, rows: npt.NDArray[np.int64], parts: Flags, sizes: Sequence[int] | None = None
    ) -> Floats:
        """As :class:`Ranker`."""
        scaled = self.scaling(self.columns.take(features), sizes)
        usual = np.where(np.tile(parts[:, self.columns.places], 2), means(scaled, rows, sizes), scaled[rows])
        some, again = np.unique(rows, return_inverse=True)
        before, after = np.split(self._scores(np.concatenate([scaled[some], usual])), [len(some)])
        found: Floats = before[again] - after
        return found

    def _scores(self, scaled: Floats) -> Floats:
        from scipy.special import erf

        hidden = scaled @ self.inner + self.inner_bias
        found: Floats = (0.5 * hidden * (1.0 + erf(hidden / np.float32(2**0.5)))).astype(np.float32) @ self.outer
        return found


class Trees:
    """Boosted trees in LightGBM's own text, which is checked before LightGBM reads it: it trusts its files.

    Parameters
    ----------
    columns
        Of the features, in the order of the text's.
    text
        As :meth:`lightgbm.Booster.model_to_string` writes it.

    Raises
    ------
    WeightsError
        When the text is cut off, is of other features, or has a node that leads nowhere or a number that is not finite.
    """

    def __init__(self, columns: Columns, text: str) -> None:
        import lightgbm

        _check(text, columns.features)
        self.columns, self.text = columns, text
        try:
            self._model: Any = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise WeightsError(f"LightGBM does not read the trees: {error}") from error

    @property
    def kind(self) -> Kind:
        """As :class:`Ranker`."""
        return "trees"

    @property
    def features(self) -> tuple[str, ...]:
        """As :class:`Ranker`."""
        return self.columns.features

    def scores(
        self,
        features: Floats,
        sizes: Sequence[int] | None = None,  # noqa: ARG002
        counts: Floats | None = None,  # noqa: ARG002
    ) -> Floats:
        """As :class:`Ranker`; sizes and counts make no difference."""
        return self._scores(self.columns.take(features))

    def owed(
        self, features: Floats, rows: npt.NDArray[np.int64], parts: Flags, sizes: Sequence[int] | None = None
    ) -> Floats:
        """As :class:`Ranker`."""
        values = self.columns.take(features)
        known = ~np.isnan(values)
        share = means(known, rows, sizes)
        usual = means(np.where(known, values, 0.0), rows, sizes) / np.where(share > 0, share, 1.0)
        usual[share < 0.5] = np.nan
        without = np.where(parts[:, self.columns.places], usual, values[rows])
        some, again = np.unique(rows, return_inverse=True)
        before, after = np.split(self._scores(np.concatenate([values[some], without])), [len(some)])
        found: Floats = before[again] - after
        return found

    def _scores(self, values: Floats) -> Floats:
        if not len(values):
            return np.zeros(0, np.float32)
        return np.asarray(self._model.predict(values, num_threads=1, raw_score=True), np.float32)


def _check(text: str, features: Sequence[str]) -> None:
    head, *trees = re.split(r"^Tree=\d+$", text, flags=re.MULTILINE)
    fields = _fields(head)
    if fields.get("feature_names", "").split() != list(features):
        raise WeightsError("the trees are of other features than the config names")
    sizes = [int(size) for size in fields.get("tree_sizes", "").split() if size.isdigit()]
    if not trees or len(trees) != len(sizes) or "end of trees" not in trees[-1]:
        raise WeightsError(f"the trees are cut off: {len(trees)} of {len(sizes)} are there")
    for number, tree in enumerate(trees):
        try:
            _check_tree(_fields(tree.partition("end of trees")[0]), len(features))
        except (ValueError, KeyError) as error:
            raise WeightsError(f"tree {number} is damaged: {error}") from error


def _fields(text: str) -> dict[str, str]:
    return {name: value for name, equals, value in (line.partition("=") for line in text.splitlines()) if equals}


def _check_tree(fields: dict[str, str], features: int) -> None:
    leaves = int(fields["num_leaves"])
    if fields.get("num_cat", "0") != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("it is of a kind that is not used here")
    _numbers(fields, "leaf_value", leaves)
    if leaves == 1:
        return
    nodes = leaves - 1
    _numbers(fields, "threshold", nodes, infinite=True)  # what is known stands on one side of it
    split = _numbers(fields, "split_feature", nodes)
    if (split < 0).any() or (split >= features).any():
        raise ValueError("it splits a feature that is not there")
    _numbers(fields, "decision_type", nodes)
    for side in ("left_child", "right_child"):
        child = _numbers(fields, side, nodes)
        inner = child >= 0
        if (child[inner] <= np.flatnonzero(inner)).any() or (child >= nodes).any() or (child < -leaves).any():
            raise ValueError("a node leads nowhere")


def _numbers(fields: dict[str, str], name: str, count: int, infinite: bool = False) -> Floats:
    found = np.array([float(value) for value in fields[name].split()])
    if len(found) != count or np.isnan(found).any() or not (infinite or np.isfinite(found).all()):
        raise ValueError(f"{name} has {len(found)} numbers of {count}, or some that are not finite")
    return found
