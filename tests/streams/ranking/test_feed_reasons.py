"""Reasons of feeds by behaviour: what weighs most is told, and what is named is really related and really touched."""

from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.constant import ConstantScorer
from models.ranker import Columns, ItemWeights, Kind, Linear, Ranker, Scaling
from models.training.rankers import Choice, train
from streams.catalog.catalog import Catalog, Change
from streams.config import PolicyConfig, StreamsConfig
from streams.events.schema import Item
from streams.events.shelf import ShelfRecord
from streams.features.behaviour import FEATURES
from streams.features.history import ShopHistory
from streams.features.items import DAY_MS, forward
from streams.features.own import HALF_LIFE, ROW
from streams.features.shopper import Asked, Shopper
from streams.features.trending import Trending
from streams.ranking import reasons
from streams.ranking.candidates import SOURCES
from streams.ranking.feed_reasons import KINDS
from streams.ranking.feeds import FeedRanker
from streams.ranking.recommender import RankRequest, Recommender

NOW = 1_700_000_000_000
OTHERS = [f"v{number}" for number in range(12)]


def story() -> ShopHistory:
    """Toner comes again each month, mouse and pad go together, laptops sell today, and lamps are new."""
    history = ShopHistory()
    history.items.places(["hdmi", "usb", "mouse", "pad", "laptop", "toner", "lamp"])

    def bought(who: str, days: float, *items: str) -> None:
        history.update(who, list(items), np.zeros(len(items)), NOW - int(days * DAY_MS))

    for who in ["u", *OTHERS]:
        for month in (4, 3, 2, 1):
            bought(who, 30 * month, "toner")
    for number, who in enumerate(OTHERS):
        bought(who, 95 + number, "mouse", "pad")
        bought(who, 99 + number, "usb")
        bought(who, 98 + number, "hdmi")
        bought(who, 97 + number, "laptop")
        bought(who, 0.1, "laptop")
    bought("v0", 1, "lamp")
    history.behaviour.refresh()
    return history


def shopper(history: ShopHistory, *touched: str, asked: tuple[Asked, ...] = ()) -> Shopper:
    """The shopper "u", who has touched some items days ago, the first one last."""
    memory = history.shoppers["u"]
    own = {history.items.ids[place]: np.array(row, ROW).tobytes() for place, row in memory.rows.items()}
    for number, item in enumerate(touched):
        at = NOW - (2 + number) * DAY_MS
        own[item] = np.array((0, 0.2 * float(forward(at, HALF_LIFE)), 0, 0, at // 1000), ROW).tobytes()
    return Shopper(own=own, visits=tuple(sorted(memory.visits)), bought=frozenset({"toner"}), asked=asked)


def linear(**weights: float) -> Linear:
    """Weights of features that are scaled over the candidates."""
    count = len(FEATURES)
    found = np.zeros(2 * count, np.float32)
    for name, weight in weights.items():
        found[FEATURES.index(name)] = weight
    scaling = Scaling(np.zeros(count, np.float32), np.ones(count, np.float32), np.ones(count, bool))
    return Linear(Columns.of(FEATURES, FEATURES), scaling, found)


def made(
    catalogue: Catalog, history: ShopHistory, feeds: FeedRanker, who: Shopper
) -> tuple[ShelfRecord, dict[str, tuple[str, tuple[str, ...]]]]:
    """A feed of all items, and what each one's reason says."""
    recommender = Recommender(
        catalogue,
        ConstantScorer(),
        Trending(3_600, 24),
        StreamsConfig(policy=PolicyConfig(exploration=0)),
        behaviour=history.behaviour,
        feeds=feeds,
    )
    [record] = recommender.recommend([RankRequest("feed", "e", NOW, "u", who)], {}, NOW).records
    return record, {item.item_id: reasons.read(item.reason) for item in record.shelf.items}


@pytest.fixture
def shop(catalogue: Catalog, upsert: Callable[..., Change]) -> Catalog:
    catalogue.apply([upsert(Item(item_id="lamp", title="Table lamp of brass"))])
    catalogue.commit()
    return catalogue


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ({"times": 1.0}, {"toner": ("due", ()), "mouse": ("again", ()), "hdmi": ("again", ())}),
        ({"together": 1.0}, {"pad": ("together", ("mouse",))}),
        ({"text_nearest": 1.0}, {"usb": ("like", ("hdmi",)), "pad": ("like", ("mouse",)), "hdmi": ("again", ())}),
        ({"demand_day": 1.0}, {"laptop": ("popular", ()), "toner": ("due", ())}),
        ({"age": -1.0}, {"lamp": ("new", ())}),
        ({"demand_week": 1.0, "age": -0.1}, {"laptop": ("popular", ())}),
        ({"times": 1.0, "demand_day": 0.1}, {"toner": ("due", ()), "laptop": ("popular", ())}),
    ],
)
def test_the_group_that_weighs_most_is_told(
    shop: Catalog, weights: Mapping[str, float], wanted: Mapping[str, tuple[str, tuple[str, ...]]]
) -> None:
    history = story()
    _, told = made(shop, history, FeedRanker(linear(**weights)), shopper(history, "hdmi", "mouse"))
    assert {item: told[item] for item in wanted} == dict(wanted)


