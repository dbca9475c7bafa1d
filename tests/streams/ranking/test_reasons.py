"""Reasons: what a shelf says an item owes its place to, true, short and safe whatever the texts and ids are."""

import re
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.factory import build
from models.late_interaction import Contributions
from models.scorer import Architecture
from streams.catalog.catalog import Catalog, Change
from streams.config import CandidatesConfig, StreamsConfig
from streams.events.schema import Item
from streams.events.shelf import ShelfItem, ShelfRecord
from streams.features.shopper import Asked, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking import reasons
from streams.ranking.candidates import BITS, EXPLORED
from streams.ranking.recommender import RankRequest, Recommender
from streams.redis.keys import escape

NOW = 1_700_000_000_000
HOSTILE = "<img src=x onerror=alert(1)>:&\"' %3A"


def made_for(
    catalogue: Catalog, architecture: Architecture = "late_interaction", config: StreamsConfig | None = None
) -> Recommender:
    scorer = build(architecture, catalogue.encoder, catalogue.item_store, catalogue.title, precision="float32")
    return Recommender(catalogue, scorer, Trending(3_600, 24), config or StreamsConfig())


def shelf(recommender: Recommender, ask: RankRequest, together: Mapping[str, list[str]] | None = None) -> ShelfRecord:
    [record] = recommender.recommend([ask], together or {}, NOW).records
    return record


