"""Candidates of a feed from text and behaviour, and their order by what shoppers did.

Knows a worker's catalogue and statistics; nothing of the scorer, of the policy, nor of where statistics come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ranker import ItemWeights, Linear, Ranker, first_stage, load, packaged
from streams.catalog.attributes import Matching
from streams.config import CandidatesConfig
from streams.features.behaviour import FEATURES, PAIRED_OWN, Anchors, Behaviour, ItemModel, Scores, text_matches
from streams.features.items import DAY_MS, ItemStatistics
from streams.features.own import ROW, OwnItems
from streams.features.shopper import Asked, Shopper
from streams.ranking.alignment import Alignment
from streams.ranking.candidates import Candidates, Source, distinct, union
from streams.ranking.context import Queries

BY_BEHAVIOUR: tuple[Source, ...] = ("own", "linear", "together", "week", "day", "new")
MOST = 500
"""Candidates of one feed before they are cut to ``candidates.total`` by what ranks them."""

SEARCHED = 5_000
"""Items that a source by behaviour gives where a filter leaves only some of them."""

Slots = NDArray[np.int64]
Floats = NDArray[np.float32]


@cache
def _packaged() -> Linear:
    return packaged(FEATURES)


@dataclass(slots=True, eq=False)
class FeedRanker:
    """What ranks feeds by behaviour, of one version of the model.

    Attributes
    ----------
    ranker, first
        What ranks, and what cuts the candidates before; without the latter the former does both.
    weights
        The version's item-to-item model, if it has one.
    trained
        Whether the version's scorer learned from this shop. Then its utilities count as much as the ranker; those of an
        untrained scorer count the less the more the shopper has bought.
    """

    ranker: Ranker
    first: Linear | None = None
    weights: ItemWeights | None = None
    trained: bool = False
    _model: tuple[ItemStatistics, ItemModel] | None = field(default=None, init=False)

    @classmethod
    def packaged(cls, *, trained: bool = False) -> "FeedRanker":
        """The one that comes with Liveshelf."""
        return cls(_packaged(), trained=trained)

    @classmethod
    def load(cls, folder: Path, *, trained: bool) -> "FeedRanker":
        """The one in a version's folder.

        Raises
        ------
        models.weights.WeightsError
            When a file is missing or damaged, or needs features that are not computed here.
        """
        return cls(load(folder, FEATURES), first_stage(folder, FEATURES), ItemWeights.load(folder), trained)

    def model(self, items: ItemStatistics) -> ItemModel | None:
        """The item-to-item model over the places of these items."""
        if self.weights is None:
            return None
        if self._model is None or self._model[0] is not items:
            weights = np.maximum(self.weights.weights, 0)
            self._model = items, ItemModel.of(items.places(self.weights.ids), self.weights.slots, weights)
        return self._model[1]

    def order(self, by_behaviour: Floats, utilities: Floats, bought: int) -> tuple[Floats, Floats]:
        """What a feed is ordered by, and the scorer's part of it, given scores by behaviour and the scorer's utilities,
        float32 [n] each.

        Parameters
        ----------
        bought
            Items that the shopper has bought. Who only looks around is known by what the texts have in common.
        """
        share = np.float32(1.0 if self.trained else 1.0 / (1.0 + bought))
        by_scorer = share * _scaled(np.log(np.maximum(utilities, 1e-9)))
        return _scaled(by_behaviour) + by_scorer, by_scorer


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """A feed to make: what its candidates are found by.

    Attributes
    ----------
    sources
        What sources beside behaviour found.
    own
        What the shopper did with each item.
    asked
        The shopper's queries that count; they are encoded.
    ts
        The time of the feed, epoch ms.
    matching
        The items that it may show, if not all; the newest of them fill places that are left.
    """

    sources: Mapping[Source, Slots]
    own: OwnItems
    asked: Sequence[Asked]
    ts: int
    matching: Matching | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The candidates of a feed, their scores by behaviour, and what these are made of.

    Attributes
    ----------
    scores, features, pooled
        float32 [n], [n, F] and [n, D]; the last are the candidates' vectors.
    places
        int64 [n]: of the candidates among the statistics.
    owed
        Which of the shopper's own items give most to others.
    past, vectors
        What of the shopper's past texts are compared with, newest first: the kind of reason and its part, such as
        ``("like", "i12")``, and the unit vector, float32 [h, D].
    items
        The statistics.
    """

    candidates: Candidates
    scores: Floats
    features: Floats
    pooled: Floats
    places: Slots
    owed: Anchors
    past: Sequence[tuple[str, str]]
    vectors: Floats
    items: ItemStatistics

    def anchors(self, rows: Slots) -> list[str]:
        """Of each of some candidates the id of the shopper's own item that gives most to it by pairs, or by the
        item-to-item model; there must be one."""
        return [self.items.ids[place] for place in self.owed.of(self.places[rows]).tolist()]

    def keep(self, mask: NDArray[np.bool_]) -> "Ranked":
        """The candidates for which the mask, [n], is true."""
        return replace(
            self,
            candidates=self.candidates.keep(mask),
            scores=self.scores[mask],
            features=self.features[mask],
            pooled=self.pooled[mask],
            places=self.places[mask],
        )


