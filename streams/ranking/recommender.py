"""Makes shelves: finds candidates, scores all of them in one call, applies the policy, names reasons.

Pure: takes requests with the shoppers' past and a clock's value; returns shelf records and the time of each stage.
Knows nothing of Kafka or Redis.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.constant import ConstantScorer
from models.late_interaction import Contributions, LateInteractionScorer
from models.scorer import Scorer, ScoreRequest, utility
from streams.catalog.attributes import Matching
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Embedding
from streams.config import StreamsConfig
from streams.events.filters import CATEGORY, NO_FILTER, Filter, path
from streams.events.schema import Item
from streams.events.shelf import RankedRows, Shelf, ShelfItem, ShelfRecord, Vector, direction, shelf_id
from streams.features.behaviour import PAIRED_OWN, Behaviour
from streams.features.click_effects import Effects, posterior
from streams.features.items import ItemStatistics
from streams.features.own import ROW, OwnItems
from streams.features.shopper import Asked, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking import reasons
from streams.ranking.alignment import Alignment
from streams.ranking.assignment import CHAMPION, SHARED
from streams.ranking.candidates import Candidates, Source, distinct, source_names, unions
from streams.ranking.context import Past, Queries, centre, past_queries, vectors
from streams.ranking.feed_reasons import ShownFeed, of_feeds
from streams.ranking.feeds import Feed, FeedRanker, Feeds, Ranked, own_items
from streams.ranking.policy import Facts, Ranking, Rankings, pipeline
from streams.ranking.ranked_rows import Shown, ranked_rows
from streams.redis import keys

Surface = Literal["feed", "search", "similar", "popular"]
NOBODY = Shopper()
Slots = NDArray[np.int64]
Values = TypeVar("Values", NDArray[np.float32], NDArray[np.float64])
NOTHING: Slots = np.zeros(0, dtype=np.int64)
MOST_EFFECT = 1_000.0
"""By how much click effects multiply a utility at most, or divide it."""

RANKED = 10_000
"""Items whose demand now is looked at."""

MOST_VARIANTS = 10
"""Of so many times as many items as there may be trending ones the demand is added up by product."""

MOST_RELATED = 1_000
"""Variants of a similar shelf's item that its search looks beyond at most."""

ANCHORS = 2
"""How many of a shopper's newest items are searched around, beside the centre of all."""


@dataclass(frozen=True, slots=True)
class RankRequest:
    """One shelf to make.

    ``event_id`` and ``event_ts`` (ms) are those of the newest event that the shelf is made for. ``query`` is
    normalised. ``item_id`` is the item to find similar items for. ``segment`` is for popular shelves. Under a filter
    the shelf shows only what it keeps, and may be empty. ``renewed_ms`` is as of when a feed is made again without an
    event; 0 for one that is made for its event.
    """

    surface: Surface
    event_id: str
    event_ts: int
    shopper_id: str | None = None
    shopper: Shopper = NOBODY
    query: str | None = None
    item_id: str | None = None
    segment: str = "all"
    filter: Filter = NO_FILTER
    renewed_ms: int = 0

    @property
    def ts(self) -> int:
        """As of when the shelf is made, epoch ms."""
        return self.renewed_ms or self.event_ts

    @property
    def key(self) -> str:
        """The Redis key the shelf goes to."""
        if self.surface == "search":
            return keys.search(self.query or "", self.shopper_id, self.filter.key)
        if self.surface == "similar":
            return keys.similar(self.item_id or "")
        if self.surface == "popular":
            return keys.popular(self.segment, self.filter.key)
        return keys.feed(self.shopper_id or "", self.filter.key)


@dataclass(slots=True)
class RankResult:
    """Shelves, in the order of the requests, with milliseconds by stage for the whole batch.

    ``broken`` are the indices of shelves for which the model gave scores that are not finite; those items are left out.
    """

    records: list[ShelfRecord] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ShownItems:
    """What a shelf shows, place by place: ids, of each of the first three intents the probabilities, utilities,
    propensities, demand, and the names of the sources; rounded as records have them."""

    ids: list[str]
    chances: list[list[float]]
    worth: list[float]
    propensities: list[float]
    popularity: list[float]
    sources: list[str]


