"""Updates a ranker by what followed the feeds that were served, starting from the ranker there is.

One listwise objective: of what was seen, what was touched. An item's chance is the exponential of its score times how
often its place is looked at, so that a place's own clicks teach nothing (Agarwal et al. 2019). Candidates that were not
shown count as if at a place that is rarely looked at. Equal feeds and an equal seed make equal bytes.

Knows features and what followed; nothing of where they come from, nor of versions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.ranker import Columns, Linear, Network, Ranker, Scaling, Trees
from models.ranker.columns import Floats
from models.training.rankers import STEPS, scaled_as
from models.training.served_feeds import FeedSlices, ServedFeed, stacked

UNSHOWN = 0.3
"""How often a candidate that was not shown counts as looked at, beside the feed's least looked at place."""

PULL = 400.0
"""Of a linear ranker towards the one it starts from: so many feeds with an outcome weigh as much as it does."""

THERE = 0.1
"""Share of the rows in which a feature is known before a linear ranker takes it up."""

KEPT = 0.98
"""How much of its value each leaf of a tree keeps; the rest is the feeds'. Trees that are added to a ranker's own learn
the noise of some hundred feeds (docs/log.md), and would slow it down for ever."""

EPOCHS, LISTS, STEP = 2, 16, 5e-4
"""Of a network's update: passes over the feeds, lists in a batch, and AdamW's rate."""

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """Rows of feeds one after the other, and the lists among them in which something was touched.

    Attributes
    ----------
    rows, sizes, counts
        As :func:`models.training.served_feeds.stacked` gives them.
    places, lengths
        Rows of each list, one after the other, and how many each has.
    levels, looked
        Of these rows: the outcome, 0 to 1, and how often the place is looked at.
    """

    rows: Floats
    sizes: list[int]
    counts: Floats
    places: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    levels: Reals
    looked: Reals

    @classmethod
    def of(cls, feeds: Sequence[ServedFeed]) -> "Touched":
        """All lists of feeds.

        Raises
        ------
        ValueError
            When nothing was touched in any of them.
        """
        rows, sizes, counts = stacked(feeds) if feeds else (np.zeros((0, 0), np.float32), [], np.zeros(0, np.float32))
        places, levels, looked, start = [], [], [], 0
        for one in feeds:
            others = len(one.items) - len(one.levels)
            found = np.array([*one.levels, *[0.0] * others])
            chances = np.array([*one.looked, *[UNSHOWN * min(one.looked, default=1.0)] * others])
            if found.any():
                places.append(start + np.arange(len(found)))
                levels.append(found)
                looked.append(chances)
            start += len(found)
        if not places:
            raise ValueError("nothing was touched in any feed, so there is nothing to learn")
        lengths = np.array([len(one) for one in places])
        return cls(rows, sizes, counts, np.concatenate(places), lengths, np.concatenate(levels), np.concatenate(looked))

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each list begins among the places."""
        found: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        return found

    @property
    def weights(self) -> Reals:
        """How much each list counts: its highest outcome, of all lists' sum."""
        highest = np.maximum.reduceat(self.levels, self.starts)
        found: Reals = highest / highest.sum()
        return found

    @property
    def shares(self) -> Reals:
        """What each row has of its list's outcomes."""
        found: Reals = self.levels / np.repeat(np.add.reduceat(self.levels, self.starts), self.lengths)
        return found

    def loss(self, scores: Reals) -> tuple[float, Reals]:
        """The mean loss of scores, [rows], and its gradient."""
        starts, lengths, weights = self.starts, self.lengths, self.weights
        logits = scores[self.places] + np.log(self.looked)
        logits -= np.repeat(np.maximum.reduceat(logits, starts), lengths)
        odds = np.exp(logits)
        totals = np.add.reduceat(odds, starts)
        value = float((weights * (np.log(totals) - np.add.reduceat(self.shares * logits, starts))).sum())
        apart = (odds / np.repeat(totals, lengths) - self.shares) * np.repeat(weights, lengths)
        return value, np.bincount(self.places, apart, len(scores)).astype(np.float64)


