"""Checks on fixed inputs whether a model can serve.

The checks hold for every working model, however it was trained: numbers are finite, shapes fit, probabilities are
valid, different items get different scores, and an item's score does not depend on its place among the candidates. The
quality of a model is not checked here: the gate and the canary measure it.
Knows encoders and scorers; nothing of the store, nor of who serves.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from models.encoded import EncodedItem
from models.encoder import Encoder
from models.intents import INTENTS
from models.item_store import ItemStore
from models.scorer import Floats, Scorer, ScoreRequest
from models.weights import WeightsError

TITLES = (
    "USB-C charging cable 2 m",
    "Wireless mouse black",
    "Leather sofa for three",
    "Garden hose with brass nozzle",
    "Toner cartridge for laser printers",
    "Children's bicycle 16 inch red",
)
QUERIES = ("usb cable", "garden hose", "printer")

RANGE = 1_000.0
"""The largest ratio, up or down, of a model's mean probability of an interaction to that of the version before."""
SAME = 1e-4
"""Scores that differ by less than this, relative to the largest, count as equal."""
MOVED = 0.02
"""How much a score may differ when its candidate is at another place; fast paths round."""

Vectors = npt.NDArray[np.floating]


class CheckError(WeightsError):
    """A model cannot serve; the message says which check failed, and what was found."""


class Sample:
    """The fixed inputs, encoded by an encoder.

    Parameters
    ----------
    encoder
        Encodes the inputs on construction.

    Raises
    ------
    CheckError
        When its vectors are not finite, have another shape than it declares, or are the same for all texts.

    Examples
    --------
    >>> from models.late_interaction import LateInteractionScorer
    >>> sample = Sample(Encoder())
    >>> 0.01 < sample.engaged(lambda item_store, text: LateInteractionScorer(item_store)) < 0.5
    True
    """

    def __init__(self, encoder: Encoder) -> None:
        items, self.queries = encoder.encode_items(TITLES), encoder.encode_queries(QUERIES)
        for item in items:
            _vectors("an item", encoder.dim, item.pooled, item.scales)
            _tokens("an item", encoder.token_dim, item.tokens)
            if not (item.scales > 0).all():
                raise CheckError("the encoder gives an item's token a step size of zero")
        for query in self.queries:
            _vectors("a query", encoder.dim, query.pooled, query.tokens)
            _tokens("a query", encoder.dim, query.tokens)
        _apart("items", [item.pooled for item in items])
        _apart("queries", [query.pooled for query in self.queries])
        self._item_store = _item_store(encoder, items)

    def engaged(self, make: Callable[[ItemStore, Callable[[int], str]], Scorer], learned: bool = True) -> float:
        """Score the sample; returns the mean probability of an interaction with an item.

        Parameters
        ----------
        make
            Makes the scorer, given the item store and the function from a slot to its text.
        learned
            Whether the scorer was trained: an untrained one may score all items alike, or by their places.

        Raises
        ------
        CheckError
            When scores are not finite, not of the shape [n, 4], no probabilities, the same for all items, or change
            with an item's place.
        """
        scorer = make(self._item_store, TITLES.__getitem__)
        places = np.arange(len(TITLES), dtype=np.int64)
        there, back = scorer.score(self._requests(places)), scorer.score(self._requests(places[::-1].copy()))
        for rows in (*there, *back):
            _probabilities(rows)
        if learned:
            if all(_alike(rows) for rows in there):
                raise CheckError("all items get the same score, whatever is asked for")
            furthest = max(float(np.abs(a - b[::-1]).max()) for a, b in zip(there, back, strict=True))
            if furthest > MOVED:
                raise CheckError(f"an item's score changes by {furthest:.2f} with its place among the candidates")
        return float(np.mean([1.0 - rows[:, -1] for rows in there]))

    def _requests(self, places: npt.NDArray[np.int64]) -> list[ScoreRequest]:
        """Searches, a feed after two items, and a search by a shopper with a past."""
        past = self._item_store.pooled(np.array([0, 3]))
        popularity = np.linspace(0, 1, len(places), dtype=np.float32)
        alone = [
            ScoreRequest(places, query, text, popularity=popularity[places])
            for query, text in zip(self.queries, QUERIES, strict=True)
        ]
        feed = ScoreRequest(places, history=past, weights=np.array([1.0, 0.5], np.float32))
        return [*alone, feed, ScoreRequest(places, self.queries[0], QUERIES[0], past, np.ones(2, np.float32))]


def within(engaged: float, before: float) -> None:
    """Compare two models' mean probabilities of an interaction on the sample.

    Raises
    ------
    CheckError
        When one is more than :data:`RANGE` times the other.

    Examples
    --------
    >>> within(0.02, 0.3)
    >>> within(0.0001, 0.3)
    Traceback (most recent call last):
    ...
    models.check.CheckError: it holds acts for 3000 times less likely than the version before: 0.0001 after 0.3
    """
    less, more = before / max(engaged, 1e-12), engaged / max(before, 1e-12)
    if max(less, more) > RANGE:
        times, word = (less, "less") if less > more else (more, "more")
        change = f"{times:.0f} times {word} likely than the version before: {engaged:.3g} after {before:.3g}"
        raise CheckError(f"it holds acts for {change}")


def _item_store(encoder: Encoder, items: Sequence[EncodedItem]) -> ItemStore:
    item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens, capacity=len(items))
    item_store.put_many(range(len(items)), items)
    return item_store


def _vectors(what: str, dim: int, pooled: Vectors, *others: Vectors) -> None:
    if pooled.shape != (dim,):
        raise CheckError(f"the encoder gives {what} a vector of shape {pooled.shape}, not ({dim},)")
    if not all(np.isfinite(one).all() for one in (pooled, *others)):
        raise CheckError(f"the encoder gives {what} numbers that are not finite")
    length = float(np.linalg.norm(pooled.astype(np.float32)))
    if not 0.9 < length < 1.1:
        raise CheckError(f"the encoder gives {what} a vector of length {length:.3g}, not 1")


def _tokens(what: str, width: int, tokens: npt.NDArray[np.generic]) -> None:
    if tokens.ndim != 2 or not len(tokens) or tokens.shape[1] != width:
        raise CheckError(f"the encoder gives {what} token states of shape {tokens.shape}, not (n, {width})")


def _apart(what: str, pooled: Sequence[Vectors]) -> None:
    """Raise if different texts get the same vector."""
    rows = np.stack(pooled).astype(np.float32)
    if (rows @ rows.T).min() > 1 - SAME:
        raise CheckError(f"the encoder gives all {what} the same vector, whatever the text")


def _probabilities(rows: Floats) -> None:
    if rows.shape != (len(TITLES), len(INTENTS)):
        raise CheckError(f"{len(TITLES)} items get scores of shape {rows.shape}, not ({len(TITLES)}, {len(INTENTS)})")
    if not np.isfinite(rows).all():
        raise CheckError("scores are not finite numbers")
    if rows.min() < -MOVED or rows.sum(axis=1).max() > 1 + MOVED:
        raise CheckError("scores are no probabilities: below zero, or more than one in sum")


def _alike(rows: Floats) -> bool:
    """Whether the items' scores are equal for every intent."""
    acts = rows[:, :-1]
    return bool((np.ptp(acts, axis=0) <= SAME * acts.max(axis=0)).all())
