"""What keeps shelves from the best possible? A simulated shop in process, one cause after another removed.

``python -m benchmarks.limits --json F``: shoppers visit, the worker's own parts rank with the untrained head, a real
Redis keeps their past. On sampled visits the same page is ranked otherwise too, and each ranking's expected clicks are
compared with the best possible (``docs/simulation.md``). Nothing is trained and time is simulated, so the machine's
load does not matter. ``closed_loop --limits`` does the same with the champion of a shop that has stopped.
"""

import asyncio
import itertools
import math
import random
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Annotated, Literal

import typer
from redis.asyncio import Redis

from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from benchmarks.worker_feed import changes, read_demand
from evaluator.metrics.intervals import ratio
from liveshelf.demo.catalogs import made_up
from liveshelf.settings import Settings
from liveshelf.simulation.history import orders
from liveshelf.simulation.preferences import BEHAVIOUR, TEXT_ONLY, Preferences
from liveshelf.simulation.taste import Aim, asked
from liveshelf.simulation.visit import PAGE
from liveshelf.simulation.world import World
from liveshelf.stack.redis import LocalRedis
from models.store import ModelStore
from models.store.slots import CHAMPION
from streams.clock import wall_ms
from streams.config import CandidatesConfig, PolicyConfig, StreamsConfig
from streams.events.schema import AnyEvent, normalise
from streams.events.shelf import Shelf
from streams.features.behaviour import Behaviour
from streams.features.shopper import Shopper, tiring
from streams.features.trending import Trending
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest, Recommender, anchors, remembered_items
from streams.redis.client import ShelfClient
from streams.redis.identity import Identity
from streams.redis.store import StateStore
from streams.serving.loaded_model import LoadedModel, fetch, load
from streams.serving.slots import UNTRAINED

Tastes = Literal["all", "text"]

TASTES: Mapping[Tastes, Preferences] = {"all": BEHAVIOUR, "text": TEXT_ONLY}

AGO_MS = 100 * 86_400_000
"""When the shop opens: so long ago that all visits are in the past."""

OTHERS = 40
"""Shoppers whose mean liking is what everybody likes."""

SHOWN, ANEW = "as shown", "without exploration"
BARE, KEPT = "also without diversity and brand cap", "also with bought items kept"
WHOLE, OWN, BEST = "the same scores over all items", "best order of the shelf's 20", "best order of the candidates"
ALL, CHANCE = "best for all shoppers alike", "random"

KNOWN: Mapping[str, tuple[str, ...]] = {
    "best by text": (),
    "best by text and quality": ("quality",),
    "best by text, brand and price": ("brand", "price"),
    "best by text and needs": ("complements", "repeats", "day_ms"),
    "best but for needs": ("quality", "brand", "price"),
}
"""What each ranking knows beside text, of the tastes; needs are what completes a set or is used up."""

ORDER = (SHOWN, ANEW, BARE, KEPT, WHOLE, OWN, BEST, *KNOWN, ALL, CHANCE)


@dataclass(frozen=True)
class Sample:
    """Of one visit: the page, the expected clicks of each ranking, and of the best possible one."""

    page: str
    clicks: Mapping[str, float]
    possible: float


