"""How fast do shelves follow a change of what is liked, before anything is trained?

``python -m benchmarks.recovery --json F``: half of the brands are out of fashion, and after half of the visits the
other half is. The worker's own parts rank in process with the untrained head, a real Redis keeps what shoppers did, and
time is simulated, so the machine's load does not matter. A shop with click effects (``docs/behaviour.md``) stands
beside one without; the expected clicks of their shelves are compared with the best possible.
"""

import asyncio
import itertools
import math
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from redis.asyncio import Redis

from benchmarks.limits import TASTES, remember_orders, request_of, stocked
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from benchmarks.worker_feed import read_demand
from evaluator.config import EvaluatorConfig
from evaluator.metrics.intervals import ratio
from liveshelf.demo.catalogs import made_up
from liveshelf.simulation.drift import Fashion
from liveshelf.simulation.world import World
from liveshelf.stack.redis import LocalRedis
from streams.clock import wall_ms
from streams.config import PolicyConfig, StateConfig, StreamsConfig
from streams.events.schema import AnyEvent, Impression, Touch
from streams.events.shelf import Shelf
from streams.features.behaviour import Behaviour
from streams.features.click_effects import ClickEffects, Effects, Shown
from streams.features.shopper import tiring
from streams.features.trending import Trending
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import Recommender, anchors, remembered_items
from streams.redis.identity import Identity
from streams.redis.store import StateStore
from streams.serving.loaded_model import fetch, load
from streams.serving.slots import UNTRAINED

DAY_S = 86_400
AGO_MS = 100 * DAY_S * 1000
REFRESHED = 20
"""Visits after which demand, statistics and effects are read again."""

SETTLED_MS = int((EvaluatorConfig().window_s + EvaluatorConfig().grace_s) * 1000)
"""After which an impression is attributed."""


@dataclass(frozen=True)
class Visit:
    """One visit: the day, the page, the expected clicks of the shelf, of the best one and of a random one."""

    day: float
    page: str
    shown: float
    possible: float
    chance: float


class Tally:
    """Counts shown items once their outcomes are known, as the evaluator does."""

    def __init__(self, half_life_s: float) -> None:
        self.effects = ClickEffects(half_life_s * 1000)
        self._waiting: deque[tuple[int, list[Shown]]] = deque()

    def see(self, shelf: Shelf, events: Sequence[AnyEvent], brands: dict[str, str]) -> None:
        """Take in what a shopper did with a shelf."""
        touched = {event.item_id for event in events if isinstance(event, Touch)}
        chances = {item.item_id: item.buy + item.read + item.look for item in shelf.items}
        for event in events:
            if isinstance(event, Impression):
                shown = [
                    Shown(
                        event.time_ms,
                        shelf.surface,
                        one.position,
                        one.item_id,
                        brands[one.item_id],
                        chances[one.item_id],
                        one.item_id in touched,
                    )
                    for one in event.items
                ]
                self._waiting.append((event.time_ms, shown))

    def get(self, now_ms: int) -> Effects:
        """What is known at a time."""
        while self._waiting and self._waiting[0][0] + SETTLED_MS <= now_ms:
            for one in self._waiting.popleft()[1]:
                self.effects.update(one)
        return Effects.of([self.effects.get()], now_ms, self.effects.half_life_ms)


