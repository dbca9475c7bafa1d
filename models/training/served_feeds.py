"""A feed as it was served, with what followed: what a ranker learns from live, and is judged by.

Values only.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from models.ranker.columns import Floats

Reals = npt.NDArray[np.float64]


class ServedFeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a shopper saw of a feed, and some candidates that were ranked with it and not shown.

    Attributes
    ----------
    values
        Float16 [items, F], little-endian, columns as they are known: what the items were ranked by.
    items
        Texts: of those seen in the order of their places, then of the others.
    levels
        The outcome of each that was seen, 0 (ignored) to 1 (bought).
    looked
        How often the place of each that was seen is looked at, beside the first place; above 0.
    popularity
        The demand for each item, 0 to 1.
    unshown
        For how many candidates the others stand.
    bought
        How many items the shopper had bought.
    history, asked, weights
        The context, as of :class:`models.training.examples.Example`.
    """

    shopper: str
    values: bytes
    items: tuple[str, ...]
    levels: tuple[float, ...]
    looked: tuple[float, ...]
    popularity: tuple[float, ...]
    unshown: int = 0
    bought: int = 0
    history: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def features(self) -> Floats:
        """float32 [items, F]."""
        return np.frombuffer(self.values, "<f2").reshape(len(self.items), -1).astype(np.float32)

    @property
    def counts(self) -> Floats:
        """How many of the feed's candidates each item stands for, float32 [items]: one seen for itself.

        Examples
        --------
        >>> feed = ServedFeed(shopper="u", values=b"", items=("a", "b", "c"), levels=(1.0,), looked=(1.0,),
        ...     popularity=(0.0,) * 3, unshown=80)
        >>> feed.counts.tolist()
        [1.0, 40.0, 40.0]
        """
        seen, others = len(self.levels), len(self.items) - len(self.levels)
        return np.concatenate([np.ones(seen), np.full(others, self.unshown / max(1, others))]).astype(np.float32)


class FeedSlices(msgspec.Struct, frozen=True, kw_only=True):
    """Feeds in which something was touched, by time: to learn from, to choose by, and to judge by."""

    train: list[ServedFeed] = []
    calibrate: list[ServedFeed] = []
    gate: list[ServedFeed] = []


def stacked(feeds: Sequence[ServedFeed]) -> tuple[Floats, list[int], Floats]:
    """The features of feeds one after the other, how many rows each has, and how many candidates each row stands for:
    as :meth:`models.ranker.Ranker.scores` takes them."""
    return (
        np.concatenate([one.features for one in feeds]),
        [len(one.items) for one in feeds],
        np.concatenate([one.counts for one in feeds]),
    )