def loss(ranker: Ranker, feeds: Sequence[ServedFeed]) -> float:
    """The mean loss of a ranker on feeds; ValueError where nothing was touched in any of them."""
    touched = Touched.of(feeds)
    return touched.loss(ranker.scores(touched.rows, touched.sizes, touched.counts).astype(np.float64))[0]


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What became of a ranker.

    Attributes
    ----------
    ranker
        The better one; None where the ranker there is stays.
    said
        A sentence for the version's description.
    metrics
        Mean losses on the feeds that were chosen by, where there were any.
    """

    ranker: Ranker | None
    said: str
    metrics: dict[str, float] = field(default_factory=dict)


def updated(
    ranker: Ranker, feeds: FeedSlices, known: Sequence[str], least: int, *, judged: bool = True, seed: int = 0
) -> Update:
    """Fit a ranker to the oldest feeds, and take it if it is better on newer ones.

    Parameters
    ----------
    least
        With fewer feeds to learn from the ranker stays.
    judged
        Whether as many must be left to judge it by.
    """
    count = len(feeds.train)
    if count < least or not feeds.calibrate:
        return Update(None, f"The ranker of feeds stays: {count:,} feeds with an outcome, {least:,} are needed")
    if judged and len(feeds.gate) < least:
        said = f"The ranker of feeds stays: {len(feeds.gate):,} feeds with an outcome to judge by, {least:,} are needed"
        return Update(None, said)
    found = update(ranker, feeds.train, known, seed)
    before, after = (loss(one, feeds.calibrate) for one in (ranker, found))
    metrics = {"ranker_feeds": float(count), "ranker_loss_before": before, "ranker_loss": after}
    if after >= before:
        said = (
            f"The ranker of feeds stays: learned from {count:,} feeds it is no better (loss {after:.4f}, {before:.4f})"
        )
        return Update(None, said, metrics)
    said = f"The ranker of feeds ({found.kind}) learned from {count:,} feeds: loss {before:.4f} to {after:.4f}"
    return Update(found, said, metrics)


def update(ranker: Ranker, feeds: Sequence[ServedFeed], known: Sequence[str], seed: int = 0) -> Ranker:
    """A ranker of the same kind that fits the feeds better.

    Parameters
    ----------
    known
        The columns of the feeds' features.

    Raises
    ------
    ValueError
        When nothing was touched in any feed.
    """
    touched = Touched.of(feeds)
    match ranker:
        case Linear():
            return _linear(ranker, touched, known)
        case Network():
            return _network(ranker, touched, seed)
        case Trees():
            return _trees(ranker, touched)
    raise ValueError(f"{ranker} is of no kind that can be updated")


def _linear(ranker: Linear, touched: Touched, known: Sequence[str]) -> Linear:
    """The weights of least loss, with a penalty of the squared distance from those of the ranker. Features that it does
    not have yet begin at zero."""
    from scipy.optimize import minimize

    start = _widened(ranker, touched, known)
    values = start.scaling(start.columns.take(touched.rows), touched.sizes, touched.counts).astype(np.float64)
    before = start.weights.astype(np.float64)
    pull = PULL / len(touched.lengths)

    def penalised(weights: Reals) -> tuple[float, Reals]:
        value, apart = touched.loss(values @ weights)
        moved = weights - before
        return value + pull * float(moved @ moved), values.T @ apart + 2 * pull * moved

    best = minimize(penalised, before, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return Linear(start.columns, start.scaling, best.x.astype(np.float32))


def _widened(ranker: Linear, touched: Touched, known: Sequence[str]) -> Linear:
    """The ranker with all features that have values, whose weights are zero where it has none: it ranks as before."""
    there = np.isfinite(touched.rows).mean(0) >= THERE
    more = [name for name, some in zip(known, there.tolist(), strict=True) if some and name not in ranker.features]
    if not more:
        return ranker
    added = Columns.of(more, known)
    scaling, extra = ranker.scaling, scaled_as(added.take(touched.rows), added, ())
    wide = Scaling(
        np.concatenate([scaling.means, extra.means]),
        np.concatenate([scaling.spreads, extra.spreads]),
        np.concatenate([scaling.relative, extra.relative]),
    )
    none = np.zeros(len(more), np.float32)
    values, missing = np.split(ranker.weights, 2)
    columns = Columns.of((*ranker.features, *more), known)
    return Linear(columns, wide, np.concatenate([values, none, missing, none]))


def _network(ranker: Network, touched: Touched, seed: int) -> Network:
    """A few passes of AdamW from the ranker's layers."""
    import torch
    from torch import nn

    scaled = ranker.scaling(ranker.columns.take(touched.rows), touched.sizes, touched.counts)
    values = torch.from_numpy(scaled[touched.places])
    offsets = torch.from_numpy(np.log(touched.looked).astype(np.float32))
    shares = torch.from_numpy(touched.shares.astype(np.float32))
    weights = torch.from_numpy((touched.weights * len(touched.lengths)).astype(np.float32))
    lists = [torch.arange(start, start + length) for start, length in zip(touched.starts, touched.lengths, strict=True)]
    layers = [torch.from_numpy(layer.copy()).requires_grad_() for layer in (ranker.inner, ranker.inner_bias)]
    outer = torch.from_numpy(ranker.outer.copy()).requires_grad_()
    optimiser = torch.optim.AdamW([*layers, outer], lr=STEP, weight_decay=0.0)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(lists), generator=chance), LISTS):
            some = [lists[number] for number in batch.tolist()]
            rows = torch.cat(some)
            logits = nn.functional.gelu(values[rows] @ layers[0] + layers[1]) @ outer + offsets[rows]
            losses = [
                -(torch.log_softmax(part, 0) * shares[one]).sum()
                for one, part in zip(some, torch.split(logits, [len(one) for one in some]), strict=True)
            ]
            optimiser.zero_grad()
            torch.autograd.backward((torch.stack(losses) * weights[batch]).mean())
            optimiser.step()
    inner, bias, last = (layer.detach().numpy().copy() for layer in (*layers, outer))
    return Network(ranker.columns, ranker.scaling, inner, bias, last)


def _trees(ranker: Trees, touched: Touched) -> Trees:
    """The same trees, whose leaves move towards what the feeds say. LightGBM takes no chance of a place to be looked
    at, so ignored rows are weighted by it, as the head's examples are."""
    import lightgbm

    each = np.repeat(touched.weights * len(touched.lengths), touched.lengths)
    before: Any = lightgbm.Booster(model_str=ranker.text)
    after = before.refit(
        ranker.columns.take(touched.rows)[touched.places],
        np.round(3 * touched.levels).astype(np.int32),
        decay_rate=KEPT,
        group=touched.lengths,
        weight=np.where(touched.levels > 0, 1.0, touched.looked) * each,
        dataset_params={"verbosity": -1},
    )
    named = f"feature_names={' '.join(ranker.features)}"  # a refit forgets the names
    return Trees(ranker.columns, re.sub(r"^feature_names=.*$", named, after.model_to_string(), flags=re.MULTILINE))