async def shop(world: World, client: "Redis", config: StreamsConfig, per_s: float, visits: int) -> AsyncIterator[Visit]:
    """Let so many visits take place; the fashion changes after half of them."""
    model = stocked(load(fetch(UNTRAINED, config.model), config.model), world)
    store = StateStore(client, config.state)
    identity, trending = Identity(store), Trending(config.state.trend_bucket_s, config.state.trend_buckets)
    live, tally = LiveBehaviour(store, Behaviour(), config.state), Tally(config.state.effects_half_life_s)
    recommender = Recommender(
        model.catalogue, model.scorer, trending, config, queries=model.queries, behaviour=live.behaviour
    )
    await remember_orders(world, store)
    brands = {item_id: item.brand for item_id, item in world.items.items()}
    start = world.start_ms
    for number, (now_ms, shopper) in enumerate(itertools.islice(world.visits(per_s, start), visits)):
        if number == visits // 2:
            world.begin(1, now_ms)
        if number % REFRESHED == 0:
            await live.refresh()
            await read_demand(store, trending, config, now_ms)
            live.behaviour.effects = tally.get(now_ms)
            recommender.refresh(now_ms)
        aim = world.aim(shopper)
        past, _ = await store.remember({shopper: []}, config.worker.recent_items)
        request = request_of(shopper, aim, past[shopper], now_ms)
        await live.read(remembered_items(request), now_ms)
        together = live.together(anchors(request), config.candidates.together)
        shelf = recommender.recommend([request], together, now_ms).records[0].shelf
        rates = world.rates([item.item_id for item in shelf.items], shopper, now_ms)
        yield Visit((now_ms - start) / 1000 / DAY_S, aim.surface, rates.shown, rates.oracle, rates.random)
        events = world.act(shopper, shelf, now_ms)
        await identity.see([event for event in events if tiring(event)])
        await store.remember({shopper: events}, 1)
        tally.see(shelf, events, brands)


def shares(visits: Sequence[Visit], drift: float, end: float) -> Iterator[dict[str, Value]]:
    """The share of the best possible in stretches of time, with 95 % intervals over visits."""
    bounds = {"before": (0.75 * drift, drift), "first day": (drift, drift + 1), "second day": (drift + 1, drift + 2)}
    bounds |= {"days 3 to 7": (drift + 2, drift + 7), "at the end": (drift + 0.75 * (end - drift), end + 1)}
    for page in ("all", *sorted({one.page for one in visits})):
        for name, (since, until) in bounds.items():
            mine = [one for one in visits if since <= one.day < until and page in ("all", one.page)]
            if len(mine) < 2:
                continue
            possible = [one.possible for one in mine]
            share, low, high = ratio([one.shown for one in mine], possible)
            chance = sum(one.chance for one in mine) / sum(possible)
            if math.isfinite(low):
                yield {"page": page, "when": name, "share": share, "low": low, "high": high, "by_chance": chance}


@smoke(items=60, shoppers=20, visits=60, tastes=["text"])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    items: Annotated[int, typer.Option(min=1, help="Of the shop.")] = 600,
    shoppers: Annotated[int, typer.Option(min=1, help="Of the shop.")] = 600,
    daily: Annotated[float, typer.Option(help="Visits of a shopper in a simulated day.")] = 0.5,
    visits: Annotated[int, typer.Option(min=4, help="Visits; the fashion changes after half of them.")] = 8_000,
    searches: Annotated[float, typer.Option(min=0, max=1, help="How often a session goes on with a search.")] = 0.45,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 1,
    tastes: Annotated[list[str] | None, typer.Option(help="Only these: all, text.")] = None,
    half_life: Annotated[float, typer.Option(help="Of click effects, in days.")] = 1.0,
) -> None:
    """Run it."""
    report = Report("recovery", items=items, shoppers=shoppers, visits=visits, daily=daily, half_life_days=half_life)
    for name, preferences in TASTES.items():
        if tastes and name not in tastes:
            continue
        for strength in (0.0, 1.0):
            config = StreamsConfig(
                policy=PolicyConfig(click_effects=strength),
                state=StateConfig(effects_half_life_s=half_life * DAY_S),
            )
            fashions = Fashion(0.0, factor=0.1), Fashion(math.inf, factor=0.1)
            world = World(made_up(seed, items), seed, shoppers, fashions, wall_ms() - AGO_MS, searches, preferences)
            found = asyncio.run(_of(world, config, shoppers * daily / DAY_S, visits))
            drift = found[len(found) // 2].day
            for row in shares(found, drift, found[-1].day):
                report.row(tastes=name, click_effects=strength, **row)
    report.write(json)


async def _of(world: World, config: StreamsConfig, per_s: float, visits: int) -> list[Visit]:
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder)) as server:
        async with Redis.from_url(server.address) as client:
            return [one async for one in shop(world, client, config, per_s, visits)]


if __name__ == "__main__":
    typer.run(main)