class Rankings:
    """Other rankings of the pages of one shop, and what they are worth.

    Parameters
    ----------
    model
        Its catalogue holds all items on sale.
    seed
        Of the shoppers who stand for all.
    """

    def __init__(self, config: StreamsConfig, world: World, model: LoadedModel, store: StateStore, seed: int) -> None:
        self.config, self.world, self.store = config, world, store
        self._random = random.Random(seed)
        self._trending = Trending(config.state.trend_bucket_s, config.state.trend_buckets)
        self._live = LiveBehaviour(store, Behaviour(), config.state)
        settings = dict(_configs(config, len(world.items)))
        self._recommenders = {
            name: Recommender(
                model.catalogue,
                model.scorer,
                self._trending,
                of,
                queries=model.queries,
                behaviour=self._live.behaviour,
                feeds=model.feeds,
            )
            for name, of in settings.items()
        }
        self._for: dict[Aim, list[str]] = {}

    async def refresh(self, now_ms: int) -> None:
        """Read the demand and the statistics of behaviour."""
        await self._live.refresh()
        await read_demand(self.store, self._trending, self.config, now_ms)
        for recommender in self._recommenders.values():
            recommender.refresh(now_ms)

    async def shelves(self, shopper: str, aim: Aim, now_ms: int, names: Sequence[str] = ORDER) -> dict[str, Shelf]:
        """The shelves of the named recommenders for a page."""
        past, _ = await self.store.remember({shopper: []}, self.config.worker.recent_items)
        request = request_of(shopper, aim, past[shopper], now_ms)
        await self._live.read(remembered_items(request), now_ms)
        together = self._live.together(anchors(request), self.config.candidates.together)
        some = {name: one for name, one in self._recommenders.items() if name in names}
        return {name: one.recommend([request], together, now_ms).records[0].shelf for name, one in some.items()}

    async def sample(self, shopper: str, aim: Aim, shown: Sequence[str], now_ms: int) -> Sample:
        """What rankings of a page are worth; ``shown`` is the shelf that the shopper gets."""
        others = tuple(name for name in self._recommenders if name != SHOWN)
        found = {SHOWN: list(shown)}
        for name, shelf in (await self.shelves(shopper, aim, now_ms, others)).items():
            found[name] = [item.item_id for item in shelf.items]
        tempting = {one: self.world.expected_ctr([one], shopper, aim, now_ms) for one in self.world.items}
        found[OWN] = sorted(found[SHOWN], key=lambda one: -tempting[one])
        found[BEST] = sorted(found[KEPT], key=lambda one: -tempting[one])
        for name, known in KNOWN.items():
            weights = {one: getattr(self.world.preferences, one) for one in known}
            liked = self.world.likings(shopper, aim, now_ms, replace(TEXT_ONLY, **weights))
            found[name] = sorted(liked, key=lambda one: -liked[one])
        found[ALL] = self._for_all(aim, now_ms)
        best = self.world.oracle(shopper, aim, PAGE, now_ms)
        clicks = {name: self.world.expected_ctr(found[name], shopper, aim, now_ms) for name in found}
        clicks[CHANCE] = self.world.random_ctr(shopper, aim, PAGE, now_ms)
        return Sample(aim.surface, clicks, self.world.expected_ctr(best, shopper, aim, now_ms))

    @cached_property
    def _queries(self) -> Mapping[str, list[str]]:
        """The items that each query can be for."""
        found: dict[str, set[str]] = {}
        for item_id, item in self.world.items.items():
            for length, brand in itertools.product((0.5, 0.9), (0.1, 0.9)):
                found.setdefault(asked(item, length, brand).query, set()).add(item_id)
        return {query: sorted(items) for query, items in found.items()}

    def _for_all(self, aim: Aim, now_ms: int) -> list[str]:
        """The best shelf that is the same for all shoppers, who may have any item in mind that the query is true of."""
        page = Aim(aim.surface, aim.query, None if aim.query else aim.about)
        if page not in self._for:
            abouts = self._queries[aim.query] if aim.query else [page.about]
            others = enumerate(self._random.sample(self.world.ids, min(OTHERS, len(self.world.ids))))
            pairs = [(who, replace(page, about=abouts[place % len(abouts)])) for place, who in others]
            liked = {
                one: mean(self.world.expected_ctr([one], who, wanted, now_ms) for who, wanted in pairs)
                for one in self.world.items
            }
            self._for[page] = sorted(liked, key=lambda one: -liked[one])[:PAGE]
        return self._for[page]


def shares(samples: Sequence[Sample]) -> Iterator[dict[str, Value]]:
    """Each ranking's share of the best possible, by page, with 95 % intervals over visits."""
    for page in sorted({sample.page for sample in samples}):
        mine = [sample for sample in samples if sample.page == page]
        possible = [sample.possible for sample in mine]
        for name in ORDER:
            share, low, high = ratio([sample.clicks[name] for sample in mine], possible)
            if math.isfinite(low):
                yield {"page": page, "ranking": name, "share": share, "low": low, "high": high, "visits": len(mine)}


def of_stopped(settings: Settings, world: World, count: int, seed: int) -> list[Sample]:
    """Samples of a stopped shop's shoppers, of the shelves in its Redis, and its champion's."""
    serving = ModelStore(settings.model.store).slots.read(CHAMPION).current
    model = load(fetch(serving.version if serving else UNTRAINED, settings.model), settings.model)
    return asyncio.run(_stopped(settings, world, stocked(model, world), count, seed))


async def _stopped(settings: Settings, world: World, model: LoadedModel, count: int, seed: int) -> list[Sample]:
    url, now_ms, found = settings.redis.url.get_secret_value(), wall_ms(), list[Sample]()
    client = ShelfClient.from_url(url)
    async with Redis.from_url(url) as redis:
        rankings = Rankings(settings.streams(), world, model, StateStore(redis, settings.state), seed)
        await rankings.refresh(now_ms)
        for shopper in random.Random(seed).sample(world.ids, min(count, len(world.ids))):
            aim = world.aim(shopper)
            if aim.query:
                shelf = client.search(aim.query, shopper)
            else:
                shelf = client.similar(aim.about) if aim.about is not None else client.feed(shopper)
            if shelf is not None and shelf.items:
                found.append(await rankings.sample(shopper, aim, [item.item_id for item in shelf.items], now_ms))
    client.close()
    return found


