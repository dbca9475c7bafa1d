"""Impressions and outcomes, joined in event time: any order, any repetition, exact counts."""

import itertools
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.online.attribution import Attribution, Closed, Counts, Rules
from streams.events import AnyEvent, Cart, Click, Impression, Purchase, Read, Review, Search, Shown

RULES = Rules(window_ms=30, grace_ms=10)
KINDS: dict[str, type[Click | Read | Cart | Purchase]] = {
    "click": Click,
    "read": Read,
    "cart": Cart,
    "purchase": Purchase,
}
number = itertools.count()


def seen(ts: int, *items: str, shelf: str = "s", user: str = "u", event_id: str = "") -> Impression:
    shown = [Shown(item_id=item, position=place) for place, item in enumerate(items)]
    name = event_id or f"i{next(number)}"
    return Impression(event_id=name, ts=ts, user_id=user, shelf_id=shelf, surface="feed", items=shown)


def did(kind: str, ts: int, item: str, shelf: str | None = "s", user: str = "u", event_id: str = "") -> AnyEvent:
    return KINDS[kind](event_id=event_id or f"o{next(number)}", ts=ts, user_id=user, item_id=item, shelf_id=shelf)


def joined(events: Sequence[AnyEvent], until: int = 1_000) -> tuple[list[Closed], Counts]:
    join = Attribution(RULES)
    for event in events:
        join.update(event)
    return join.advance(until), join.get()


def intents(closed: Sequence[Closed]) -> list[tuple[str, str]]:
    return [(one.item_id, one.intent) for one in closed]


@pytest.mark.parametrize(
    ("kinds", "intent"),
    [
        ([], "ignore"),
        (["click"], "look"),
        (["click", "read"], "read"),
        (["read", "click"], "read"),
        (["cart"], "buy"),
        (["click", "purchase", "read"], "buy"),
    ],
)
def test_the_strongest_outcome_wins(kinds: list[str], intent: str) -> None:
    closed, counts = joined([seen(0, "a"), *(did(kind, 1 + place, "a") for place, kind in enumerate(kinds))])
    assert intents(closed) == [("a", intent)]
    assert [outcome.kind for outcome in closed[0].outcomes] == kinds
    assert counts == Counts(closed=Counter({intent: 1}))


def test_an_impression_closes_when_the_watermark_is_past_window_and_grace() -> None:
    join = Attribution(RULES)
    join.update(seen(100, "a"))
    assert join.advance(140) == [] and join.get().waiting == 1
    join.update(did("click", 130, "a"))  # at the window's end, late by the whole grace
    assert intents(join.advance(141)) == [("a", "look")]
    assert join.get().waiting == 0
    assert join.advance(90) == [] and join.watermark == 141, "it never goes back"


def test_outcomes_outside_the_window_are_orphans_and_never_examples() -> None:
    closed, counts = joined([did("click", 99, "a"), seen(100, "a"), did("click", 131, "a"), did("cart", 110, "b")])
    assert intents(closed) == [("a", "ignore")]
    assert dict(counts.orphans) == {"click": 2, "cart": 1}


def test_what_comes_after_the_grace_is_late_and_changes_nothing() -> None:
    join = Attribution(RULES)
    join.update(seen(0, "a"))
    join.advance(30)
    join.update(did("click", 20, "a"))  # late by the grace, and no more
    join.update(did("purchase", 19, "a"))
    join.update(seen(10, "b"))
    join.update(Search(event_id="q", ts=0, user_id="u", query="tv"))
    assert intents(join.advance(1_000)) == [("a", "look")]
    assert dict(join.get().late) == {"purchase": 1, "impression": 1}


def test_a_shelf_seen_again_within_the_window_is_the_same_impression() -> None:
    events = [seen(0, "a"), seen(25, "x", "a"), did("click", 28, "a"), seen(40, "a"), did("read", 50, "a")]
    closed, counts = joined(events)
    assert [(one.item_id, one.ts, one.position, one.intent) for one in closed] == [
        ("a", 0, 0, "look"),
        ("x", 25, 0, "ignore"),
        ("a", 40, 0, "read"),
    ]
    assert not counts.orphans


