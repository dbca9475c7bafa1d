"""Suspected bots: what marks a shopper and what does not, and that a mark is the same after a restart."""

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveshelf.simulation.drift import parse
from liveshelf.simulation.world import World
from streams.config import BotsConfig
from streams.events.bots import REASONS, Bots, Page, Pages, Track
from streams.events.schema import Click, Impression, Item, Purchase, Read, Shown
from streams.events.shelf import Shelf, ShelfItem

MINUTE = 60_000


def reason(pages: Sequence[Page], config: BotsConfig | None = None) -> str:
    bots = Bots(config)
    for page in pages:
        bots.update("u", page)
    return bots.get("u")


def shown_every(ms: float, count: int, shown: int, clicked: int, spread: float = 0.0) -> list[Page]:
    """Pages with pauses that vary by a share of their length."""
    chance, now, found = Random(7), 1_000_000.0, []
    for _ in range(count):
        found.append(Page(int(now), shown, clicked))
        now += ms * (1 + spread * chance.uniform(-1, 1))
    return found


@pytest.mark.parametrize(
    "pages, why",
    [
        (shown_every(3_000, 30, 20, 10), "rate"),
        (shown_every(1_000, 130, 0, 1, spread=0.9), ""),
        (shown_every(400, 300, 0, 1, spread=0.9), "rate"),
        (shown_every(60_000, 40, 20, 1), "regular"),
        (shown_every(60_000, 25, 20, 1), ""),
        (shown_every(60_000, 400, 20, 1, spread=0.3), ""),
        (shown_every(60_000, 12, 10, 9, spread=0.9), "positions"),
        (shown_every(60_000, 9, 10, 10, spread=0.9), ""),
        (shown_every(60_000, 100, 10, 6, spread=0.9), ""),
        (shown_every(60_000, 100, 3, 3, spread=0.9), ""),
        (shown_every(60_000, 500, 20, 0), ""),
    ],
)
def test_what_no_person_does_is_marked_and_what_one_may_do_is_not(pages: list[Page], why: str) -> None:
    assert reason(pages) == why
    assert reason(pages, BotsConfig(mark=False)) == ""


def test_two_hundred_clicks_in_some_minutes_are_marked_before_they_are_all_counted() -> None:
    bots = Bots()
    before = sum(page.clicked for page in shown_every(5_000, 20, 10, 10, spread=0.5) if not bots.update("b", page))
    assert bots.get("b") in REASONS and before < 120


def test_a_mark_ends_after_a_long_absence_and_others_are_forgotten_sooner() -> None:
    config = BotsConfig()
    bots = Bots(config)
    for page in shown_every(3_000, 30, 20, 10):
        bots.update("b", page)
    bots.update("u", Page(1_090_000, 20, 1))
    hour, day = 1_000 * config.forget_s, 1_000 * config.marked_s
    assert bots.forget(1_090_000 + hour) == [] and bots.forget(1_090_001 + hour) == ["u"]
    assert bots.get("b") == "rate" and bots.track("u") is None
    assert bots.update("b", Page(1_087_000 + day, 20, 1)) == "rate"
    assert bots.update("b", Page(1_087_001 + 2 * day, 20, 1)) == "", "who was away begins anew"


def test_so_many_shoppers_are_kept_and_no_more() -> None:
    bots = Bots(capacity=10)
    for number in range(30):
        bots.update(f"u{number}", Page(number, 20, 1))
        bots.update(f"idle{number}", Page(number, 20, 0))
    assert bots.forget(0) == [f"u{number}" for number in range(20)]
    assert bots.track("idle29") is None, "who clicks nothing takes no memory"


PAGES = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.builds(Page, st.integers(0, 40).map(lambda n: n * 700), st.integers(0, 6), st.integers(0, 6)),
    ),
    max_size=60,
).map(lambda some: sorted(some, key=lambda one: one[1].ts))
TIGHT = BotsConfig(
    clicks_per_minute=20, burst=8, pauses=3, pages=3, page_items=3, clicked_share=0.7, forget_s=3, marked_s=9
)