@dataclass(slots=True)
class _Context:
    """A request, the key that its shelf goes to, and the vectors that its candidates are found and scored by.

    ``by_behaviour`` is how a feed's candidates are ranked by behaviour, if they are, and ``by_scorer`` the scorer's
    part of their order, float32 [n]; ``own`` is what the shopper did with each item, once it is asked for. ``places``
    are the vectors' places in the past's weights. ``matching`` are the items that it may show, if not all. ``kept`` is
    what the policy made of the candidates, and ``shown`` is what the record says of these. ``not_again`` are the slots
    that it may not offer again.
    """

    request: RankRequest
    key: str
    past: Past
    vectors: np.ndarray
    weights: np.ndarray
    places: list[int]
    probes: list[np.ndarray]
    matching: Matching | None = None
    candidates: Candidates | None = None
    by_behaviour: Ranked | None = None
    by_scorer: NDArray[np.float32] | None = None
    own: OwnItems | None = None
    identity: str = ""
    not_again: Slots = field(default_factory=lambda: NOTHING)
    kept: Ranking | None = None
    shown: ShownItems | None = None


class Recommender:
    """Makes shelves of one catalogue with one scorer.

    Parameters
    ----------
    catalogue, scorer, trending
        The items, how they are scored, and what is in demand; all kept up to date by the owner.
    arm
        The experiment arm written to every personal shelf; on others it is ``shared``.
    queries
        Queries encoded by the scorer's encoder; by the catalogue's encoder unless given.
    behaviour, feeds
        The statistics of what shoppers did, kept up to date by the owner, and what ranks feeds by them.
    """

    def __init__(
        self,
        catalogue: Catalog,
        scorer: Scorer,
        trending: Trending,
        config: StreamsConfig,
        arm: str = CHAMPION,
        queries: Queries | None = None,
        behaviour: Behaviour | None = None,
        feeds: FeedRanker | None = None,
    ) -> None:
        self.catalogue, self.scorer, self.trending = catalogue, scorer, trending
        self.config = config
        self.arm = arm
        self.queries = Queries(catalogue.encoder) if queries is None else queries
        self.behaviour = Behaviour() if behaviour is None else behaviour
        self.feeds = FeedRanker.packaged() if feeds is None else feeds
        self._alignment = Alignment(catalogue, self.behaviour.items)
        self.policy = pipeline(config.policy)
        self._popularity = np.zeros(0, dtype=np.float32)
        self._effects = np.ones(0, np.float32)
        self._effects_of: Effects | None = None
        self._intent_weights: dict[str, float] = dict[str, float](config.policy.intent_weights.items())

    def recommend(
        self, requests: Sequence[RankRequest], together: Mapping[str, Sequence[str]], now_ms: int
    ) -> RankResult:
        """Make all shelves of a batch.

        Parameters
        ----------
        together
            For items that the requests are about, the items seen together with them, as far as known.
        """
        result = RankResult()
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            result.stages[stage] = result.stages.get(stage, 0.0) + (now - clock) * 1000
            clock = now

        wanted = [request.query for request in requests if request.query]
        wanted += [query for request in requests for query in past_queries(request.shopper, self.config.worker)]
        self.queries.update(wanted)
        lap("encode")
        self._alignment.look_again()
        contexts = self._contexts(requests)
        self._find(contexts, together, now_ms)
        lap("candidates")
        probabilities = self.scorer.score([self._score_request(context) for context in contexts])
        lap("score")
        result.broken = _leave_out_broken(contexts, probabilities)
        self._place(contexts, probabilities, now_ms)
        lap("policy")
        result.records = self._records(contexts, together, now_ms)
        self.queries.trim()
        lap("reasons")
        return result

    def warm_up(self, now_ms: int) -> None:
        """Make shelves of a shop of two items, so that no shopper waits for what is compiled or loaded at its first
        use: some ten seconds where nothing is in numba's cache."""
        encoder, titles = self.catalogue.encoder, ("garden hose", "desk lamp")
        shop, behaviour = Catalog(encoder), Behaviour()
        for title, encoded in zip(titles, encoder.encode_items(titles), strict=True):
            item = Item(item_id=title, title=title)
            shop.apply([Change(title, Embedding.of(item, encoder.version, encoded), None)])
        shop.commit()
        behaviour.items.touch(behaviour.items.places(titles), now_ms)
        behaviour.refresh()
        scorer = (
            self.scorer.over(shop.item_store) if isinstance(self.scorer, LateInteractionScorer) else ConstantScorer()
        )
        some = Recommender(shop, scorer, self.trending, self.config, behaviour=behaviour, feeds=self.feeds)
        row = np.array([(1, 1.0, now_ms // 1000, now_ms // 1000, now_ms // 1000)], ROW).tobytes()
        shopper = Shopper((Touched(now_ms, "purchase", titles[0]),), (Asked(now_ms, "lamp"),), own={titles[0]: row})
        some.recommend(
            [
                RankRequest("feed", "", now_ms, "", shopper),
                RankRequest("search", "", now_ms, "", shopper, "hose"),
                RankRequest("similar", "", now_ms, item_id=titles[0]),
            ],
            {},
            now_ms,
        )

    def serve(self, catalogue: Catalog, scorer: Scorer, queries: Queries, feeds: FeedRanker, now_ms: int) -> None:
        """Switch to another scorer, catalogue, query cache and ranker of feeds, all at once.

        Called on the event loop, where batches are computed, so between two of them.
        """
        self.catalogue, self.scorer, self.queries, self.feeds = catalogue, scorer, queries, feeds
        self._alignment = Alignment(catalogue, self.behaviour.items)
        self._effects_of = None
        self.refresh(now_ms)

    def refresh(self, now_ms: int) -> None:
        """Update the popularity of items, 0 to 1, from the demand now."""
        ranked = self.trending.get("all", now_ms, RANKED)
        top = ranked[0][1] if ranked else 1.0
        self._popularity = np.zeros(len(self.catalogue.live), dtype=np.float32)
        for item_id, score in ranked:
            slot = self.catalogue.slot(item_id)
            if slot is not None:
                self._popularity[slot] = score / top
        if self.catalogue.groups:
            self._popularity = self._of_products(self._popularity)
            self._popularity /= max(1.0, float(self._popularity.max(initial=0.0)))
        if self.behaviour.effects is not self._effects_of:
            self._effects, self._effects_of = self._click_effects(), self.behaviour.effects

    def _click_effects(self) -> NDArray[np.float32]:
        """By slot, what an item's utility is multiplied by for the touches that the scorer does not expect."""
        catalogue, effects = self.catalogue, self.behaviour.effects
        by_brand = np.ones(len(catalogue.brands) + 1)  # the last is that of items without a brand, whose number is -1
        for brand, of_brand in effects.brands.items():
            if (number := catalogue.brands.find(brand)) >= 0:
                by_brand[number] = of_brand
        found = by_brand[catalogue.brand[: len(catalogue.live)]]
        counted = catalogue.slots(list(effects.items))
        expected, touched = np.zeros(len(found)), np.zeros(len(found))
        for slot, item_id in zip(counted.tolist(), catalogue.ids(counted), strict=True):
            expected[slot], touched[slot], _ = effects.items[item_id]
        if catalogue.groups:
            expected, touched = self._of_products(expected), self._of_products(touched)
        found = posterior(expected, touched, found)
        bounded: NDArray[np.float32] = found.clip(1 / MOST_EFFECT, MOST_EFFECT).astype(np.float32)
        return bounded**self.config.policy.click_effects

    def _of_products(self, values: Values) -> Values:
        """By slot, the sum over all variants of an item's product, given what is counted of items."""
        group = self.catalogue.group[: len(values)]
        some, found = group >= 0, values.copy()
        found[some] = np.bincount(group[some], values[some])[group[some]]
        return found

    def _contexts(self, requests: Sequence[RankRequest]) -> list[_Context]:
        pasts = [
            Past((request.item_id or "",), (), (1.0,))
            if request.surface == "similar"
            else Past.of(request.shopper, self.config.worker, without=request.query)
            for request in requests
        ]
        found = vectors(pasts, self.catalogue, self.queries)
        return [
            _Context(request, request.key, past, *of, self._probes(request, *of[:2]), self._matching(request))
            for request, past, of in zip(requests, pasts, found, strict=True)
        ]

    def _probes(self, request: RankRequest, rows: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
        """What a shelf's candidates are near to: vectors [D]."""
        if request.query:
            return [self.queries.get(request.query).encoded.pooled]
        return [centre(rows, weights), *rows[:ANCHORS]] if len(rows) > 1 else list(rows)

    def _find(self, contexts: Sequence[_Context], together: Mapping[str, Sequence[str]], now_ms: int) -> None:
        caps = self.config.candidates
        probes = [probe for context in contexts if context.matching is None for probe in context.probes]
        found = iter(self.catalogue.vectors.search(np.stack(probes), caps.vector) if probes and caps.vector else ())
        trending = self._trending(now_ms)
        counted = self.behaviour.items.counted
        self._own(contexts, counted)
        by_query: dict[tuple[str, Filter], _Context] = {}
        feeds: list[tuple[_Context, Feed]] = []
        others: list[tuple[_Context, dict[Source, Slots]]] = []
        for context in contexts:
            request = context.request
            matching = context.matching
            near = [next(found, NOTHING) for _ in context.probes] if matching is None else []
            if request.query and by_query.setdefault((request.query, request.filter), context) is not context:
                continue
            if context.probes and (matching is not None or self._related(request) > 1):
                near = self._near(context)
            sources: dict[Source, Slots] = {"vector": _interleave(near), "lexical": self._lexical(request, matching)}
            by_behaviour = request.surface == "feed" and counted
            if not request.query and not by_behaviour:  # which knows what goes with all of the shopper's items
                sources["together"] = self._together(request, together)
            if request.surface == "popular":
                sources["trending"] = self._trending(now_ms, request.segment)
            elif request.surface == "feed":
                sources["trending"] = trending
            if matching is not None and "trending" in sources:
                sources["trending"] = self._in_demand(matching)
            if by_behaviour:
                feeds.append((context, self._feed(context, sources, now_ms)))
            else:
                others.append((context, sources))
        self._merge(others)
        for context in contexts:
            if context.request.query:
                context.candidates = by_query[context.request.query, context.request.filter].candidates
        ranking = Feeds(self._alignment, self.behaviour, self.feeds, self.queries, caps)
        for (context, _), ranked in zip(feeds, ranking.rank([feed for _, feed in feeds]), strict=True):
            context.by_behaviour, context.candidates = ranked, ranked.candidates

    def _near(self, context: _Context) -> list[Slots]:
        """The items nearest to each of a shelf's vectors, best first; for a similar shelf other products than its own,
        whose variants are the nearest of all."""
        most, request, probes = self.config.candidates.vector, context.request, np.stack(context.probes)
        count = most and most + max(0, self._related(request) - 1)
        if context.matching is not None:
            found = self.catalogue.nearest(probes[np.isfinite(probes).all(1)], count, context.matching)
        else:
            found = self.catalogue.vectors.search(probes, count)
        return [self._unrelated(slots, request)[:most] for slots in found]

    def _related(self, request: RankRequest) -> int:
        """How many items are variants of the product that a similar shelf is for, which is one itself."""
        same = self.catalogue.slots([request.item_id or ""])
        [group] = self.catalogue.group[same].tolist() or [-1]
        count = len(same) if group < 0 else int(np.count_nonzero(self.catalogue.group == group))
        return min(count, MOST_RELATED)

    def _unrelated(self, slots: Slots, request: RankRequest) -> Slots:
        """Some slots but those of the item that a similar shelf is for and of its variants."""
        same = self.catalogue.slots([request.item_id or ""])
        return slots[~(np.isin(slots, same) | self.catalogue.variants(same, slots))] if len(same) else slots

    def _feed(self, context: _Context, sources: Mapping[Source, Slots], now_ms: int) -> Feed:
        """What a feed's candidates are found by where behaviour is known."""
        request = context.request
        asked = request.shopper.asked[: self.config.worker.recent_queries]
        assert context.own is not None
        return Feed(sources, context.own, asked, min(request.ts, now_ms), context.matching)

    def _matching(self, request: RankRequest) -> Matching | None:
        """The items that a shelf may show, if not all: what its filter keeps, or those of the same category."""
        in_stock = "in_stock" in self.config.policy.steps  # else what is sold out would take places of what is not
        if request.filter:
            return self.catalogue.matching(request.filter, in_stock)
        slot = self.catalogue.slot(request.item_id or "")
        if self.config.shelf.similar_within_category and slot is not None:
            category = path(self.catalogue.item(slot).category)
            related = self._related(request) > 1
            while category:  # the narrowest one that fills a shelf beside the item itself, and its variants
                matching = self.catalogue.matching(Filter.of({CATEGORY: category}), in_stock)
                count = len(self._unrelated(matching.slots, request)) + 1 if related else matching.count
                if count > self.config.policy.length:
                    return matching
                category = category.rpartition(">")[0]
        return None

    def _in_demand(self, matching: Matching) -> Slots:
        """The matching items most in demand, best first."""
        slots = matching.slots
        slots = slots[slots < len(self._popularity)]
        demand = self._popularity[slots]
        best = slots[np.argsort(-demand, kind="stable")[: np.count_nonzero(demand)]]
        return self._alignment.fronts(best, among=matching.mask)[: self.config.candidates.total]

    def _filled(self, candidates: Candidates, request: RankRequest, matching: Matching) -> Candidates:
        """The candidates, and the newest matching items in the places that are left: no item that matches is missed
        while there is room for it."""
        total = self.config.candidates.total
        newest = matching.newest(total + self._related(request)) if len(candidates) < total else NOTHING
        return candidates.filled(self._unrelated(newest, request), total)

    def _merge(self, found: Sequence[tuple[_Context, dict[Source, Slots]]]) -> None:
        """Merge what each shelf's sources found, but those of feeds by behaviour."""
        shown = [self._shown(context, sources) for context, sources in found]
        same = [self.catalogue.slots([context.request.item_id or ""]) for context, _ in found]
        merged = unions(shown, self.config.candidates, same)
        for (context, _), candidates, own in zip(found, merged, same, strict=True):
            kept = candidates.keep(~self.catalogue.variants(own, candidates.slots)) if len(own) else candidates
            if context.matching is not None:
                kept = self._filled(kept, context.request, context.matching)
            elif not len(kept):
                kept = self._newest(context.request)
            context.candidates = kept

    def _shown(self, context: _Context, sources: Mapping[Source, Slots]) -> Mapping[Source, Slots]:
        """What sources found and the shelf may show; of variants, but in searches, those to show."""
        matching = context.matching
        shown = self.catalogue.live if matching is None else matching.mask
        live = {source: slots[shown[slots]] for source, slots in sources.items()}
        if not self._alignment.grouped or context.request.query:
            return live
        mine = self._nearest_variants(live["vector"])
        among = None if matching is None else matching.mask
        return {source: self._alignment.fronts(slots, mine, among) for source, slots in live.items()}

    def _nearest_variants(self, slots: Slots) -> dict[int, str]:
        """Of each product, by place, the first variant in stock among some slots, nearest first."""
        slots = slots[self.catalogue.in_stock[slots]]
        places = self._alignment.places(slots).tolist()
        return dict(zip(reversed(places), reversed(self.catalogue.ids(slots)), strict=True))

    def _newest(self, request: RankRequest) -> Candidates:
        """The newest items: no source found them."""
        total = self.config.candidates.total
        slots = self.catalogue.newest(total + self._related(request))
        slots = self._unrelated(slots[self.catalogue.live[slots]], request)[:total]
        return Candidates(slots, np.zeros(len(slots), np.uint16))

    def _lexical(self, request: RankRequest, matching: Matching | None) -> Slots:
        query = request.query or (
            request.shopper.asked[0].query if request.surface == "feed" and request.shopper.asked else None
        )
        if query is None or not self.config.candidates.lexical:
            return NOTHING
        pieces, most = self.queries.get(query).pieces, self.config.candidates.lexical
        if matching is not None:
            return self.catalogue.sharing(pieces, most, matching)
        return self.catalogue.lexical.search(pieces, most)

    def _together(self, request: RankRequest, together: Mapping[str, Sequence[str]]) -> Slots:
        return _interleave([self.catalogue.slots(together[item]) for item in anchors(request) if item in together])

    def _trending(self, now_ms: int, segment: str = "all") -> Slots:
        total = self.config.candidates.total
        if not self._alignment.grouped:
            return self.catalogue.slots([item_id for item_id, _ in self.trending.get(segment, now_ms, total)])
        ranked = dict(self.trending.get(segment, now_ms, MOST_VARIANTS * total))
        slots = self.catalogue.slots(list(ranked))
        places = self._alignment.places(slots)
        products, at = np.unique(places, return_inverse=True)
        demand = np.bincount(at, [ranked[item_id] for item_id in self.catalogue.ids(slots)], len(products))
        return self._alignment.held(products[np.argsort(-demand, kind="stable")[:total]])

    def _score_request(self, context: _Context) -> ScoreRequest:
        request, slots = context.request, _candidates(context).slots
        if len(self._popularity) < len(self.catalogue.live):  # the catalogue grew since
            self._popularity = np.pad(self._popularity, (0, len(self.catalogue.live) - len(self._popularity)))
        if len(self._effects) < len(self.catalogue.live):
            grown = len(self.catalogue.live) - len(self._effects)
            self._effects = np.pad(self._effects, (0, grown), constant_values=1.0)
        return ScoreRequest(
            candidates=slots,
            query=self.queries.get(request.query).encoded if request.query else None,
            query_text=request.query or "",
            history=context.vectors,
            weights=context.weights,
            popularity=self._popularity[slots],
        )

    def _place(self, contexts: Sequence[_Context], probabilities: Sequence[np.ndarray], now_ms: int) -> None:
        """Apply the policy, given the candidates' probabilities of each shelf."""
        if not contexts:
            return
        sizes = [len(rows) for rows in probabilities]
        ends = np.cumsum(sizes)
        slots = np.concatenate([_candidates(context).slots for context in contexts])
        chances = np.concatenate(probabilities)
        worth = utility(chances, self._intent_weights)
        effects = self._effects[slots]
        worth = np.where(worth < 0, worth / effects, worth * effects)
        self._order(contexts, worth, np.repeat([one.by_behaviour is not None for one in contexts], sizes))
        self._not_again(contexts, now_ms)
        for context in contexts:
            request = context.request
            context.identity = shelf_id(request.surface, context.key, request.event_id, self.scorer.version)
        sources = np.concatenate([_candidates(context).sources for context in contexts])
        kept = self.policy.apply(
            Rankings.of(sizes, slots, worth, sources),
            Facts(
                in_stock=self.catalogue.in_stock,
                brands=self.catalogue.brand,
                groups=self.catalogue.group,
                vectors=self.catalogue.item_store.pooled,
                bought=[context.not_again for context in contexts],
                overlooked=[self._overlooked(context, now_ms) for context in contexts],
                seeds=[_seed(context) for context in contexts],
                length=self.config.policy.length,
            ),
        )
        self._show(contexts, kept, chances[(ends - sizes)[kept.shelves] + kept.rows, :3])

    def _show(self, contexts: Sequence[_Context], kept: Rankings, chances: NDArray[np.float32]) -> None:
        """Note what each shelf shows, given the probabilities of the first three intents of all, [n, 3]."""
        ids, found = self.catalogue.ids(kept.slots), chances.T.astype(np.float64).round(4).tolist()
        worth = kept.scores.astype(np.float64).round(5).tolist()
        likely = kept.propensities.astype(np.float64).round(6).tolist()
        demand = self._popularity[kept.slots].astype(np.float64).round(3).tolist()
        sources = [source_names(mask) or "new" for mask in kept.reasons.tolist()]
        for number, (context, (begin, end)) in enumerate(zip(contexts, pairwise(kept.starts.tolist()), strict=True)):
            part = np.s_[begin:end]
            context.kept = kept.shelf(number)
            several = [column[part] for column in found]
            context.shown = ShownItems(ids[part], several, worth[part], likely[part], demand[part], sources[part])

    def _order(self, contexts: Sequence[_Context], worth: NDArray[np.float32], of_feeds: NDArray[np.bool_]) -> None:
        """Replace the utilities of feeds by behaviour by what they are ordered by, and note the scorer's part of it;
        ``of_feeds`` says which of all candidates are theirs, bool [n]."""
        feeds = [(one, one.by_behaviour.scores) for one in contexts if one.by_behaviour is not None]
        if not feeds:
            return
        sizes = [len(scores) for _, scores in feeds]
        bought = [len(one.request.shopper.bought) for one, _ in feeds]
        by_behaviour = np.concatenate([scores for _, scores in feeds])
        worth[of_feeds], by_scorer = self.feeds.order(by_behaviour, worth[of_feeds], bought, sizes)
        for (context, _), own in zip(feeds, np.split(by_scorer, np.cumsum(sizes)[:-1]), strict=True):
            context.by_scorer = own

    def _own(self, contexts: Sequence[_Context], counted: bool) -> None:
        """Note what the shoppers of some requests did with each item, each shopper's once."""
        due = self.config.policy.offer_again == "due"
        wanted = [
            one
            for one in contexts
            if (counted and one.request.surface == "feed") or (due and one.request.shopper.bought)
        ]
        shoppers = {id(one.request.shopper): one.request.shopper for one in wanted}
        found = own_items(self.behaviour.items, list(shoppers.values()))
        owns = dict(zip(shoppers, found, strict=True))
        for one in wanted:
            one.own = owns[id(one.request.shopper)]

    def _not_again(self, contexts: Sequence[_Context], now_ms: int) -> None:
        """Note the slots of what each shopper has bought and is not to be offered again, and of its variants."""
        mode = self.config.policy.offer_again
        some = [one for one in contexts if mode != "always" and one.request.shopper.bought]
        owns = [one.own for one in some if mode != "never" and one.own is not None]
        due = iter(self.behaviour.due(owns, [min(one.request.ts, now_ms) for one in some]) if owns else ())
        for context in some:
            shopper, own = context.request.shopper, context.own
            if mode == "never" or own is None:
                bought = self.catalogue.slots(list(shopper.bought))
            else:
                held = self._alignment.held(own.places[~next(due)])
                forgotten = shopper.bought - shopper.own.keys()  # cut from what is remembered of them
                bought = np.concatenate([held, self.catalogue.slots(list(forgotten))]) if forgotten else held
            slots = _candidates(context).slots
            context.not_again = np.concatenate([bought, slots[self.catalogue.variants(bought, slots)]])

    def _overlooked(self, context: _Context, now_ms: int) -> dict[int, float]:
        """By slot, how often a feed's shopper saw an item, or a variant of it, and did not touch it since."""
        request = context.request
        if request.surface != "feed" or not request.shopper.seen:
            return {}
        half_life, hour_ms = self.config.policy.fatigue_half_life_s, self.config.state.trend_bucket_s * 1000
        found = request.shopper.overlooked(min(request.ts, now_ms), half_life, hour_ms)
        slots = ((self.catalogue.slot(item), count) for item, count in found.items())
        counts = {slot: count for slot, count in slots if slot is not None}
        group = self.catalogue.group
        of_groups: dict[int, float] = {}
        for slot, count in counts.items():
            of_groups[int(group[slot])] = max(count, of_groups.get(int(group[slot]), 0.0))
        variants = _candidates(context).slots
        variants = variants[self.catalogue.variants(np.fromiter(counts, np.int64, len(counts)), variants)]
        return counts | {slot: of_groups[int(group[slot])] for slot in variants.tolist()}

    def _reasons(self, contexts: Sequence[_Context], together: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Of each shelf the reasons of its items: of a feed by behaviour what its order owes most to; those of all
        other shelves are computed in one call.

        Only late interaction says what a word or a past item adds; for other scorers reasons are the sources.
        """
        by_scorer = iter(self._by_scorer([one for one in contexts if one.by_behaviour is None], together))
        shown = [
            ShownFeed(one.by_behaviour, one.by_scorer, _kept(one).rows, _kept(one).reasons)
            for one in contexts
            if one.by_behaviour is not None and one.by_scorer is not None
        ]
        by_ranker = iter(of_feeds(shown, self.feeds.ranker))
        return [next(by_scorer if one.by_behaviour is None else by_ranker) for one in contexts]

    def _by_scorer(self, contexts: Sequence[_Context], together: Mapping[str, Sequence[str]]) -> list[list[str]]:
        if not isinstance(self.scorer, LateInteractionScorer):
            return [[reasons.of_sources(mask) for mask in _kept(one).reasons.tolist()] for one in contexts]
        queries = [self.queries.get(one.request.query).encoded if one.request.query else None for one in contexts]
        found = self.scorer.contributions(
            [
                # A search is explained by its words alone.
                ScoreRequest(_kept(one).slots, query, history=None if query else one.vectors, weights=one.weights)
                for one, query in zip(contexts, queries, strict=True)
            ]
        )
        return [self._why(one, of, together) for one, of in zip(contexts, found, strict=True)]

    def _why(self, context: _Context, found: Contributions, together: Mapping[str, Sequence[str]]) -> list[str]:
        request, masks = context.request, _kept(context).reasons.tolist()
        if request.query:
            return reasons.of_search(masks, self.queries.get(request.query).words, found)
        if not context.places:
            return [reasons.of_sources(mask) for mask in masks]
        past = [("like", item) for item in context.past.items] + [("searched", one) for one in context.past.queries]
        return reasons.of_past(
            _shown(context).ids,
            masks,
            [past[place] for place in context.places],
            found,
            {item: self._shown_of(together[item], context) for item in anchors(request) if item in together},
        )

    def _shown_of(self, ids: Sequence[str], context: _Context) -> Sequence[str]:
        """Some items, or the shown ones that are variants of one of them."""
        if not self._alignment.grouped:
            return ids
        places = self._alignment.places(_kept(context).slots)
        among = np.isin(places, self.behaviour.items.find(ids))
        return [item for item, one in zip(_shown(context).ids, among.tolist(), strict=True) if one]

    def _records(
        self, contexts: Sequence[_Context], together: Mapping[str, Sequence[str]], now_ms: int
    ) -> list[ShelfRecord]:
        ranked, directions = iter(self._ranked_rows(contexts)), self._directions(contexts)
        return [
            self._record(
                context,
                why,
                next(ranked) if context.by_behaviour else None,
                directions.get(context.request.query or ""),
                now_ms,
            )
            for context, why in zip(contexts, self._reasons(contexts, together), strict=True)
        ]

    def _record(
        self, context: _Context, why: Sequence[str], ranked: RankedRows | None, vector: Vector | None, now_ms: int
    ) -> ShelfRecord:
        request, shown = context.request, _shown(context)
        items = [ShelfItem(*one) for one in zip(shown.ids, shown.worth, *shown.chances, why, strict=True)]
        shelf = Shelf(
            shelf_id=context.identity,
            surface=request.surface,
            model=self.scorer.version,
            arm=SHARED if request.shopper_id is None else self.arm,
            made_at=now_ms,
            event_ts=request.event_ts,
            items=items,
        )
        return ShelfRecord(
            key=context.key,
            shopper=request.shopper_id,
            query=request.query,
            filter=request.filter.key or None,
            shelf=shelf,
            propensities=shown.propensities,
            history=list(context.past.items),
            asked=list(context.past.queries),
            weights=[round(weight, 3) for weight in context.past.weights],
            popularity=shown.popularity,
            vector=vector,
            sources=shown.sources,
            renewed=bool(request.renewed_ms),
            ranked=ranked,
        )

    def _ranked_rows(self, contexts: Sequence[_Context]) -> list[RankedRows]:
        """Of each feed by behaviour what it was ranked by."""
        shown = [
            Shown(
                one.by_behaviour, _kept(one).rows.tolist(), one.not_again, len(one.request.shopper.bought), _seed(one)
            )
            for one in contexts
            if one.by_behaviour is not None
        ]
        return ranked_rows(shown, self.catalogue, self._popularity)

    def _directions(self, contexts: Sequence[_Context]) -> dict[str, Vector]:
        """The embedding of each query that has one."""
        queries = dict.fromkeys(one.request.query for one in contexts if one.request.query)
        found = {query: self.queries.get(query).encoded.pooled for query in queries}
        version = self.queries.encoder.query_version
        return {query: direction(version, pooled) for query, pooled in found.items() if np.isfinite(pooled).all()}


def anchors(request: RankRequest) -> list[str]:
    """The items that a request is about; items seen together with them become candidates."""
    if request.item_id:
        return [request.item_id]
    if request.surface != "feed":
        return []
    return list(dict.fromkeys(touched.item_id for touched in request.shopper.touched))[: ANCHORS + 1]


def remembered_items(request: RankRequest, items: ItemStatistics | None = None) -> list[str]:
    """The items whose neighbours a request needs: its anchors, and a feed's shopper's items that were touched last; of
    variants, by ``items``, one."""
    if request.surface != "feed":
        return anchors(request)
    own = request.shopper.own
    newest = sorted(own, key=lambda item: (-int.from_bytes(own[item][-4:], "little"), item))
    if items is not None and items.grouped:
        first: dict[int, str] = {}
        for place, item in zip(items.places(newest).tolist(), newest, strict=True):
            first.setdefault(place, item)
        newest = list(first.values())
    return [*anchors(request), *newest[:PAIRED_OWN]]


def _leave_out_broken(contexts: Sequence[_Context], probabilities: list[np.ndarray]) -> set[int]:
    """Leave out the candidates whose probabilities are not all finite; the shelves that have such ones."""
    if not probabilities or np.isfinite(np.concatenate(probabilities)).all():
        return set()
    broken = set()
    for here, context in enumerate(contexts):
        numbers: NDArray[np.bool_] = np.asarray(np.isfinite(probabilities[here]).all(axis=1))
        if not numbers.all():
            broken.add(here)
            probabilities[here] = probabilities[here][numbers]
            context.candidates = _candidates(context).keep(numbers)
            if context.by_behaviour is not None:
                context.by_behaviour = context.by_behaviour.keep(numbers)
    return broken


def _candidates(context: _Context) -> Candidates:
    assert context.candidates is not None
    return context.candidates


def _seed(context: _Context) -> int:
    """What is drawn for a shelf is drawn again where it is made again."""
    return int(context.identity[:15], 16)


def _kept(context: _Context) -> Ranking:
    assert context.kept is not None
    return context.kept


def _shown(context: _Context) -> ShownItems:
    assert context.shown is not None
    return context.shown


def _interleave(lists: Sequence[Slots]) -> Slots:
    """Merge ranked lists round robin by rank, each slot once."""
    if not lists:
        return NOTHING
    if len(lists) == 1:
        return lists[0]
    width = max(map(len, lists))
    padded = np.full((len(lists), width), -1, dtype=np.int64)
    for row, ranked in zip(padded, lists, strict=True):
        row[: len(ranked)] = ranked
    merged = padded.T.ravel()
    return distinct(merged[merged >= 0])
