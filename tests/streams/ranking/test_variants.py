"""What shoppers did with one variant of a product counts for all of them, with what a real Redis counts by item."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from models.constant import ConstantScorer
from models.late_interaction import LateInteractionScorer
from models.scorer import Scorer
from streams.catalog.catalog import Catalog, Change
from streams.config import PolicyConfig, RedisConfig, StreamsConfig
from streams.events.filters import Filter
from streams.events.schema import AnyEvent, Click, Item, Purchase
from streams.events.shelf import ShelfRecord
from streams.features.behaviour import Behaviour
from streams.features.click_effects import Counts, Effects
from streams.features.history import ShopHistory
from streams.features.items import DAY_MS
from streams.features.trending import Trending
from streams.ranking.feeds import own_items
from streams.ranking.live_behaviour import READ_AT_ONCE, LiveBehaviour
from streams.ranking.recommender import RankRequest, Recommender, anchors, remembered_items
from streams.redis.connection import connect
from streams.redis.store import StateStore

pytestmark = pytest.mark.integration

START = 1_600_000_000_000
SIZES = [f"hoodie-{size}" for size in range(8)]
LAST = SIZES[-1]


def hoodie(item: str, **more: Any) -> Item:
    return Item(item_id=item, title=f"Hoodie {item}", group_id="hoodie", price=30.0, **more)


@pytest.fixture
def shop(catalogue: Catalog, upsert: Callable[..., Change]) -> Catalog:
    """The six items, and a hoodie in eight sizes."""
    catalogue.apply([upsert(hoodie(size, attributes={"size": size[-1]})) for size in SIZES])
    catalogue.commit()
    return catalogue


class Worker:
    """The parts of a worker that count and rank."""

    def __init__(self, client: Any, catalogue: Catalog, scorer: Scorer | None = None) -> None:
        self.catalogue = catalogue
        self.config = StreamsConfig(policy=PolicyConfig(exploration=0.0))
        self.store, self.behaviour = StateStore(client, self.config.state), Behaviour()
        self.live = LiveBehaviour(self.store, self.behaviour, self.config.state)
        self.recommender = Recommender(
            catalogue, scorer or ConstantScorer(), Trending(3_600, 24), self.config, behaviour=self.behaviour
        )
        self.now = 0

    async def take(self, *events: AnyEvent) -> None:
        for event in events:
            await self.store.remember({event.shopper: [event]}, 10)

    async def shelf(self, surface: Any, shopper: str | None = None, day: float = 0.0, **more: Any) -> ShelfRecord:
        """A shelf as of a day; all rows of items seen together count as old."""
        self.live.group(self.catalogue)
        await self.live.refresh()
        self.recommender.refresh(START)
        self.now += 100_000
        past = (await self.store.remember({shopper: []}, 10))[0] if shopper else {}
        known = {"shopper_id": shopper, "shopper": past[shopper]} if shopper else {}
        at = START + int(day * DAY_MS)
        request = RankRequest(surface, f"e{self.now}", at, **known, **more)
        await self.live.read(remembered_items(request, self.behaviour.items), self.now)
        together = self.live.together(anchors(request), 20)
        return self.recommender.recommend([request], together, at).records[0]


def on(url: str, catalogue: Catalog, work: Callable[[Worker], Awaitable[None]], scorer: Scorer | None = None) -> None:
    async def main() -> None:
        client = connect(RedisConfig(url=url))  # type: ignore[arg-type]
        try:
            await work(Worker(client, catalogue, scorer))
        finally:
            await client.aclose()

    asyncio.run(main())


def bought(item: str, day: float, shopper: str = "u") -> Purchase:
    return Purchase(event_id=f"{shopper}-{item}-{day}", ts=START + int(day * DAY_MS), user_id=shopper, item_id=item)


def clicked(item: str, day: float, shopper: str = "u") -> Click:
    return Click(event_id=f"{shopper}-{item}-{day}", ts=START + int(day * DAY_MS), user_id=shopper, item_id=item)


def ids(record: ShelfRecord) -> list[str]:
    return [item.item_id for item in record.shelf.items]


def hoodies(record: ShelfRecord) -> list[str]:
    return [item for item in ids(record) if item.startswith("hoodie")]


def reasons(record: ShelfRecord) -> dict[str, str]:
    return {item.item_id: item.reason for item in record.shelf.items}


def found_by(record: ShelfRecord) -> dict[str, list[str]]:
    return {item: sources.split("+") for item, sources in zip(ids(record), record.sources, strict=True)}


def with_pads(sizes: Sequence[str]) -> list[Purchase]:
    """Different shoppers buy a mouse pad with different sizes."""
    return [bought(one, 0, f"v{number}") for number, size in enumerate(sizes) for one in (size, "pad")]


def test_what_goes_with_any_size_goes_with_the_one_that_nobody_bought(redis_db: str, shop: Catalog) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(*with_pads(SIZES[:-1]))
        similar = await worker.shelf("similar", item_id=LAST)
        assert reasons(similar)["pad"] == f"together:{LAST}" and not hoodies(similar)
        [shown] = hoodies(other := await worker.shelf("similar", item_id="pad"))
        assert reasons(other)[shown] == "together:pad" and shown in SIZES[:-1]

    on(redis_db, shop, work, LateInteractionScorer(shop.item_store, encoder_version=shop.encoder.version))


def test_a_feed_has_one_of_a_product_in_stock_by_what_all_sizes_did(
    redis_db: str, shop: Catalog, upsert: Callable[..., Change]
) -> None:
    async def work(worker: Worker) -> None:
        await worker.take(*with_pads(SIZES[:-1]), bought(SIZES[3], 0, "w"), clicked("pad", 1), clicked("toner", 1, "w"))
        [shown] = hoodies(record := await worker.shelf("feed", "u", 1))
        assert shown == SIZES[3], "the size in most demand"
        assert "together" in found_by(record)[shown]
        place = worker.behaviour.items.places([LAST])[0]
        assert worker.behaviour.items.values[place, 10] == 8, "buyers of all sizes"
        worker.catalogue.apply([upsert(hoodie(SIZES[3], in_stock=False))])
        [other] = hoodies(await worker.shelf("feed", "u", 1))
        assert other == SIZES[0], "the size in most demand of those in stock"
        await worker.take(clicked(LAST, 2))
        [mine] = hoodies(await worker.shelf("feed", "u", 2))
        assert mine == LAST, "the one that the shopper looked at"
        assert not hoodies(await worker.shelf("feed", "w", 1)), "who bought one size is offered no other"
        small = Filter.of({"size": "5"})
        assert hoodies(await worker.shelf("feed", "u", 2, filter=small)) == [SIZES[5]]
        worker.catalogue.apply([upsert(hoodie(size, in_stock=False)) for size in SIZES])
        assert not hoodies(await worker.shelf("feed", "u", 2))

    on(redis_db, shop, work)


def test_what_was_bought_in_one_size_is_due_in_another_one_that_is_in_stock(
    redis_db: str, shop: Catalog, upsert: Callable[..., Change]
) -> None:
    async def work(worker: Worker) -> None:
        for day in (0, 10, 20, 30):
            await worker.take(bought(SIZES[1], day, "v"), bought(SIZES[1], day))
        await worker.take(*(bought(size, day) for day, size in ((31, SIZES[2]),)))
        for stock in (True, False):
            worker.catalogue.apply([upsert(hoodie(SIZES[2], in_stock=stock))])
            assert not hoodies(await worker.shelf("feed", "u", 31.5)), "the other size is the same product"
            [shown] = hoodies(record := await worker.shelf("feed", "u", 35))
            assert shown == (SIZES[2] if stock else SIZES[1])
            assert "own" in found_by(record)[shown]

    on(redis_db, shop, work)


def test_items_that_are_regrouped_while_a_worker_runs_take_their_counts_along(
    redis_db: str, shop: Catalog, upsert: Callable[..., Change]
) -> None:
    alone = [msgspec.structs.replace(hoodie(size), group_id=None) for size in SIZES]

    async def work(worker: Worker) -> None:
        items = worker.behaviour.items

        def buyers(item: str) -> float:
            return float(items.values[items.places([item])[0], 10])

        worker.catalogue.apply([upsert(one) for one in alone])
        await worker.take(*with_pads(SIZES[:-1]), clicked("pad", 1))
        first = await worker.shelf("feed", "u", 1)
        assert len(hoodies(first)) > 1 and buyers(SIZES[0]) == 1 and buyers(LAST) == 0
        assert "pad" not in reasons(await worker.shelf("similar", item_id=LAST)) or not items.grouped
        worker.catalogue.apply([upsert(hoodie(size)) for size in SIZES])
        assert len(hoodies(await worker.shelf("feed", "u", 1))) == 1 and buyers(LAST) == 7
        assert len(worker.live.pairs.row(int(items.places(["pad"])[0]))[0]) == 1
        worker.catalogue.apply([upsert(msgspec.structs.replace(hoodie(SIZES[0]), group_id="other"))])
        assert sorted(hoodies(await worker.shelf("feed", "u", 1)))[0] == SIZES[0]
        assert (buyers(SIZES[0]), buyers(SIZES[1])) == (1, 6)
        worker.catalogue.apply([Change(SIZES[1], None, None)])
        await worker.shelf("feed", "u", 1)
        assert (buyers(SIZES[1]), buyers(SIZES[2])) == (1, 5), "what is deleted is no variant"
        worker.catalogue.apply([upsert(one) for one in alone])
        last = await worker.shelf("feed", "u", 1)
        assert hoodies(last) == hoodies(first) and buyers(SIZES[0]) == 1 and buyers(LAST) == 0

    on(redis_db, shop, work)


def test_rows_of_places_that_were_given_to_others_are_forgotten(
    redis_db: str, shop: Catalog, upsert: Callable[..., Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.features.items.REUSED_AT", 1)

    async def work(worker: Worker) -> None:
        await worker.take(*with_pads(SIZES[:2]))
        await worker.shelf("similar", item_id=LAST)
        [place] = worker.behaviour.items.places([LAST])
        assert len(worker.live.pairs.row(place)[0]) == 1
        worker.catalogue.apply([upsert(msgspec.structs.replace(hoodie(size), group_id="new")) for size in SIZES])
        worker.live.group(worker.catalogue)
        worker.catalogue.apply([upsert(Item(item_id="usb", title="USB cable", group_id="cables"))])
        worker.live.group(worker.catalogue)
        assert worker.behaviour.items.places(["usb"]) == [place] and not len(worker.live.pairs.row(place)[0])

    on(redis_db, shop, work)


def test_of_a_product_with_very_many_variants_some_rows_are_read(redis_db: str, shop: Catalog) -> None:
    sizes = [f"shirt-{number}" for number in range(READ_AT_ONCE + 20)]

    async def work(worker: Worker) -> None:
        asked, read = list[int](), worker.store.together

        async def counted(ids: Sequence[str]) -> Any:
            asked.append(len(ids))
            return await read(ids)

        worker.store.together = counted  # type: ignore[method-assign,assignment]
        for size in sizes:
            worker.behaviour.items.assign(size, "shirt")
        await worker.take(*with_pads(sizes))
        await worker.live.refresh()
        await worker.live.read([sizes[-1]], 1)
        assert asked == [READ_AT_ONCE]
        _, counts = worker.live.pairs.row(int(worker.behaviour.items.places(sizes[:1])[0]))
        assert len(counts) == 1

    on(redis_db, shop, work)


def test_demand_now_and_click_effects_are_those_of_the_product(redis_db: str, shop: Catalog) -> None:
    async def work(worker: Worker) -> None:
        hour = START // 3_600_000
        worker.recommender.trending.update("all", hour, {"pad": 3, **dict.fromkeys(SIZES[:4], 2)})
        popular = await worker.shelf("popular")
        assert ids(popular)[:2] == [SIZES[0], "pad"], "four sizes with two each are more than three"
        assert popular.popularity[:2] == [1.0, 0.375]
        worker.behaviour.effects = Effects({}, {size: Counts(4.0, 1.0, 0) for size in SIZES[:2]})
        await worker.shelf("popular")
        slots = shop.slots(SIZES)
        assert worker.recommender._effects[slots].tolist() == pytest.approx([0.5] * 8), "(2 + 4) / (8 + 4)"

    on(redis_db, shop, work)


def test_features_of_variants_are_the_same_live_as_offline(redis_db: str, catalogue: Catalog) -> None:
    """Two places of an order may be of one product, and shoppers change their size."""
    chance, groups = np.random.default_rng(3), {f"{one}-{size}": one for one in "abcde" for size in range(4)}
    history, events = ShopHistory(groups=groups), list[Purchase]()
    for visit in range(120):
        who, day = f"u{chance.integers(9)}", visit * 0.7
        some = sorted(chance.choice(sorted(groups), int(chance.integers(1, 5)), replace=False).tolist())
        events += [bought(item, day, who) for item in some]
        history.update(who, some, np.zeros(len(some)), events[-1].time_ms)

    async def work(worker: Worker) -> None:
        items, now = worker.behaviour.items, START + 90 * DAY_MS
        for item, group in groups.items():
            items.assign(item, group)
        await worker.take(*events)
        await worker.live.refresh()
        history.behaviour.refresh()
        everything = [f"{one}-0" for one in "abcde"]
        for who in sorted(history.shoppers):
            past = (await worker.store.remember({who: []}, 10))[0][who]
            wanted = remembered_items(RankRequest("feed", "e", now, who, past), items)
            await worker.live.read(wanted, now)
            found = []
            for behaviour, own in (
                (worker.behaviour, own_items(items, [past])[0]),
                (history.behaviour, history.own(who)),
            ):
                places = behaviour.items.places(everything)
                behaviour.items.prices[places] = 0.0
                names = [behaviour.items.ids[place][0] for place in own.places.tolist()]
                scores = behaviour.scores([own], [now])
                rows = behaviour.features(scores, [places], np.full((len(places), 3), np.nan))
                found.append((names, [*own.variants.values()], rows))
            assert found[0][:2] == found[1][:2]
            np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-6, atol=1e-6)

    on(redis_db, catalogue, work)