async def in_process(world: World, redis: "Redis", per_s: float, visits: int, every: int) -> AsyncIterator[Sample]:
    """Let so many visits take place, after a year of orders where the tastes have one; sample one in ``every`` of the
    second half."""
    config = StreamsConfig()
    store = StateStore(redis, config.state)
    identity = Identity(store)
    rankings = Rankings(
        config, world, stocked(load(fetch(UNTRAINED, config.model), config.model), world), store, seed=1
    )
    await remember_orders(world, store)
    for number, (now_ms, shopper) in enumerate(itertools.islice(world.visits(per_s, world.start_ms), visits)):
        if number % 100 == 0:
            await rankings.refresh(now_ms)
        aim = world.aim(shopper)
        shelf = (await rankings.shelves(shopper, aim, now_ms, [SHOWN]))[SHOWN]
        if number >= visits // 2 and number % every == 0:
            yield await rankings.sample(shopper, aim, [item.item_id for item in shelf.items], now_ms)
        events = world.act(shopper, shelf, now_ms)
        await identity.see([event for event in events if tiring(event)])
        await store.remember({shopper: events}, 1)


async def remember_orders(world: World, store: StateStore) -> None:
    """A year of orders, where the tastes have one."""
    if world.preferences == TEXT_ONLY:
        return
    past: dict[str, list[AnyEvent]] = {}
    for event in orders(world, days=365):
        past.setdefault(event.shopper, []).append(event)
    if past:
        await store.remember(past, 1)


def stocked(model: LoadedModel, world: World) -> LoadedModel:
    """With all items of the shop in its catalogue."""
    model.catalogue.apply(changes(list(world.items.values()), model.encoder))
    model.catalogue.commit()
    return model


def _configs(config: StreamsConfig, items: int) -> Iterator[tuple[str, StreamsConfig]]:
    """The settings of each recommender."""
    length, steps = config.candidates.total, config.policy.steps
    whole = CandidatesConfig(total=items, vector=items, lexical=items, together=0, trending=0)
    without = {
        ANEW: ("exploration",),
        BARE: ("exploration", "diversity", "brand_cap"),
        KEPT: ("exploration", "diversity", "brand_cap", "already_bought"),
    }
    yield SHOWN, config
    for name, left_out in without.items():
        kept = tuple(step for step in steps if step not in left_out)
        long = config.policy.length if name == ANEW else length
        yield name, config.model_copy(update={"policy": PolicyConfig(steps=kept, length=long)})
    yield WHOLE, config.model_copy(update={"policy": PolicyConfig(steps=(), length=PAGE), "candidates": whole})


def request_of(shopper: str, aim: Aim, past: Shopper, now_ms: int) -> RankRequest:
    """What a worker makes for the page that a shopper wants."""
    name = f"{shopper}-{now_ms}"
    if aim.query:
        return RankRequest("search", name, now_ms, shopper, past, query=normalise(aim.query))
    if aim.about is not None:
        return RankRequest("similar", name, now_ms, item_id=aim.about)
    return RankRequest("feed", name, now_ms, shopper, past)


@smoke(items=60, shoppers=20, visits=80, every=1, tastes=["all"])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    items: Annotated[int, typer.Option(min=1, help="Of the shop.")] = 600,
    shoppers: Annotated[int, typer.Option(min=1, help="Of the shop.")] = 600,
    daily: Annotated[float, typer.Option(help="Visits of a shopper in a simulated day.")] = 0.5,
    visits: Annotated[int, typer.Option(min=2, help="Visits; the second half is sampled.")] = 24_000,
    every: Annotated[int, typer.Option(min=1, help="One visit in so many is sampled.")] = 20,
    searches: Annotated[float, typer.Option(min=0, max=1, help="How often a session goes on with a search.")] = 0.45,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 1,
    tastes: Annotated[list[str] | None, typer.Option(help="Only these: all, text.")] = None,
) -> None:
    """Run it."""
    report = Report("limits", items=items, shoppers=shoppers, visits=visits, daily=daily, searches=searches, seed=seed)
    for name, preferences in TASTES.items():
        if tastes and name not in tastes:
            continue
        world = World(made_up(seed, items), seed, shoppers, (), wall_ms() - AGO_MS, searches, preferences)
        samples = asyncio.run(_of(world, shoppers * daily / 86_400, visits, every))
        for row in shares(samples):
            report.row(part=f"tastes: {name}", **row)
    report.write(json)


async def _of(world: World, per_s: float, visits: int, every: int) -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder)) as server:
        async with Redis.from_url(server.address) as client:
            return [sample async for sample in in_process(world, client, per_s, visits, every)]


if __name__ == "__main__":
    typer.run(main)
