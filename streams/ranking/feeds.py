"""Candidates of a feed from text and behaviour, and their order by what shoppers did.

Knows a worker's catalogue and statistics; nothing of the scorer, of the policy, nor of where statistics come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.ranker import ItemWeights, Linear, Ranker, first_stage, load, packaged
from streams.catalog.attributes import Matching
from streams.config import CandidatesConfig
from streams.features.behaviour import FEATURES, PAIRED_OWN, Behaviour, Scores, text_matches
from streams.features.item_model import Anchors, ItemModel
from streams.features.items import DAY_MS, ItemStatistics
from streams.features.own import ROW, OwnItems, own_variants
from streams.features.shopper import Asked, Shopper
from streams.ranking.alignment import Alignment
from streams.ranking.candidates import Candidates, Source, unions
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
    _model: tuple[ItemStatistics, int, ItemModel] | None = field(default=None, init=False)

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
        if self._model is None or self._model[0] is not items or self._model[1] != items.moves:
            weights = np.maximum(self.weights.weights, 0)
            places = items.places(self.weights.ids)
            self._model = items, items.moves, ItemModel.of(places, self.weights.slots, weights)
        return self._model[2]

    def order(
        self, by_behaviour: Floats, utilities: Floats, bought: int, counts: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """What a feed is ordered by, and the scorer's part of it, given scores by behaviour and the scorer's utilities,
        float32 [n] each.

        Parameters
        ----------
        bought
            Items that the shopper has bought. Who only looks around is known by what the texts have in common.
        counts
            For how many candidates each stands, [n], where not all of them are here.
        """
        share = np.float32(1.0 if self.trained else 1.0 / (1.0 + bought))
        by_scorer = share * _scaled(np.log(np.maximum(utilities, 1e-9)), counts)
        return _scaled(by_behaviour, counts) + by_scorer, by_scorer


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
class Past:
    """What of a shopper's past texts are compared with, newest first.

    Attributes
    ----------
    places, asked
        Items and queries.
    order
        Which of the items, then the queries, comes where, int64 [h]; None where there are only items, in their order.
    vectors, since
        Unit vectors, float32 [h, D], and days since, float64 [h].
    """

    places: Slots
    asked: Sequence[Asked]
    order: Slots | None
    vectors: Floats
    since: NDArray[np.float64]

    def place(self, number: int) -> int:
        """The place of what is at a number; -1 for a query."""
        number = number if self.order is None else int(self.order[number])
        return int(self.places[number]) if number < len(self.places) else -1

    def query(self, number: int) -> str:
        """The query at a number."""
        assert self.order is not None
        return self.asked[int(self.order[number]) - len(self.places)].query


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
    past
        What texts are compared with.
    items, own
        The statistics, and what the shopper did.
    """

    candidates: Candidates
    scores: Floats
    features: Floats
    pooled: Floats
    places: Slots
    owed: Anchors
    past: Past
    items: ItemStatistics
    own: OwnItems

    def anchors(self, rows: Slots) -> list[str]:
        """Of each of some candidates the id of the shopper's own item that gives most to it by pairs, or by the
        item-to-item model; there must be one."""
        return [self.named(place) for place in self.owed.of(self.places[rows]).tolist()]

    def named(self, place: int) -> str:
        """The id of the shopper's own item at a place."""
        return self.own.variants.get(place, self.items.ids[place])

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
        if not feeds:
            return []
        items, store = self.behaviour.items, self.catalogue.item_store
        owned = np.concatenate([feed.own.places for feed in feeds])
        slots = self.alignment.slots(owned)
        self.alignment.price(owned, slots)
        scores = self.behaviour.scores(
            [feed.own for feed in feeds], [feed.ts for feed in feeds], self.ranker.model(items)
        )
        merged = self._candidates(feeds, scores)
        past = self._past(feeds, scores.since, slots)
        pooled = [store.pooled(one.slots) for one in merged]
        every = np.concatenate([one.slots for one in merged])
        places = self.alignment.places(every)
        self.alignment.price(places, every)
        sizes = [len(one) for one in merged]
        ends = np.cumsum(sizes).tolist()
        by_feed = [places[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        text = text_matches(pooled, [one.vectors for one in past], [one.since for one in past])
        features = self.behaviour.features(scores, by_feed, text)
        order = (self.ranker.first or self.ranker.ranker).scores(features, sizes)
        found = []
        for number, (one, size, end) in enumerate(zip(merged, sizes, ends, strict=True)):
            kept = self._best(order[end - size : end])
            rows = end - size + kept
            found.append(
                Ranked(
                    Candidates(one.slots[kept], one.sources[kept]),
                    order[rows],
                    features[rows],
                    pooled[number][kept],
                    places[rows],
                    scores.anchors(number),
                    past[number],
                    items,
                    feeds[number].own,
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

    def _candidates(self, feeds: Sequence[Feed], scores: Scores) -> list[Candidates]:
        """The union of all sources for each feed, at most :data:`MOST`."""
        limits: dict[str, int] = {source: getattr(self.caps, source) for source in BY_BEHAVIOUR}
        filtered = any(feed.matching is not None for feed in feeds)
        searched = {source: limit and SEARCHED for source, limit in limits.items()} if filtered else limits
        brought = self.behaviour.candidates(scores, searched)
        for feed, one in zip(feeds, brought, strict=True):
            if feed.matching is None:
                one.update({source: places[: limits[source]] for source, places in one.items()})
        parts = [places for one in brought for places in one.values()]
        slots = self.alignment.slots(np.concatenate(parts))
        held = iter(np.split(slots, np.cumsum([len(places) for places in parts])[:-1]))
        found = []
        for feed, one in zip(feeds, brought, strict=True):
            sources = {source: self._fronts(some, feed) for source, some in feed.sources.items()}
            for source in one:
                mine = next(held)
                mine = self._fronts(mine[mine >= 0], feed)
                name: Source = source  # type: ignore[assignment]
                sources[name] = mine if feed.matching is None else feed.matching.keep(mine)[: limits[source]]
            [merged] = unions([sources], self.caps, total=MOST)
            if feed.matching is not None:
                newest = self._fronts(feed.matching.newest(self.caps.total), feed)
                merged = merged.filled(newest, self.caps.total)
            found.append(merged)
        return found

    def _fronts(self, slots: Slots, feed: Feed) -> Slots:
        """One slot of each product: that of the variant which the feed shows."""
        among = None if feed.matching is None else feed.matching.mask
        return self.alignment.fronts(slots, feed.own.variants, among)

    def _past(self, feeds: Sequence[Feed], since: Sequence[NDArray[np.float64]], slots: Slots) -> list[Past]:
        """What each feed's texts are compared with; ``slots`` are those of all shoppers' items, -1 where there is
        none."""
        found, end = [], 0
        for feed, touched in zip(feeds, since, strict=True):
            places = feed.own.places[:PAIRED_OWN]
            mine, end = slots[end : end + len(places)], end + len(feed.own.places)
            held = mine >= 0
            vectors, days = self.catalogue.item_store.pooled(mine[held]), touched[:PAIRED_OWN][held]
            order = None
            if feed.asked:
                ago = np.concatenate([days, [max(0, feed.ts - one.time_ms) / DAY_MS for one in feed.asked]])
                asked = [self.queries.get(one.query).encoded.pooled[None] for one in feed.asked]
                order = np.argsort(ago, kind="stable")
                vectors, days = np.concatenate([vectors, *asked]).astype(np.float32, copy=False)[order], ago[order]
            if not np.isfinite(vectors).all():
                vectors = np.nan_to_num(vectors)
            found.append(Past(places[held], feed.asked, order, vectors, days))
        return found


def own_items(items: ItemStatistics, shopper: Shopper) -> OwnItems:
    """What a shopper did with each product, by its place among these; of those touched last at the same time the lowest
    id comes first, as in :func:`streams.ranking.recommender.remembered_items`."""
    ids = sorted(shopper.own)
    rows = np.frombuffer(b"".join(shopper.own[item] for item in ids), ROW)
    places = items.places(ids)
    variants = own_variants(ids, places, rows, items.of_group[places]) if items.grouped else None
    return OwnItems.of(places, rows, shopper.visits, variants)


def _scaled(values: Floats, counts: Floats | None = None) -> Floats:
    """Less the mean, by the deviation; zero where all are alike."""
    if counts is not None:
        mean = np.average(values, weights=counts)
        apart = float(np.sqrt(np.average(np.square(values - mean), weights=counts)))
        return ((values - mean) / apart).astype(np.float32) if apart > 0 else np.zeros_like(values)
    spread = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
