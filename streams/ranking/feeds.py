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
from streams.catalog.catalog import Catalog
from streams.config import CandidatesConfig
from streams.features.behaviour import FEATURES, PAIRED_OWN, Anchors, Behaviour, ItemModel, text_matches
from streams.features.items import DAY_MS, ItemStatistics, log_price
from streams.features.own import ROW, OwnItems
from streams.features.shopper import Asked, Shopper
from streams.ranking.candidates import Candidates, Source, union
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
class Ranked:
    """The candidates of a feed, their scores by behaviour, and what these are made of.

    Attributes
    ----------
    scores, features
        float32 [n] and [n, F].
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
            places=self.places[mask],
        )


def feed(
    sources: Mapping[Source, Slots],
    own: OwnItems,
    asked: Sequence[Asked],
    ts: int,
    *,
    catalogue: Catalog,
    behaviour: Behaviour,
    ranker: FeedRanker,
    queries: Queries,
    caps: CandidatesConfig,
    matching: Matching | None = None,
) -> Ranked:
    """The best candidates of a feed by behaviour, at most ``caps.total``.

    Parameters
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
    items = behaviour.items
    newest = None if matching is None else matching.newest(caps.total)
    # All that may be shown has a place before the shopper's scores are made, which are of every place.
    for slots in sources.values() if newest is None else (*sources.values(), newest):
        items.places([catalogue.item(slot).item_id for slot in slots.tolist()])
    _price(items, catalogue, own.places)
    scores = behaviour.scores(own, ts, ranker.model(items))
    limits: dict[str, int] = {source: getattr(caps, source) for source in BY_BEHAVIOUR}
    found: dict[Source, Slots] = dict(sources)
    searched = limits if matching is None else {source: limit and SEARCHED for source, limit in limits.items()}
    for source, best in behaviour.candidates(scores, searched).items():
        slots = catalogue.slots([items.ids[place] for place in best.tolist()])
        if matching is not None:
            slots = matching.keep(slots)[: limits[source]]
        name: Source = source  # type: ignore[assignment]
        # What goes with all newest items comes before what goes with the last two, which would take all places.
        found[name] = np.array(list(dict.fromkeys([*slots.tolist(), *found.get(name, ())])), np.int64)
    merged = union(found, caps, total=MOST)
    if newest is not None:
        merged = merged.filled(newest, caps.total)
    places = items.places([catalogue.item(slot).item_id for slot in merged.slots.tolist()])
    _price(items, catalogue, places)
    past, vectors, since = _past(own, asked, ts, items=items, catalogue=catalogue, queries=queries)
    pooled = np.nan_to_num(catalogue.item_store.pooled(merged.slots).astype(np.float32))
    features = behaviour.features(scores, places, text_matches(pooled, vectors, since))
    order = (ranker.first or ranker.ranker).scores(features)
    ranked = Ranked(merged, order, features, places, scores.anchors, past, vectors, items)
    if len(merged) > caps.total:
        kept = np.zeros(len(merged), np.bool_)
        kept[np.argpartition(-order, caps.total)[: caps.total]] = True
        ranked = ranked.keep(kept)
    return ranked if ranker.first is None else replace(ranked, scores=ranker.ranker.scores(ranked.features))


def own_items(items: ItemStatistics, shopper: Shopper) -> OwnItems:
    """What a shopper did with each item, by its place among these; of those touched last at the same time the lowest id
    comes first, as in :func:`streams.ranking.recommender.remembered_items`."""
    ids = sorted(shopper.own)
    rows = np.frombuffer(b"".join(shopper.own[item] for item in ids), ROW)
    return OwnItems.of(items.places(ids), rows, shopper.visits)


def _price(items: ItemStatistics, catalogue: Catalog, places: Slots) -> None:
    """Take the prices of items from the catalogue."""
    for place in places.tolist():
        slot = catalogue.slot(items.ids[place])
        price = catalogue.item(slot).price if slot is not None else None
        if price is not None:
            items.prices[place] = log_price(price)


def _past(
    own: OwnItems,
    asked: Sequence[Asked],
    ts: int,
    *,
    items: ItemStatistics,
    catalogue: Catalog,
    queries: Queries,
) -> tuple[list[tuple[str, str]], Floats, NDArray[np.float64]]:
    """The shopper's newest items and queries that texts are compared with, newest first: kind of reason and part, unit
    vectors, float32 [h, D], and days since, float64 [h]."""
    newest = zip(own.places[:PAIRED_OWN].tolist(), own.since(ts).tolist(), strict=False)
    held = [(slot, day) for place, day in newest if (slot := catalogue.slot(items.ids[place])) is not None]
    vectors = [*catalogue.item_store.pooled(np.array([slot for slot, _ in held], np.int64))] if held else []
    vectors += [queries.get(one.query).encoded.pooled for one in asked]
    since = np.array([day for _, day in held] + [max(0, ts - one.time_ms) / DAY_MS for one in asked])
    if not vectors:
        return [], np.zeros((0, catalogue.encoder.dim), np.float32), since
    order = np.argsort(since, kind="stable")
    past = [("like", catalogue.item(slot).item_id) for slot, _ in held] + [("searched", one.query) for one in asked]
    mine = np.nan_to_num(np.stack(vectors).astype(np.float32))[order]
    return [past[number] for number in order.tolist()], mine, since[order]


def _scaled(values: Floats, counts: Floats | None = None) -> Floats:
    """Less the mean, by the deviation; zero where all are alike."""
    if counts is not None:
        mean = np.average(values, weights=counts)
        apart = float(np.sqrt(np.average(np.square(values - mean), weights=counts)))
        return ((values - mean) / apart).astype(np.float32) if apart > 0 else np.zeros_like(values)
    spread = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
