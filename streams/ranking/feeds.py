"""Candidates of a feed from text and behaviour, and their order by what shoppers did.

Knows a worker's catalogue and statistics; nothing of the scorer, of the policy, nor of where statistics come from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from models.ranker import ItemWeights, Linear, Ranker, first_stage, load, packaged
from streams.catalog.attributes import Matching
from streams.config import CandidatesConfig
from streams.features.behaviour import FEATURES, PAIRED_OWN, Behaviour, Scores, text_matches
from streams.features.item_model import ItemModel
from streams.features.items import DAY_MS, ItemStatistics
from streams.features.own import ROW, OwnItems, numbered, own_variants, parts
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
        self,
        by_behaviour: Floats,
        utilities: Floats,
        bought: Sequence[int],
        sizes: Sequence[int],
        counts: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """What feeds are ordered by, and the scorer's part of it, given scores by behaviour and the scorer's utilities,
        float32 [n] each, one feed's candidates after the other's.

        Parameters
        ----------
        bought
            Items that each feed's shopper has bought. Who only looks around is known by what the texts have in common.
        sizes
            How many candidates each feed has.
        counts
            For how many candidates each stands, [n], where not all of them are here.
        """
        shares = np.ones(len(sizes)) if self.trained else 1.0 / (1.0 + np.array(bought))
        utilities = _scaled(np.log(np.maximum(utilities, 1e-9)), sizes, counts)
        by_scorer = np.repeat(shares, sizes).astype(np.float32) * utilities
        return _scaled(by_behaviour, sizes, counts) + by_scorer, by_scorer


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """A feed to make: what its candidates are found by.

    Attributes
    ----------
    sources
        What sources beside behaviour found, best first; what the feed may not show is left out here.
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
    """What of shoppers' pasts texts are compared with, one shopper's after the other's, newest first.

    Attributes
    ----------
    starts
        Where each shopper's begin, int64 [b + 1].
    places, queries
        Of each the place of the item, int64 [h], or -1 and a query; "" for an item.
    vectors, since
        Unit vectors, float32 [h, D], and days since, float64 [h].
    """

    starts: Slots
    places: Slots
    queries: Sequence[str]
    vectors: Floats
    since: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RankedFeeds:
    """The candidates of the feeds of a batch, their scores by behaviour, and what these are made of: those of one feed
    after those of the other, n in all.

    Attributes
    ----------
    starts
        Where each feed's begin, int64 [b + 1].
    slots, sources, places
        int64, uint16 and int64 [n]: of the candidates, and among the statistics.
    scores, features
        float32 [n] and [n, F].
    nearest, cosines
        What of the past is most like each, int64 [n], and how like it is, float32 [n]; NaN where nothing is known.
    past
        What texts are compared with.
    behaviour
        What is known of items for the shoppers.
    items
        The statistics.
    """

    starts: Slots
    slots: Slots
    sources: NDArray[np.uint16]
    places: Slots
    scores: Floats
    features: Floats
    nearest: Slots
    cosines: Floats
    past: Past
    behaviour: Scores
    items: ItemStatistics

    def __len__(self) -> int:
        return len(self.starts) - 1

    def feeds(self) -> "list[Ranked]":
        """Each feed by itself."""
        rows = np.arange(len(self.slots))
        bounds = pairwise(self.starts.tolist())
        return [Ranked(self, number, rows[begin:end]) for number, (begin, end) in enumerate(bounds)]

    def named(self, number: int, place: int) -> str:
        """The id of the item at a place that the shopper of a feed has."""
        return self.behaviour.owns[number].variants.get(place, self.items.ids[place])


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A feed of a batch: its number, and the rows of its candidates, int64 [n]."""

    batch: RankedFeeds
    number: int
    rows: Slots

    @property
    def candidates(self) -> Candidates:
        """The candidates."""
        return Candidates(self.batch.slots[self.rows], self.batch.sources[self.rows])

    @property
    def scores(self) -> Floats:
        """Their scores by behaviour, float32 [n]."""
        return self.batch.scores[self.rows]

    def keep(self, mask: NDArray[np.bool_]) -> "Ranked":
        """The candidates for which the mask, [n], is true."""
        return replace(self, rows=self.rows[mask])


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
        items = self.behaviour.items
        owned = np.concatenate([feed.own.places for feed in feeds])
        slots = self.alignment.slots(owned)
        self.alignment.price(owned, slots)
        known = self.behaviour.scores(
            [feed.own for feed in feeds], [feed.ts for feed in feeds], self.ranker.model(items)
        )
        merged = self._candidates(feeds, known)
        past = self._past(feeds, known, slots)
        every, sizes = np.concatenate([one.slots for one in merged]), [len(one) for one in merged]
        starts = np.cumsum([0, *sizes])
        places = self.alignment.places(every)
        self.alignment.price(places, every)
        text = text_matches(
            self._vectors(every, starts),
            parts(past.vectors, past.starts),
            parts(past.since, past.starts),
            len(every),
        )
        features = self.behaviour.features(known, parts(places, starts), text.features)
        scores = (self.ranker.first or self.ranker.ranker).scores(features, sizes)
        rows, sizes = self._best(scores, starts)
        features = np.ascontiguousarray(features[rows])
        scores = scores[rows] if self.ranker.first is None else self.ranker.ranker.scores(features, sizes)
        return RankedFeeds(
            np.cumsum([0, *sizes]),
            every[rows],
            np.concatenate([one.sources for one in merged])[rows],
            places[rows],
            scores,
            features,
            np.repeat(past.starts[:-1], sizes) + text.nearest[rows],
            text.cosines[rows],
            past,
            known,
            items,
        ).feeds()

    def _vectors(self, slots: Slots, starts: Slots) -> Iterator[Floats]:
        """The vectors of each feed's candidates, each array until the next is asked for. What several feeds have is
        read once: most of them have the most bought and the newest items."""
        _, firsts, of = numbered(np.array([0, len(slots)]), slots, len(self.catalogue.since))
        found = self.catalogue.item_store.pooled(slots[firsts])
        if len(starts) == 2:
            yield found
            return
        room = np.empty((int(np.diff(starts).max()), found.shape[1]), np.float32)
        for numbers in parts(of, starts):
            yield np.take(found, numbers, axis=0, out=room[: len(numbers)], mode="clip")

    def _best(self, scores: Floats, starts: Slots) -> tuple[Slots, list[int]]:
        """The rows of the candidates of each feed that stay, ascending, and how many there are."""
        bits = scores.view(np.int32)
        ascending = np.where(bits < 0, bits ^ np.int32(2**31 - 1), bits).astype(np.int64)  # in the order of the scores
        sizes = np.diff(starts)
        keys = (np.repeat(np.arange(len(sizes)), sizes) << 32) + (2**31 - ascending)
        ranked = np.argsort(keys)
        kept = np.arange(len(scores)) - np.repeat(starts[:-1], sizes) < self.caps.total
        return np.sort(ranked[kept]), np.minimum(sizes, self.caps.total).tolist()

    def _candidates(self, feeds: Sequence[Feed], scores: Scores) -> list[Candidates]:
        """The union of all sources for each feed, at most :data:`MOST`."""
        limits: dict[Source, int] = {source: getattr(self.caps, source) for source in get_args(Source)}
        filtered = any(feed.matching is not None for feed in feeds)
        searched: dict[str, int] = {one: limits[one] and SEARCHED if filtered else limits[one] for one in BY_BEHAVIOUR}
        brought = self.behaviour.candidates(scores, searched)
        slots = self.alignment.slots(np.concatenate([places for one in brought for places in one.values()]))
        gone, live, end = bool((slots < 0).any()), self.catalogue.live, 0
        shelves: list[dict[Source, Slots]] = []
        for feed, one in zip(feeds, brought, strict=True):
            shown = live if feed.matching is None else feed.matching.mask
            sources = {name: some[shown[some]][: limits[name]] for name, some in feed.sources.items()}
            for source, places in one.items():
                name: Source = source  # type: ignore[assignment]
                begin, end = end, end + len(places)
                mine = slots[begin : end if feed.matching is not None else begin + limits[name]][: len(places)]
                sources[name] = mine[mine >= 0] if gone else mine
            if self.alignment.grouped:
                sources = {name: self._fronts(some, feed) for name, some in sources.items()}
            if feed.matching is not None:
                sources = {name: feed.matching.keep(some) if name in one else some for name, some in sources.items()}
            shelves.append(sources)
        found = unions(shelves, self.caps, total=MOST)
        for number, feed in enumerate(feeds):
            if feed.matching is not None:
                newest = self._fronts(feed.matching.newest(self.caps.total), feed)
                found[number] = found[number].filled(newest, self.caps.total)
        return found

    def _fronts(self, slots: Slots, feed: Feed) -> Slots:
        """One slot of each product: that of the variant which the feed shows."""
        among = None if feed.matching is None else feed.matching.mask
        return self.alignment.fronts(slots, feed.own.variants, among)

    def _past(self, feeds: Sequence[Feed], scores: Scores, slots: Slots) -> Past:
        """What the feeds' texts are compared with; ``slots`` are those of all shoppers' items, -1 where there is
        none."""
        owned = scores.owned
        numbers = owned.newest(PAIRED_OWN)
        numbers = numbers[slots[numbers] >= 0]
        asked = [(number, one) for number, feed in enumerate(feeds) for one in feed.asked]
        of = np.concatenate([owned.shopper[numbers], np.array([number for number, _ in asked], np.int64)])
        asked_ms = np.array([one.time_ms for _, one in asked], np.float64)
        ago = np.maximum(0.0, scores.ts[of[len(numbers) :]] - asked_ms) / DAY_MS
        since = np.concatenate([owned.since_touched[numbers], ago])
        order = np.lexsort((since, of))
        vectors = self.catalogue.item_store.pooled(slots[numbers])
        if asked:
            vectors = np.concatenate([vectors, [self.queries.get(one.query).encoded.pooled for _, one in asked]])
            vectors = vectors.astype(np.float32, copy=False)[order]
        if not np.isfinite(vectors).all():
            vectors = np.nan_to_num(vectors)
        places = np.concatenate([owned.places[numbers], np.full(len(asked), -1)])[order]
        queries = [*[""] * len(numbers), *(one.query for _, one in asked)]
        starts = np.searchsorted(of[order], np.arange(len(feeds) + 1))
        return Past(starts, places, [queries[number] for number in order.tolist()], vectors, since[order])


def own_items(items: ItemStatistics, shoppers: Sequence[Shopper]) -> list[OwnItems]:
    """What shoppers did with each product, by its place among these; of those touched last at the same time the lowest
    id comes first, as in :func:`streams.ranking.recommender.remembered_items`."""
    ids = [sorted(shopper.own) for shopper in shoppers]
    packed = b"".join(shopper.own[item] for shopper, some in zip(shoppers, ids, strict=True) for item in some)
    rows, places = np.frombuffer(packed, ROW), items.places([item for some in ids for item in some])
    sizes, visits = [len(some) for some in ids], [shopper.visits for shopper in shoppers]
    found = OwnItems.each(places, rows, sizes, visits)
    if items.grouped:
        of_group, ends = items.of_group[places], np.cumsum(sizes).tolist()
        for number, (some, end) in enumerate(zip(ids, ends, strict=True)):
            mine = slice(end - len(some), end)
            if of_group[mine].any():
                variants = own_variants(some, places[mine], rows[mine], of_group[mine])
                found[number] = OwnItems.of(places[mine], rows[mine], visits[number], variants)
    return found


def _scaled(values: Floats, sizes: Sequence[int], counts: Floats | None = None) -> Floats:
    """Of each feed less the mean, by the deviation; zero where all are alike."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.ones(len(values)) if counts is None else counts.astype(np.float64)
    whole = np.maximum(np.bincount(of, weights, len(sizes)), 1e-9)
    apart = values - (np.bincount(of, weights * values, len(sizes)) / whole)[of]
    spreads = np.sqrt(np.bincount(of, weights * np.square(apart), len(sizes)) / whole)
    found: Floats = np.where(spreads[of] > 0, apart / np.where(spreads > 0, spreads, 1.0)[of], 0.0).astype(np.float32)
    return found
