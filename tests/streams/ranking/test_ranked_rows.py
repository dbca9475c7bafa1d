"""What a feed was ranked by goes with its record: the very features, of what is shown and of some of the rest."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.constant import ConstantScorer
from streams.catalog.catalog import Catalog, Change
from streams.config import PolicyConfig, StreamsConfig
from streams.events.schema import Item
from streams.events.shelf import OTHERS, RankedRows, ShelfRecord, bounded, encoder, parse, record_decoder
from streams.features.behaviour import COLUMNS, FEATURES
from streams.features.history import ShopHistory
from streams.features.items import DAY_MS
from streams.features.own import ROW, Memory
from streams.features.shopper import Shopper
from streams.features.trending import Trending
from streams.ranking.feeds import Feed, Feeds, Ranked
from streams.ranking.ranked_rows import features
from streams.ranking.recommender import RankRequest, Recommender

NOW = 1_700_000_000_000
COUNT, LENGTH = 40, 6


@pytest.fixture
def history() -> ShopHistory:
    """A shop where each of 40 items was bought, and one shopper bought three of them today."""
    found, chance = ShopHistory(), np.random.default_rng(0)
    for number in range(200):
        items = [f"i{place}" for place in chance.choice(COUNT, 3, replace=False)]
        found.update(f"v{number % 30}", items, np.zeros(3), NOW - int(chance.integers(2, 90) * DAY_MS))
    found.update("u", ["i0", "i1", "i2"], np.zeros(3), NOW - 3_600_000)
    found.behaviour.refresh()
    return found


@pytest.fixture
def shop(catalogue: Catalog, upsert: Callable[..., Change]) -> Catalog:
    catalogue.apply([upsert(Item(item_id=f"i{place}", title=f"Thing of kind {place}")) for place in range(COUNT)])
    catalogue.commit()
    return catalogue


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> list[Ranked]:
    """What feeds are ranked by, as it is made."""
    made: list[Ranked] = []
    rank = Feeds.rank

    def kept(self: Feeds, wanted: Sequence[Feed]) -> list[Ranked]:
        found = rank(self, wanted)
        made.extend(found)
        return found

    monkeypatch.setattr(Feeds, "rank", kept)
    return made


def record(shop: Catalog, history: ShopHistory, event: str = "e") -> ShelfRecord:
    memory = history.shoppers["u"]
    own = {history.items.ids[place]: np.array(row, ROW).tobytes() for place, row in memory.rows.items()}
    who = Shopper(own=own, visits=tuple(sorted(memory.visits)), bought=frozenset({"i0", "i1", "i2"}))
    config = StreamsConfig(policy=PolicyConfig(length=LENGTH, exploration=0))
    recommender = Recommender(shop, ConstantScorer(), Trending(3_600, 24), config, behaviour=history.behaviour)
    asks = [RankRequest("feed", event, NOW, "u", who), RankRequest("search", event, NOW, "u", who, query="thing")]
    made, search = recommender.recommend(asks, {}, NOW).records
    assert search.ranked is None
    return made


def test_features_as_served_are_those_that_were_ranked_by(
    shop: Catalog, history: ShopHistory, ranked: list[Ranked]
) -> None:
    made = record(shop, history)
    [by], kept = ranked, made.ranked
    assert kept is not None and (kept.columns, kept.bought) == (COLUMNS, 3)
    shown = [item.item_id for item in made.shelf.items]
    rows = features(record_decoder.decode(encoder.encode(made)).ranked or kept)
    assert rows is not None and len(shown) == LENGTH and len(kept.others) == OTHERS
    ids = [shop.item(slot).item_id for slot in by.candidates.slots.tolist()]
    served = by.batch.features[by.rows][[ids.index(item) for item in (*shown, *kept.others)]]
    np.testing.assert_array_equal(rows, served.astype("<f2").astype(np.float32))
    assert np.isnan(rows).any() and np.isfinite(rows[:, FEATURES.index("demand_week")]).all()


def test_others_are_drawn_of_what_might_have_been_shown(
    shop: Catalog, history: ShopHistory, ranked: list[Ranked]
) -> None:
    found = [record(shop, history, f"e{number}") for number in range(30)]
    again = record(shop, history, "e7")
    assert again.ranked == found[7].ranked, "an event that comes again makes the same record"
    ids = {shop.item(slot).item_id for slot in ranked[0].candidates.slots.tolist()}
    shown = {item.item_id for item in found[0].shelf.items}
    allowed = ids - shown - {"i0", "i1", "i2"}  # bought today, so not due
    drawn = [other for one in found for other in (one.ranked.others if one.ranked else ())]
    assert {one.ranked.unshown for one in found if one.ranked} == {len(allowed)}
    assert set(drawn) == allowed, "each is drawn sooner or later"


def test_feeds_of_a_batch_are_as_each_alone(shop: Catalog, history: ShopHistory) -> None:
    config = StreamsConfig(policy=PolicyConfig(length=LENGTH, exploration=0))
    recommender = Recommender(shop, ConstantScorer(), Trending(3_600, 24), config, behaviour=history.behaviour)
    asks = []
    for name, memory in [("nobody", Memory()), *sorted(history.shoppers.items())]:
        own = {history.items.ids[place]: np.array(row, ROW).tobytes() for place, row in memory.rows.items()}
        who = Shopper(own=own, visits=tuple(sorted(memory.visits)), bought=frozenset(own))
        asks.append(RankRequest("feed", f"e-{name}", NOW, name, who))
    together = recommender.recommend(asks, {}, NOW).records
    alone = [recommender.recommend([ask], {}, NOW).records[0] for ask in asks]
    assert [one.ranked for one in together] == [one.ranked for one in alone]
    assert [one.shelf.items for one in together] == [one.shelf.items for one in alone]


@given(items=st.integers(1, 25), others=st.integers(0, 12))
def test_items_share_the_others_without_loss(items: int, others: int) -> None:
    rows = np.arange((items + others) * 3, dtype="<f2").reshape(-1, 3)
    names = [f"o{number}" for number in range(others)]
    whole = RankedRows("c", rows.tobytes(), names, [number / 20 for number in range(others)], 50, 2)
    parts = [whole.of(place, items) for place in range(items)]
    assert whole.whole(items) and all(part.whole(1) for part in parts)
    assert sorted(other for part in parts for other in part.others) == sorted(names)
    found = {}
    for place, part in enumerate(parts):
        mine = np.frombuffer(part.values, "<f2").reshape(-1, 3)
        np.testing.assert_array_equal(mine[0], rows[place])
        found |= dict(zip(part.others, mine[1:].tolist(), strict=True))
    assert found == {f"o{number}": rows[items + number].tolist() for number in range(others)}


class Message:
    """As it is consumed."""

    def __init__(self, record: ShelfRecord) -> None:
        self.value = encoder.encode(record)


def test_what_does_not_fit_its_items_is_refused_and_what_is_too_large_is_left_out(
    shop: Catalog, history: ShopHistory
) -> None:
    made = record(shop, history)
    assert parse(Message(made), NOW) == made and made.ranked is not None
    changes: Sequence[dict[str, Any]] = (
        {"values": made.ranked.values[:-1]},
        {"others": made.ranked.others[1:]},
        {"popularity": []},
        {"unshown": 3},
    )
    for change in changes:
        spoilt = msgspec.structs.replace(made, ranked=msgspec.structs.replace(made.ranked, **change))
        with pytest.raises(ValueError, match="ranked by"):
            parse(Message(spoilt), NOW)
    small = bounded(made, len(encoder.encode(made)) - 1)
    assert small.ranked is None and small.shelf.items == made.shelf.items
    without = len(encoder.encode(msgspec.structs.replace(made, ranked=None)))
    size = len(encoder.encode(made)) - without
    assert size < (LENGTH + OTHERS) * (2 * len(FEATURES) * 4 / 3 + 20) + 100