def test_an_outcome_without_a_shelf_goes_to_the_impression_seen_last() -> None:
    events = [
        seen(0, "a", shelf="s1"),
        seen(20, "a", shelf="s2"),
        did("click", 10, "a", None),
        did("read", 31, "a", None),
    ]
    closed, _ = joined(events)
    assert [(one.shelf_id, one.intent) for one in closed] == [("s1", "look"), ("s2", "read")]
    closed, _ = joined([*events[:2], seen(25, "a", shelf="s1"), did("click", 30, "a", None)])
    assert [(one.shelf_id, one.intent) for one in closed] == [("s1", "look"), ("s2", "ignore")]


def test_a_shelf_that_many_see_is_each_ones_own_impression() -> None:
    events = [seen(0, "a", user="u1"), seen(5, "a", user="u2"), did("click", 6, "a", user="u2")]
    closed, _ = joined(events)
    assert [(one.shopper, one.intent) for one in closed] == [("u1", "ignore"), ("u2", "look")]


def test_reviews_and_searches_are_no_outcomes() -> None:
    review = Review(event_id="r", ts=5, user_id="u", item_id="a", rating=5)
    closed, counts = joined([seen(0, "a"), review, Search(event_id="q", ts=1, user_id="u", query="tv")])
    assert intents(closed) == [("a", "ignore")] and counts.waiting == 0


moments = st.integers(min_value=0, max_value=120)
items = st.sampled_from("ab")
users = st.sampled_from(["u", "v"])
shelves = st.sampled_from(["s", "t"])


@st.composite
def histories(draw: st.DrawFn) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    for place in range(draw(st.integers(min_value=1, max_value=14))):
        ts, user = draw(moments), draw(users)
        if draw(st.booleans()):
            shown = draw(st.lists(items, min_size=1, max_size=3))
            events.append(seen(ts, *shown, shelf=draw(shelves), user=user, event_id=f"e{place}"))
        else:
            kind, shelf = draw(st.sampled_from(sorted(KINDS))), draw(st.none() | shelves)
            events.append(did(kind, ts, draw(items), shelf, user, event_id=f"e{place}"))
    return events


def streamed(events: Sequence[AnyEvent], delays: Sequence[int]) -> tuple[list[Closed], Counts]:
    """As it would arrive: each event delayed by at most the grace, the watermark at the newest that has arrived."""
    arriving = sorted(zip(events, delays, strict=True), key=lambda pair: pair[0].time_ms + pair[1])
    join = Attribution(RULES)
    closed = []
    for event, _ in arriving:
        join.update(event)
        closed += join.advance(event.time_ms)
    closed += join.advance(1_000)
    return sorted(closed, key=repr), join.get()


@settings(max_examples=300, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_and_repetition_within_the_grace_give_the_same(events: list[AnyEvent], chance: Random) -> None:
    in_order = streamed(events, [0] * len(events))
    assert not in_order[1].late and in_order[1].waiting == 0
    repeated = events + chance.choices(events, k=len(events))
    assert streamed(repeated, [chance.randint(0, RULES.grace_ms) for _ in repeated]) == in_order
    chance.shuffle(repeated)
    closed, counts = joined(repeated)
    assert (sorted(closed, key=repr), counts) == in_order


@settings(max_examples=200, deadline=None)
@given(histories())
def test_no_outcome_is_lost_or_counted_twice(events: list[AnyEvent]) -> None:
    closed, counts = joined(events)
    outcomes = [event for event in events if not isinstance(event, Impression)]
    used = [outcome.event_id for one in closed for outcome in one.outcomes]
    assert len(used) == len(set(used))
    assert len(used) + counts.orphans.total() == len(outcomes)
    assert counts.closed.total() == len(closed)
    for one in closed:
        assert all(one.ts <= outcome.ts <= one.ts + RULES.window_ms for outcome in one.outcomes)


def test_memory_is_of_one_window_only() -> None:
    join = Attribution(RULES)
    for ts in range(0, 100_000, 10):
        join.update(seen(ts, "a", "b", shelf=f"s{ts}"))
        join.update(did("click", ts + 5, "a", f"s{ts}"))
        join.update(did("click", ts + 6, "c"))
        join.advance(ts)
        assert join.get().waiting <= 4 * (RULES.window_ms + RULES.grace_ms) // 10 + 4
        assert len(join._states) <= 3 and len(join._due) <= 30
    join.advance(10**9)
    assert not join._states and not join._due