def test_the_packaged_ranker_tells_a_mixed_feed(shop: Catalog) -> None:
    history = story()
    _, told = made(shop, history, FeedRanker.packaged(), shopper(history, "hdmi", "mouse"))
    assert told["toner"] == ("due", ()) and told["laptop"] == ("popular", ()) and told["hdmi"] == ("again", ())
    assert told["pad"] in (("together", ("mouse",)), ("like", ("mouse",))) and told["usb"] == ("like", ("hdmi",))


def test_a_search_and_the_item_model_are_named(shop: Catalog) -> None:
    history = story()
    asked = (Asked(NOW - 1_000, "laser toner cartridge"),)
    who = shopper(history, "hdmi", asked=asked)
    who = Shopper(own={"hdmi": who.own["hdmi"]}, asked=asked)
    feeds = FeedRanker(linear(text_nearest=1.0))
    assert made(shop, history, feeds, who)[1]["toner"] == ("searched", ("laser toner cartridge",))
    weights = ItemWeights.of(("hdmi", "laptop"), np.array([[0, 0.5], [0, 0]], np.float32))
    feeds = FeedRanker(linear(linear_week=1.0), weights=weights)
    assert made(shop, history, feeds, who)[1]["laptop"] == ("together", ("hdmi",))


def test_what_nothing_holds_of_is_told_by_its_sources(shop: Catalog) -> None:
    history = story()
    record, told = made(shop, history, FeedRanker(linear(price=1.0)), Shopper())
    assert told["mouse"][0] == dict(zip(told, record.sources, strict=True))["mouse"] and told["lamp"] == ("popular", ())


def trained(kind: Kind) -> Ranker:
    """Learned from features as they come, some of them not known."""
    chance = np.random.default_rng(1)
    rows = chance.gamma(1.0, 2.0, (60, 8, len(FEATURES))).astype(np.float32)
    rows[chance.random(rows.shape) < 0.2] = np.nan
    some = [Choice(one, np.arange(8) == np.nanargmax(one[:, 1]), np.ones(8, bool)) for one in rows]
    return train(kind, some, FEATURES, FEATURES)


RANKERS = {kind: trained(kind) for kind in get_args(Kind)}
ITEMS = ["hdmi", "usb", "mouse", "pad", "laptop", "toner"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["u", "v", "w"]), st.integers(0, 200), st.sets(st.sampled_from(ITEMS), min_size=1)),
        max_size=12,
    ),
    st.lists(st.sampled_from(ITEMS), unique=True, max_size=4),
    st.sampled_from(get_args(Kind)),
    st.booleans(),
)
def test_reasons_are_of_a_known_kind_and_name_what_is_true(
    catalogue: Catalog, orders: list[tuple[str, int, set[str]]], touched: list[str], kind: Kind, asks: bool
) -> None:
    history = ShopHistory()
    for who, days, items in [("v", 3, {"usb"}), ("u", 300, {"toner"}), *orders]:
        history.update(who, sorted(items), np.zeros(len(items)), NOW - days * DAY_MS)
    history.behaviour.refresh()
    u = shopper(history, *touched, asked=(Asked(NOW - 9, "a mouse"),) if asks else ())
    record, told = made(catalogue, history, FeedRanker(RANKERS[kind]), u)
    known = {item for item, sold in zip(history.items.ids, history.items.known.tolist(), strict=True) if sold}
    assert record.shelf.items or known <= u.own.keys(), "who has bought all that anybody did sees nothing"
    slots = {item: catalogue.slot(item) for item in [*ITEMS]}
    pooled = {item: catalogue.item_store.pooled(np.array([slot]))[0] for item, slot in slots.items()}
    for (item, (what, parts)), sources in zip(told.items(), record.sources, strict=True):
        place = history.items.places([item])[0]
        if what == "together":
            [anchor] = parts
            assert anchor in u.own
            assert place in history.pairs.row(history.items.places([anchor])[0])[0]
        elif what == "like":
            [near] = parts
            cosines = {own: float(pooled[item] @ pooled[own]) for own in u.own}
            assert cosines[near] == pytest.approx(max(cosines.values()), abs=1e-3) and cosines[near] >= 0.299
        elif what in ("again", "due"):
            assert item in u.own and (what == "again" or np.frombuffer(u.own[item], ROW)["times"][0] > 0)
        elif what == "searched":
            assert asks and parts == ("a mouse",)
        elif what not in KINDS:
            assert what == sources and not set(sources.split("+")) - {*SOURCES, "new"}
