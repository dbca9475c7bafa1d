"""A shopper's memory as values: script arguments and replies."""

from streams.events.schema import Cart, Impression, Review, Search
from streams.features.shopper import ACTS, CODES, Asked, Shopper, Touched, Uncounted, arguments, parse, remembered

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
    )
    assert parse([[], [], [], 0, 0, [], [], [], [], b"-1", b"-inf"])[0].newest_ms == 0