@settings(deadline=None)
@given(PAGES, st.integers(0, 60))
def test_a_restart_and_forgetting_change_nothing(pages: list[tuple[str, Page]], stop: int) -> None:
    whole, broken = Bots(TIGHT), Bots(TIGHT)
    decode = msgspec.msgpack.Decoder(Track).decode
    for number, (who, page) in enumerate(pages):
        if number == stop:
            kept = {name: broken.track(name) for name in "uvw"}
            broken = Bots(TIGHT)
            broken.restore({name: decode(msgspec.msgpack.encode(track)) for name, track in kept.items() if track})
        broken.forget(page.ts)
        assert whole.update(who, page) == broken.update(who, page)


def test_pages_are_made_of_events_as_they_come() -> None:
    pages = Pages(capacity=2)
    items = [Shown(item_id=item, position=place) for place, item in enumerate("abcde")]

    def seen(ts: int, shelf: str, who: str = "u") -> list[tuple[str, Page]]:
        shown = Impression(event_id=f"s{ts}", ts=ts, user_id=who, shelf_id=shelf, surface="feed", items=items)
        return list(pages.update(shown))

    def clicked(ts: int, item: str, shelf: str | None) -> list[tuple[str, Page]]:
        kind = Click if ts % 2 else Read
        return list(pages.update(kind(event_id=f"c{ts}", ts=ts, user_id="u", item_id=item, shelf_id=shelf)))

    assert clicked(1, "z", None) == [("u", Page(1, 0, 1))], "nothing was shown"
    assert seen(2, "s") == []
    assert [clicked(3, "a", "s"), clicked(4, "a", "s"), clicked(5, "b", None)] == [[], [], []]
    assert clicked(7, "c", "another") == [("u", Page(7, 0, 1))]
    assert clicked(9 + 30 * MINUTE, "c", None) == [("u", Page(9 + 30 * MINUTE, 0, 1))], "too long ago"
    assert seen(8, "t") == [("u", Page(2, 5, 2))]
    seen(9, "t", "v"), seen(10, "t", "w")
    assert seen(11, "s") == [], "the longest open page went"


@pytest.mark.parametrize(
    "seed, shoppers, per_s, drift, bots",
    [(1, 60, 25.0, None, 0), (2, 300, 80.0, None, 0), (3, 200, 25.0, "bots=0.3@0", 3), (4, 200, 4.0, "bots=0.05@0", 3)],
)
def test_simulated_shoppers_are_never_marked_and_simulated_bots_are(
    seed: int, shoppers: int, per_s: float, drift: str | None, bots: int
) -> None:
    """Who comes at random and clicks by taste, three to ten times as often as people do; and who comes like a clock."""
    items = [Item(item_id=f"i{n}", title=f"thing {n % 7} of kind {n % 11}", category=f"c{n % 5}") for n in range(60)]
    world = World(items, seed=seed, n=shoppers, drifts=[parse(drift)] if drift else [])
    chance, pages, found, marked = Random(seed), Pages(), Bots(), dict[str, str]()
    for number, (at, who) in enumerate(world.visits(per_s, 1_000_000)):
        if number == 3_000:
            break
        some = [ShelfItem(one.item_id, 1.0, 0.1, 0.1, 0.1, "vector") for one in chance.sample(items, 20)]
        shelf = Shelf(
            shelf_id=f"s{number}", surface="feed", model="m", arm="champion", made_at=at, event_ts=at, items=some
        )
        for event in world.act(who, shelf, at):
            for shopper, page in pages.update(event):
                if why := found.update(shopper, page):
                    marked[shopper] = why
    assert sorted(marked) == [f"bot-{k}" for k in range(1, bots + 1)]


def test_a_large_order_is_one_click_and_its_buyer_no_bot() -> None:
    pages, bots = Pages(), Bots()
    shelf = Impression(event_id="s", ts=MINUTE, user_id="u", shelf_id="s", surface="feed", items=[])
    lines = [Purchase(event_id=f"{n}", ts=2 * MINUTE, user_id="u", item_id=f"i{n}") for n in range(300)]
    later = [Purchase(event_id=f"l{n}", ts=50 * MINUTE, user_id="u", item_id=f"i{n}") for n in range(300)]
    seen = [page for event in (shelf, *lines, *later, shelf) for _, page in pages.update(event)]
    assert [page.clicked for page in seen] == [1, 1]
    for page in seen:
        assert not bots.update("u", page)
