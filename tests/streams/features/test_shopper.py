"""A shopper's memory as values: script arguments and replies."""

import numpy as np
import pytest

from streams.events.schema import Cart, Impression, Review, Search
from streams.features.own import ROW
from streams.features.shopper import (
    ACTS,
    CODES,
    Asked,
    Page,
    Shopper,
    Touched,
    Uncounted,
    arguments,
    parse,
    remembered,
)

BASE = {"user_id": "u", "ts": 7}


def test_four_arguments_an_event_and_none_for_impressions() -> None:
    seen = Impression(event_id="1", shelf_id="s", surface="feed", items=[], **BASE)
    events = [seen, Cart(event_id="2", item_id="i:", **BASE)]
    assert not remembered(seen) and remembered(events[1])
    assert arguments(events) == ["b", 7, "b\x1fi:\x1f2", "i:"]
    assert arguments([]) == []


def test_searches_and_reviews_are_told_by_their_codes() -> None:
    told = arguments(
        [Search(event_id="1", query="A\u00a0B", **BASE), Review(event_id="2", item_id="i", rating=1, **BASE)]
    )
    assert told == ["s", 7, "s\x1fa b\x1f1", "a b", "v", 7, "v\x1fi\x1f2", "i"]
    assert len(set(CODES.values())) == len(CODES)
    assert ACTS == "c1r1v1b3p5", "kinds of cells in Redis are their places here"


def test_parse_survives_separators_in_a_query() -> None:
    reply = [
        [b"p\x1fi\xc3\xbc\x1fe1", b"1.7e12", b"v\x1fx\x1fe0", b"5"],
        [b"s\x1fodd\x1fquery\x1fe2", b"6"],
        [b"i\xc3\xbc"],
        2,
        1,
        [b"a", bytes(24), b"b", b"junk"],
        [b"7", b"x"],
        [b"segment", b'5:"gold"', b"age", b"x"],
        [b"u1"],
        b"4",
        b"-inf",
        [b"e\x1fa\x1fi\xc3\xbc", b"9", b"", b"8", b"junk", b"nan"],
    ]
    shopper, uncounted = parse(reply)
    assert uncounted == Uncounted(late=2, beyond=1)
    assert shopper == Shopper(
        (Touched(1_700_000_000_000, "purchase", "iü"), Touched(5, "review", "x")),
        (Asked(6, "odd\x1fquery"),),
        frozenset({"iü"}),
        {"a": bytes(24)},
        (7,),
        {"segment": "gold"},
        "u1",
        4,
        seen=(Page(9, ("a", "iü")), Page(8, ())),
    )
    assert parse([[], [], [], 0, 0, [], [], [], [], b"-1", b"-inf", []])[0].newest_ms == 0


def test_what_was_seen_counts_until_it_is_touched_and_halves() -> None:
    hour = 3_600_000
    day = 24 * hour
    seen = tuple(Page(at, ("a", "b", "c")) for at in (10 * day, 9 * day, 4 * day))
    own = {"b": np.array((0, 0.2, 0, 0, (9 * day - hour // 2) // 1000), ROW).tobytes()}
    shopper = Shopper((Touched(9 * day, "click", "a"),), own=own, seen=seen)
    found = shopper.overlooked(10 * day, 3 * 86_400, hour)
    assert found == pytest.approx({"a": 1, "b": 1, "c": 1 + 2 ** (-1 / 3) + 0.25})
    assert shopper.overlooked(0, 3 * 86_400, hour) == {"a": 1, "b": 1, "c": 3}, "of what is to come nothing has faded"
    assert Shopper(own=own).overlooked(0, 1, hour) == {}