class Feeds:
    """Finds and ranks the candidates of feeds.

    Parameters
    ----------
    alignment
        Of a worker's catalogue and statistics.
    behaviour
        What the latter say; its items are those of the alignment.
    """

    def __init__(
        self,
        alignment: Alignment,
        behaviour: Behaviour,
        ranker: FeedRanker,
        queries: Queries,
        caps: CandidatesConfig,
    ) -> None:
        self.alignment, self.behaviour, self.ranker = alignment, behaviour, ranker
        self.queries, self.caps = queries, caps
        self.catalogue = alignment.catalogue

    def rank(self, feeds: Sequence[Feed]) -> list[Ranked]:
        """The best candidates by behaviour of each feed, at most ``caps.total``."""
        items = self.behaviour.items
        model = self.ranker.model(items)
        scores, merged, past, texts, pooled = [], [], [], [], []
        for feed in feeds:
            self.alignment.price(feed.own.places, self.alignment.slots(feed.own.places))
            scores.append(self.behaviour.scores(feed.own, feed.ts, model))
            merged.append(self._candidates(feed, scores[-1]))
            past.append(_past(feed, items=items, alignment=self.alignment, queries=self.queries))
            pooled.append(self.catalogue.item_store.pooled(merged[-1].slots))
            texts.append(text_matches(pooled[-1], past[-1].vectors, past[-1].since))
        places = [self.alignment.places(one.slots) for one in merged]
        if places:
            self.alignment.price(np.concatenate(places), np.concatenate([one.slots for one in merged]))
        features = self.behaviour.features(scores, places, texts)
        sizes = [len(one) for one in merged]
        order = (self.ranker.first or self.ranker.ranker).scores(features, sizes)
        found, end = [], 0
        for number, one in enumerate(merged):
            begin, end = end, end + len(one)
            kept = self._best(order[begin:end])
            rows = begin + kept
            found.append(
                Ranked(
                    Candidates(one.slots[kept], one.sources[kept]),
                    order[rows],
                    features[rows],
                    pooled[number][kept],
                    places[number][kept],
                    scores[number].anchors,
                    past[number].named,
                    past[number].vectors,
                    items,
                )
            )
        return self._again(found) if self.ranker.first is not None else found

    def _best(self, order: Floats) -> Slots:
        """The numbers of the candidates that stay, ascending."""
        if len(order) <= self.caps.total:
            return np.arange(len(order))
        found: Slots = np.sort(np.argpartition(-order, self.caps.total)[: self.caps.total])
        return found

    def _again(self, found: Sequence[Ranked]) -> list[Ranked]:
        """The same candidates, scored by what ranks those that the first stage has left."""
        sizes = [len(one.scores) for one in found]
        features = np.concatenate([one.features for one in found])
        parts = np.split(self.ranker.ranker.scores(features, sizes), np.cumsum(sizes[:-1]))
        return [replace(one, scores=scores) for one, scores in zip(found, parts, strict=True)]

    def _candidates(self, feed: Feed, scores: Scores) -> Candidates:
        """The union of all sources, at most :data:`MOST`."""
        matching, caps = feed.matching, self.caps
        limits: dict[str, int] = {source: getattr(caps, source) for source in BY_BEHAVIOUR}
        found: dict[Source, Slots] = dict(feed.sources)
        searched = limits if matching is None else {source: limit and SEARCHED for source, limit in limits.items()}
        for source, best in self.behaviour.candidates(scores, searched).items():
            slots = self.alignment.held(best)
            if matching is not None:
                slots = matching.keep(slots)[: limits[source]]
            name: Source = source  # type: ignore[assignment]
            # What goes with all newest items comes before what goes with the last two, which would take all places.
            found[name] = distinct(np.concatenate([slots, found[name]])) if name in found else slots
        merged = union(found, caps, total=MOST)
        return merged if matching is None else merged.filled(matching.newest(caps.total), caps.total)


def own_items(items: ItemStatistics, shopper: Shopper) -> OwnItems:
    """What a shopper did with each item, by its place among these; of those touched last at the same time the lowest id
    comes first, as in :func:`streams.ranking.recommender.remembered_items`."""
    ids = sorted(shopper.own)
    rows = np.frombuffer(b"".join(shopper.own[item] for item in ids), ROW)
    return OwnItems.of(items.places(ids), rows, shopper.visits)


class _Past(NamedTuple):
    """A shopper's newest items and queries that texts are compared with, newest first: kind of reason and part, unit
    vectors, float32 [h, D], and days since, float64 [h]."""

    named: Sequence[tuple[str, str]]
    vectors: Floats
    since: NDArray[np.float64]


def _past(feed: Feed, *, items: ItemStatistics, alignment: Alignment, queries: Queries) -> _Past:
    catalogue, places = alignment.catalogue, feed.own.places[:PAIRED_OWN]
    slots = alignment.slots(places)
    held = slots >= 0
    asked = [queries.get(one.query).encoded.pooled for one in feed.asked]
    since = np.concatenate(
        [feed.own.since(feed.ts)[:PAIRED_OWN][held], [max(0, feed.ts - one.time_ms) / DAY_MS for one in feed.asked]]
    )
    if not len(since):
        return _Past([], np.zeros((0, catalogue.encoder.dim), np.float32), since)
    order = np.argsort(since, kind="stable")
    named = [("like", items.ids[place]) for place in places[held].tolist()]
    named += [("searched", one.query) for one in feed.asked]
    vectors = np.concatenate([catalogue.item_store.pooled(slots[held]), *(one[None] for one in asked)])
    mine = np.nan_to_num(vectors[order].astype(np.float32, copy=False))
    return _Past([named[number] for number in order.tolist()], mine, since[order])


def _scaled(values: Floats) -> Floats:
    """Less the mean, by the deviation; zero where all are alike."""
    spread = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
