"""Impressions and outcomes, joined in event time: any order, any repetition, exact counts."""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.attribution import join as attribution
from evaluator.attribution.join import MOST_JOIN_EVENTS, Attribution, JoinCounts, JoinWindow, State, join_events, pages
from evaluator.metrics.impression import AttributedImpression, JoinEvent
from streams.events.schema import AnyEvent, Cart, Click, Impression, Purchase, Read, Review, Search, Shown

RULES = JoinWindow(window_ms=30, grace_ms=10)
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


def bought(ts: int, event_id: str, price: float = 10.0, shelf: str | None = "s") -> Purchase:
    return Purchase(event_id=event_id, ts=ts, user_id="u", item_id="a", shelf_id=shelf, price=price)


def joined(events: Sequence[AnyEvent], until: int = 1_000) -> tuple[list[AttributedImpression], JoinCounts]:
    join = Attribution(RULES)
    for event in events:
        join.update(event)
    return join.advance(until), join.get()


def intents(closed: Sequence[AttributedImpression]) -> list[tuple[str, str]]:
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
    assert counts == JoinCounts(attributed=Counter({intent: 1}))


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
def histories(draw: st.DrawFn, ids: int = 14) -> list[AnyEvent]:
    """Events of which any two have different ids, or, of fewer ids, some the same."""
    events: list[AnyEvent] = []
    for place in range(draw(st.integers(min_value=1, max_value=14))):
        ts, user = draw(moments), draw(users)
        if draw(st.booleans()):
            shown = draw(st.lists(items, min_size=1, max_size=3))
            events.append(seen(ts, *shown, shelf=draw(shelves), user=user, event_id=f"e{place % ids}"))
        else:
            kind, shelf = draw(st.sampled_from(sorted(KINDS))), draw(st.none() | shelves)
            events.append(did(kind, ts, draw(items), shelf, user, event_id=f"e{place % ids}"))
    return events


def streamed(events: Sequence[AnyEvent], delays: Sequence[int]) -> tuple[list[AttributedImpression], JoinCounts]:
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


@settings(max_examples=300, deadline=None)
@given(histories(ids=4), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_where_ids_come_again(events: list[AnyEvent], chance: Random) -> None:
    in_order = streamed(events, [0] * len(events))
    assert streamed(events, [chance.randint(0, RULES.grace_ms) for _ in events]) == in_order
    closed, counts = joined(chance.sample(events, len(events)))
    assert (sorted(closed, key=repr), counts) == in_order
    for one in closed:
        ids = [(outcome.kind, outcome.event_id) for outcome in one.outcomes]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_an_outcome_sent_again_with_another_time_or_value_counts_once(order: tuple[int, ...]) -> None:
    events: list[AnyEvent] = [seen(0, "a"), bought(5, "p"), bought(6, "p"), bought(5, "p", price=11.0)]
    [closed], counts = joined([events[place] for place in order])
    assert (closed.revenue, [outcome.ts for outcome in closed.outcomes]) == (10.0, [5]), "the earliest, then the least"
    assert counts == JoinCounts(attributed=Counter(buy=1))


def test_ids_are_told_apart_by_kind_item_and_shopper() -> None:
    events: list[AnyEvent] = [seen(0, "a", "b", event_id="e"), seen(0, "a", user="v", event_id="e")]
    events += [did("click", 5, item, user=user, event_id="e") for item, user in (("a", "u"), ("b", "u"), ("a", "v"))]
    closed, counts = joined([*events, bought(6, "e")])
    assert [len(one.outcomes) for one in closed] == [2, 1, 1] and not counts.orphans


def test_an_impression_sent_again_is_the_same_whatever_it_says() -> None:
    closed, _ = joined([seen(5, "a", event_id="i", shelf="t"), seen(0, "a", event_id="i"), did("click", 9, "a", None)])
    assert [(one.shelf_id, one.ts, one.intent) for one in closed] == [("s", 0, "look")]


def test_an_orphan_sent_again_within_the_grace_is_one() -> None:
    counts = joined([bought(5, "p"), bought(6, "p"), bought(15, "p")])[1]
    assert dict(counts.orphans) == {"purchase": 1} and counts.waiting == 0
    join = Attribution(RULES)
    for ts in (5, 15, 16):  # the last is beyond the grace: another one, for all that is known
        join.update(bought(ts, "p"))
        join.advance(ts + RULES.grace_ms)
    join.advance(1_000)
    assert dict(join.get().orphans) == {"purchase": 2}


def test_an_id_that_comes_again_after_its_impression_is_another_one() -> None:
    closed, counts = joined([seen(0, "a"), seen(25, "a", shelf="t"), bought(30, "p"), bought(31, "p", shelf="t")])
    assert [one.revenue for one in closed] == [10.0, 10.0] and not counts.orphans


def test_one_shopper_and_item_cost_little_and_change_nothing_for_others() -> None:
    flood, people = list[AnyEvent](), list[AnyEvent]()
    for ts in range(10_000):
        flood += [seen(ts, "a", shelf=f"s{ts}", user="bot"), did("click", ts, "a", None, "bot")]
    for ts in range(0, 10_000, 50):
        people += [seen(ts, "a", "b", user=f"u{ts}"), did("click", ts + 9, "a", user=f"u{ts}")]
        people.append(did("cart", ts + 9, "c", user="bot"))
    started = time.perf_counter()
    join, alone = Attribution(JoinWindow(20_000, 5_000)), Attribution(JoinWindow(20_000, 5_000))
    closed: list[AttributedImpression] = []
    for event in sorted([*flood, *people], key=lambda event: event.time_ms):
        join.update(event)
        closed += join.advance(event.time_ms)
    closed += join.advance(10**6)
    assert time.perf_counter() - started < 5
    for event in people:
        alone.update(event)
    assert [one for one in closed if one.shopper != "bot"] == alone.advance(10**6)
    assert join.get().orphans == alone.get().orphans == {"cart": 200}
    kept = sum(1 + len(one.outcomes) for one in closed if one.shopper == "bot")
    assert (kept, join.broken) == (MOST_JOIN_EVENTS, 20_000 - MOST_JOIN_EVENTS), "the rest is counted"


def test_a_full_key_takes_facts_again_once_its_first_are_over() -> None:
    join = Attribution(RULES)
    for number in range(MOST_JOIN_EVENTS):
        join.update(seen(0, "a", shelf=f"s{number}"))
    join.update(seen(40, "a"))
    assert join.broken == 1
    join.watermark = 41
    join.update(seen(40, "a", shelf="t"))
    assert join.broken == 1 and join.get().waiting == 1
    assert len(join.advance(41)) == MOST_JOIN_EVENTS, "also what was settled on the way"


def test_a_state_from_before_the_limit_is_cut_to_the_earliest() -> None:
    many = [fact for ts in range(MOST_JOIN_EVENTS + 3) for _, fact in join_events(seen(ts, "a", shelf=f"s{ts}"))]
    join = Attribution(RULES)
    join.restore({("u", "a"): State(many), ("u", "b"): State(many[:2])}, 0, JoinCounts())
    assert (join.broken, join.get().waiting, join.drain()) == (3, MOST_JOIN_EVENTS + 2, {("u", "a"): State(many[:-3])})


@settings(max_examples=200, deadline=None)
@given(histories(ids=8), st.sets(st.integers(0, 13)), st.sets(st.integers(0, 13)))
def test_what_is_taken_of_a_full_key_depends_on_the_order_of_events_alone(
    events: list[AnyEvent], advanced: set[int], restarted: set[int]
) -> None:
    def played(advanced: set[int], restarted: set[int]) -> tuple[list[AttributedImpression], JoinCounts, int]:
        join, closed, broken = Attribution(RULES), list[AttributedImpression](), 0
        kept: dict[tuple[str, str], frozenset[JoinEvent]] = {}
        for place, event in enumerate(events):
            join.update(event)
            join.watermark = max(join.watermark, event.time_ms)
            if place in advanced | restarted:
                closed += join.advance(0)
                kept |= join.drain()
            if place in restarted:
                watermark, counts, broken = join.watermark, join.get(), broken + join.broken
                join = Attribution(RULES)
                join.restore(kept, watermark, counts)
        closed += join.advance(1_000)
        return sorted(closed, key=repr), join.get(), broken + join.broken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "MOST_JOIN_EVENTS", 2)
        assert played(advanced, restarted) == played(set(), set())


