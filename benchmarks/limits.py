"""What keeps a simulated shop's shelves from the best possible: the same visits, one cause after another removed.

Reads the shop's Redis and model store as a worker does, and ranks with the worker's own parts in process. Knows nothing
of how the shop ran.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean

from redis.asyncio import Redis

from benchmarks.report import Value
from benchmarks.worker_feed import changes
from evaluator.metrics.intervals import ratio
from liveshelf.settings import Settings
from liveshelf.simulation.taste import Aim, asked
from liveshelf.simulation.visit import PAGE
from liveshelf.simulation.world import World
from models.store import ModelStore
from models.store.slots import CHAMPION
from streams.clock import wall_ms
from streams.config import CandidatesConfig, PolicyConfig, StreamsConfig
from streams.events.schema import normalise
from streams.features.shopper import Shopper
from streams.features.trending import Trending
from streams.ranking.recommender import RankRequest, Recommender, anchors
from streams.redis.client import ShelfClient
from streams.redis.store import StateStore
from streams.serving.loaded_model import LoadedModel, fetch, load
from streams.serving.slots import UNTRAINED

OTHERS = 40
"""Shoppers whose mean liking is what everybody likes."""

SHOWN, ANEW = "as shown", "made anew, without exploration"
BARE, KEPT = "also without diversity and brand cap", "also with bought items kept"
WHOLE, OWN, BEST = "the same scores over all items", "best order of the shelf's 20", "best order of the candidates"
ALL = "best for all shoppers alike"
ORDER = (SHOWN, ANEW, BARE, KEPT, WHOLE, OWN, BEST, ALL)


@dataclass
class Visit:
    """A visitor and the page that they want; the items of each ranking, from the top."""

    shopper: str
    aim: Aim
    rankings: dict[str, list[str]]


class Limits:
    """The rankings of sampled visits in a shop that has stopped.

    Parameters
    ----------
    world
        As it was when the shop stopped; nobody acts meanwhile.
    seed
        Of the sample.
    """

    def __init__(self, settings: Settings, world: World, seed: int) -> None:
        self.settings, self.world, self.now_ms = settings, world, wall_ms()
        self.random = random.Random(seed)
        self.config = settings.streams()
        self.items = world.on_sale(self.now_ms)
        self._for: dict[Aim, list[str]] = {}

    def visits(self, count: int) -> list[Visit]:
        """So many shoppers, each with the rankings for the page that they want now."""
        client = ShelfClient.from_url(self.settings.redis.url.get_secret_value())
        found = []
        for shopper in self.random.sample(self.world.ids, min(count, len(self.world.ids))):
            aim = self.world.aim(shopper)
            if aim.query:
                shelf = client.search(aim.query, shopper)
            else:
                shelf = client.similar(aim.about) if aim.about is not None else client.feed(shopper)
            if shelf is not None and shelf.items:
                found.append(Visit(shopper, aim, {SHOWN: [item.item_id for item in shelf.items]}))
        client.close()
        asyncio.run(self._rank(found))
        for visit in found:
            visit.rankings[OWN] = self._best(visit, visit.rankings[SHOWN])
            visit.rankings[BEST] = self._best(visit, visit.rankings[KEPT])
            visit.rankings[ALL] = self._for_all(visit.aim)
        return found

    async def _rank(self, visits: Sequence[Visit]) -> None:
        model = self._model()
        trending = Trending(self.config.state.trend_bucket_s, self.config.state.trend_buckets)
        makers = {
            name: Recommender(model.catalogue, model.scorer, trending, config, queries=model.queries)
            for name, config in _configs(self.config, len(self.items))
        }
        async with Redis.from_url(self.settings.redis.url.get_secret_value()) as client:
            store = StateStore(client, self.config.state)
            current = trending.bucket(self.now_ms)
            counts = await store.trend([current - age for age in range(self.config.state.trend_buckets)])
            for bucket, by_item in counts.items():
                trending.update("all", bucket, by_item)
            for recommender in makers.values():
                recommender.refresh(self.now_ms)
            for number, visit in enumerate(visits):
                past, _ = await store.remember({visit.shopper: []}, self.config.worker.recent_items)
                request = _request(visit, past[visit.shopper], f"limit-{number}", self.now_ms)
                together = await store.together(anchors(request), self.config.candidates.together)
                for name, recommender in makers.items():
                    [record] = recommender.recommend([request], together, self.now_ms).records
                    visit.rankings[name] = [item.item_id for item in record.shelf.items]

    def _model(self) -> LoadedModel:
        """The champion with all items on sale."""
        serving = ModelStore(self.settings.model.store).slots.read(CHAMPION).current
        model = load(fetch(serving.version if serving else UNTRAINED, self.settings.model), self.settings.model)
        model.catalogue.apply(changes(list(self.items.values()), model.encoder))
        model.catalogue.commit()
        return model

    def _best(self, visit: Visit, ids: Sequence[str]) -> list[str]:
        tempting = {one: self.world.expected_ctr([one], visit.shopper, visit.aim, self.now_ms) for one in ids}
        return sorted(tempting, key=lambda one: -tempting[one])

    @cached_property
    def _queries(self) -> Mapping[str, set[str]]:
        """The items that each query can be for."""
        found: dict[str, set[str]] = {}
        for item_id, item in self.items.items():
            for length, brand in ((0.5, 0.9), (0.9, 0.9), (0.5, 0.1), (0.9, 0.1)):
                found.setdefault(asked(item, length, brand).query, set()).add(item_id)
        return found

    def _for_all(self, aim: Aim) -> list[str]:
        """The best shelf that is the same for all shoppers, who may have any item in mind that the query is true of."""
        page = Aim(aim.surface, aim.query, None if aim.query else aim.about)
        if page not in self._for:
            abouts = sorted(self._queries[aim.query]) if aim.query in self._queries else [page.about]
            others = enumerate(self.random.sample(self.world.ids, min(OTHERS, len(self.world.ids))))
            pairs = [(who, Aim(page.surface, page.query, abouts[place % len(abouts)])) for place, who in others]
            liked = {
                one: mean(self.world.expected_ctr([one], who, wanted, self.now_ms) for who, wanted in pairs)
                for one in self.items
            }
            self._for[page] = sorted(liked, key=lambda one: -liked[one])[:PAGE]
        return self._for[page]

    def rows(self, count: int) -> Iterator[dict[str, Value]]:
        """The share of the best possible of each ranking, by page, with 95 % intervals over shoppers."""
        visits = self.visits(count)
        for page in dict.fromkeys(visit.aim.surface for visit in visits):
            mine = [visit for visit in visits if visit.aim.surface == page]
            best = [self.world.oracle(visit.shopper, visit.aim, PAGE, self.now_ms) for visit in mine]
            possible = [self._ctr(visit, ranking) for visit, ranking in zip(mine, best, strict=True)]
            for name in sorted(mine[0].rankings, key=ORDER.index):
                shown = [self._ctr(visit, visit.rankings[name]) for visit in mine]
                share, low, high = ratio(shown, possible)
                yield {"page": page, "ranking": name, "share": share, "low": low, "high": high, "visits": len(mine)}

    def _ctr(self, visit: Visit, ranking: Sequence[str]) -> float:
        return self.world.expected_ctr(ranking, visit.shopper, visit.aim, self.now_ms)


def _configs(config: StreamsConfig, items: int) -> Iterator[tuple[str, StreamsConfig]]:
    """The settings of each ranking that is made anew."""
    length, steps = config.candidates.total, config.policy.steps
    whole = CandidatesConfig(total=items, vector=items, lexical=items, together=0, trending=0)
    without = {
        ANEW: ("exploration",),
        BARE: ("exploration", "diversity", "brand_cap"),
        KEPT: ("exploration", "diversity", "brand_cap", "already_bought"),
    }
    for name, left_out in without.items():
        kept = tuple(step for step in steps if step not in left_out)
        yield name, config.model_copy(update={"policy": PolicyConfig(steps=kept, length=length)})
    yield WHOLE, config.model_copy(update={"policy": PolicyConfig(steps=(), length=PAGE), "candidates": whole})


def _request(visit: Visit, past: Shopper, name: str, now_ms: int) -> RankRequest:
    if visit.aim.query:
        query = normalise(visit.aim.query)
        return RankRequest("search", name, now_ms, visit.shopper, past, query=query)
    if visit.aim.about is not None:
        return RankRequest("similar", name, now_ms, item_id=visit.aim.about)
    return RankRequest("feed", name, now_ms, visit.shopper, past)