def told(record: ShelfRecord) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By item what its reason says; without the explored place."""
    read = {item.item_id: reasons.read(item.reason) for item in record.shelf.items}
    return {item: found for item, found in read.items() if found[0] != "explore"}


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text(max_size=300), max_size=4))
def test_a_reason_is_short_and_safe_and_read_back(kind: str, parts: list[str]) -> None:
    found = reasons.reason("like", *parts, kind)
    assert len(found) <= 512 or len(parts) > 3
    assert re.fullmatch(r"[A-Za-z0-9%:\-_.!~*'()]*", found), "nothing that HTML takes for itself"
    what, again = reasons.read(found)
    kept = [part for part in (*parts, kind) if 0 < len(escape(part)) <= reasons.LONGEST_PART]
    assert what == "like" and list(again) == [part.encode("utf-8", "replace").decode() for part in kept]


def test_a_search_names_the_words_that_an_item_matches(catalogue: Catalog) -> None:
    found = told(shelf(made_for(catalogue), RankRequest("search", "e", 5, query="hdmi cable for laptops")))
    assert set(found["hdmi"][1]) == {"hdmi", "cable"} and found["hdmi"][0] == "matches"
    assert found["usb"] == ("matches", ("cable",))
    assert found["pad"][0] in ("vector", "lexical+vector", "vector+lexical"), "no word of it: the sources are left"


@pytest.mark.parametrize("query", ["锤子", "x" * 200, "---", "\u200b", "zqxj" * 30 + " 锤"])
def test_words_that_the_model_does_not_know_are_not_claimed(catalogue: Catalog, query: str) -> None:
    record = shelf(made_for(catalogue), RankRequest("search", "e", 5, query=query))
    assert record.shelf.items and not any(kind == "matches" for kind, _ in told(record).values())


def test_chinese_is_named_as_it_is_written(catalogue: Catalog, upsert: Callable[..., Change]) -> None:
    catalogue.apply([upsert(Item(item_id="zh", title="大 水 山 mouse"))])
    catalogue.commit()
    found = told(shelf(made_for(catalogue), RankRequest("search", "e", 5, query="大水山")))
    assert found["zh"] == ("matches", ("大水山",))


def test_a_feed_names_the_past_item_or_the_search_that_each_item_is_most_like(catalogue: Catalog) -> None:
    touched = (Touched(9, "cart", "mouse"), Touched(9, "cart", "hdmi"))
    shopper = Shopper(touched=touched, asked=(Asked(9, "laser toner"),))
    found = told(shelf(made_for(catalogue), RankRequest("feed", "e", 9, "u", shopper)))
    assert (found["pad"], found["usb"]) == (("like", ("mouse",)), ("like", ("hdmi",)))
    assert found["toner"] == ("searched", ("laser toner",))
    assert found["mouse"] == ("again", ()), "it is a past item itself"


def test_similar_items_are_like_the_item_and_others_seen_together_with_it(catalogue: Catalog) -> None:
    record = shelf(made_for(catalogue), RankRequest("similar", "e", 9, item_id="mouse"), {"mouse": ["toner"]})
    assert told(record)["pad"] == ("like", ("mouse",)) and told(record)["toner"] == ("together", ("mouse",))
    sources = dict(zip([one.item_id for one in record.shelf.items], record.sources, strict=True))
    assert "together" in sources["toner"]


def test_what_is_only_in_demand_or_new_says_so(catalogue: Catalog) -> None:
    config = StreamsConfig(candidates=CandidatesConfig(vector=0, lexical=0))
    recommender = made_for(catalogue, config=config)
    shopper = Shopper(touched=(Touched(9, "cart", "mouse"),))
    record = shelf(recommender, RankRequest("feed", "e", 9, "u", shopper))
    assert set(told(record).values()) == {("new", ())} and set(record.sources) == {"new"}
    recommender.trending.update("all", NOW // 3_600_000, {"pad": 9, "usb": 1})
    assert set(told(shelf(recommender, RankRequest("feed", "e", 9, "u", shopper))).values()) == {("trending", ())}


@pytest.mark.parametrize("architecture", ["constant", "cross_encoder"])
def test_scorers_that_cannot_say_leave_the_sources(catalogue: Catalog, architecture: Architecture) -> None:
    recommender = made_for(catalogue, architecture)
    shopper = Shopper(touched=(Touched(9, "cart", "mouse"),))
    for ask in (RankRequest("search", "e", 9, query="hdmi"), RankRequest("feed", "e", 9, "u", shopper)):
        record = shelf(recommender, ask)
        assert [one.reason for one in record.shelf.items] == [
            "explore" if "explore" in names else names for names in record.sources
        ]


def test_hostile_ids_and_queries_are_escaped(catalogue: Catalog, upsert: Callable[..., Change]) -> None:
    catalogue.apply([upsert(Item(item_id=HOSTILE, title="Wireless mouse white"))])
    catalogue.commit()
    shopper = Shopper(touched=(Touched(9, "cart", HOSTILE),))
    record = shelf(made_for(catalogue), RankRequest("feed", "e", 9, "u", shopper))
    assert told(record)["mouse"] == ("like", (HOSTILE,))
    assert not any(set(one.reason) & set('<>&" ') for one in record.shelf.items)
    search = shelf(made_for(catalogue), RankRequest("search", "e", 9, query="<b>mouse</b> cable:mouse"))
    assert not any(set(one.reason) & set('<>&" ') for one in search.shelf.items)


@given(st.integers(0, 2 * EXPLORED - 1), st.integers(0, 1), st.booleans())
def test_every_mix_of_sources_has_a_reason_that_the_schema_takes(mask: int, row: int, alike: bool) -> None:
    past = np.array([[0.4, 0.1]] if row == 0 else [[0.1, 0.4]], np.float32)
    found = Contributions(
        np.zeros((1, 0), np.float32), np.zeros(0, np.float32), past, np.full((1, 2), 0.9 if alike else 0.1, np.float32)
    )
    [why] = reasons.of_past(["x"], [mask], [("like", "a"), ("searched", "b c")], found, {"a": ["x"]})
    msgspec.convert(msgspec.to_builtins(ShelfItem("x", 1.0, 0.1, 0.1, 0.1, why)), ShelfItem)
    if mask & EXPLORED:
        assert why == "explore"
    elif alike and mask & (BITS["vector"] | BITS["lexical"]):
        assert why == ("like:a", "searched:b%20c")[row]
    elif mask & BITS["together"]:
        assert why == "together:a"
    else:
        assert why == reasons.of_sources(mask)