@settings(max_examples=200, deadline=None)
@given(histories())
def test_no_outcome_is_lost_or_counted_twice(events: list[AnyEvent]) -> None:
    closed, counts = joined(events)
    outcomes = [event for event in events if not isinstance(event, Impression)]
    used = [outcome.event_id for one in closed for outcome in one.outcomes]
    assert len(used) == len(set(used))
    assert len(used) + counts.orphans.total() == len(outcomes)
    assert counts.attributed.total() == len(closed)
    for one in closed:
        assert all(one.ts <= outcome.ts <= one.ts + RULES.window_ms for outcome in one.outcomes)


def in_steps(events: Sequence[AnyEvent], most: float) -> list[list[AttributedImpression]]:
    join = Attribution(RULES)
    for event in events:
        join.update(event)
    steps = [join.advance(1_000, most)]
    while join.more_due:
        steps.append(join.advance(1_000, most))
    assert join.watermark == 1_000
    return steps


SEEN = st.builds(
    lambda ts, user, shelf, items: seen(ts, *sorted(items), shelf=shelf, user=user),
    st.sampled_from([5, 6, 10]),
    st.sampled_from("ABZ"),
    st.sampled_from("st"),
    st.sets(st.sampled_from("wxyz"), min_size=1),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SEEN, max_size=8), st.integers(1, 8))
def test_what_one_shopper_saw_at_one_moment_is_not_parted_by_how_much_is_settled_at_once(
    events: list[AnyEvent], most: int
) -> None:
    [whole], steps = in_steps(events, 1_000), in_steps(events, most)
    assert [page for step in steps for page in pages(step)] == list(pages(whole))


def test_a_page_of_which_one_item_was_seen_before_is_not_parted() -> None:
    events = [seen(5, "x", user="Z"), seen(10, "a", "b", user="A"), seen(10, "x", "y", "z", shelf="t", user="Z")]
    assert [[page.shown for _, page, _ in pages(step)] for step in in_steps(events, 3)] == [[1, 2], [3]]


def test_what_a_shorter_window_closes_at_once_is_closed_in_steps_too() -> None:
    """A state of settings before: much is over though the watermark stays where it is."""
    before = Attribution(JoinWindow(window_ms=1_000, grace_ms=10))
    for place in range(9):
        before.update(seen(place, f"i{place}"))
    before.advance(500)
    join = Attribution(RULES)
    join.restore(before.drain(), before.watermark, before.get())
    steps = [len(join.advance(400, 4))]
    while join.more_due:
        steps.append(len(join.advance(400, 4)))
    assert steps == [4, 4, 1] and join.watermark == 500


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
