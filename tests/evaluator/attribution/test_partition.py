"""A partition's commits: however events fall into batches and wherever a process dies, the same comes out."""

import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.attribution import join
from evaluator.attribution import partition as partition_module
from evaluator.attribution.example import LabelledExample, ShelfContext, encoder, label
from evaluator.attribution.join import JoinWindow, Settled, State, join_events, settle
from evaluator.attribution.partition import Commit, Partition, Saved
from evaluator.metrics import cardinality as names_module
from evaluator.metrics.cardinality import LabelLimiter
from evaluator.metrics.impression import MOST_REVENUE, AttributedImpression, JoinEvent
from evaluator.metrics.rates import Slice, Tally, tally
from streams.config import BotsConfig
from streams.events.schema import AnyEvent, Click, Impression, Purchase, Shown
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord

RULES = JoinWindow(window_ms=1_000, grace_ms=300)
KNOWN = {
    "s0": ShelfContext(model="m", arm="canary", query="tv", history=["h"], items=["i0", "i1"], propensities=[0.9, 0.5])
}
END = 10**6
BOTS = BotsConfig(
    clicks_per_minute=1, burst=4, pauses=3, pages=3, page_items=2, clicked_share=0.7, forget_s=1, marked_s=2
)
"""So strict that many of the shoppers below are marked in the middle."""


def impression(number: int, ts: int, shelf: str, surface: str = "feed", user: str = "u") -> Impression:
    items = [Shown(item_id=f"i{place}", position=place) for place in range(3)]
    return Impression(event_id=f"e{number}", ts=ts, user_id=user, shelf_id=shelf, surface=surface, items=items)


USERS = st.sampled_from("tuv")
TIMES = st.one_of(st.integers(0, 4_000), st.integers(0, 4).map(lambda tick: 1_000 * tick))
"""Much happens in one moment: many shops tell time in seconds."""

EVENTS = st.lists(
    st.one_of(
        st.builds(
            impression,
            st.integers(0, 5),
            TIMES,
            st.sampled_from(["s0", "s1"]),
            st.sampled_from(["feed", "a", "b", "c", "other"]),
            USERS,
        ),
        st.builds(
            lambda kind, number, ts, item, shelf, user: kind(
                event_id=f"c{number}", ts=ts, user_id=user, item_id=f"i{item}", shelf_id=shelf
            ),
            st.sampled_from([Click, Purchase]),
            st.integers(0, 30),
            TIMES,
            st.integers(0, 3),
            st.sampled_from(["s0", "s1", None]),
            USERS,
        ),
    ),
    max_size=25,
)


class Redis:
    """What the store's script does with commits, in memory."""

    def __init__(self) -> None:
        self.saved = Saved()
        self.examples: dict[str, LabelledExample] = {}
        self.rates: dict[tuple[int, Slice], Tally] = {}

    def commit(self, commit: Commit) -> None:
        assert (commit.before, commit.after) == (self.saved.offset, self.saved.commit)
        for part in (commit.set_, commit.removed, commit.examples, commit.rates, commit.forgotten):
            assert len(part) <= partition_module.MOST_CHANGES + 75, "what one shopper does at one moment is not parted"
        states = {name: value for name, value in self.saved.states.items() if name not in commit.removed}
        counts = dict(self.saved.counts) | commit.totals
        tracks = {name: value for name, value in self.saved.tracks.items() if name not in commit.forgotten}
        self.saved = Saved(
            commit.offset, commit.name, commit.watermark, states | commit.set_, counts, tracks | commit.tracks
        )
        for example in commit.examples:
            assert example.id not in self.examples, "no impression is closed twice"
            self.examples[example.id] = example
        for key, sums in commit.rates.items():
            self.rates.setdefault(key, Tally()).add(sums)

    def told(self) -> tuple[list[bytes], dict[str, int], dict[tuple[int, Slice], Tally]]:
        assert not self.saved.states and not self.saved.tracks, "nothing waits at the end"
        return sorted(map(encoder.encode, self.examples.values())), dict(self.saved.counts), self.rates


def play(events: list[AnyEvent | None], cuts: set[int], deaths: set[int]) -> Redis:
    """Take events in batches that end at the cuts; after a batch at a death, all that was not committed is lost and
    the next process begins some events earlier. Where a batch is more than one commit, it dies after the first."""
    redis = Redis()
    partition = Partition(RULES, redis.saved, bots=BOTS)
    start = 0
    while start < len(events):
        end = next((cut for cut in sorted(cuts) if cut > start), len(events))
        batch = list(enumerate(events))[start:end]
        partition.take(batch)
        if start in deaths:
            deaths = deaths - {start}
            if partition.full:
                redis.commit(partition.commit(KNOWN))
            partition = Partition(RULES, redis.saved, redis.rates, BOTS)
            start = max(0, start - 3)
            continue
        redis.commit(partition.commit(KNOWN))
        while partition.full:
            partition.take(batch)
            redis.commit(partition.commit(KNOWN))
        start = end
    for _ in range(400):
        partition.take([], watermark=END)
        redis.commit(partition.commit(KNOWN))
        if not partition.full and not redis.saved.tracks:
            break
    return redis


@pytest.fixture(scope="module", autouse=True)
def few_names() -> Iterator[None]:
    """Two names a field, and hours of two seconds: so that names run out, and turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_module, "LabelLimiter", partial(LabelLimiter, most=2))
        patch.setattr(names_module, "HOUR_MS", 2_000)
        patch.setattr(partition_module, "MINUTE_MS", 500)
        yield


@settings(deadline=None, max_examples=150)
@given(EVENTS, st.sets(st.integers(1, 25)), st.sets(st.integers(0, 24)))
def test_batches_and_deaths_change_nothing(events: list[AnyEvent | None], cuts: set[int], deaths: set[int]) -> None:
    assert play(events, cuts, deaths).told() == play(events, set(), set()).told()


@settings(deadline=None, max_examples=200)
@given(EVENTS, st.sets(st.integers(1, 25)), st.sets(st.integers(0, 24)), st.integers(1, 6))
def test_many_small_commits_come_to_what_a_large_one_does(
    events: list[AnyEvent | None], cuts: set[int], deaths: set[int], most: int
) -> None:
    wanted = play(events, set(), set()).told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition_module, "MOST_CHANGES", most)
        assert play(events, cuts, deaths).told() == wanted


def test_what_a_pause_of_a_night_closes_goes_in_commits_of_a_bounded_size() -> None:
    """The first event after it closes all at once; it is taken after the last of what it closes."""
    partition, night = Partition(RULES, Saved()), 10**8
    shown = [
        (number, Impression(
            event_id=f"e{number}", ts=number // 40, user_id=f"u{number}", shelf_id="s0", surface="feed",
            items=[Shown(item_id=f"i{place}", position=place) for place in range(20)],
        ))
        for number in range(1_000)
    ]  # fmt: skip
    commits = list[Commit]()
    for batch in (shown, [(1_000, Click(event_id="c", ts=night, user_id="u0", item_id="i0", shelf_id="s0"))]):
        partition.take(batch)
        commits.append(partition.commit({}))
        while partition.full:
            assert partition.attributed_until < night - RULES.window_ms - RULES.grace_ms
            partition.take(batch)
            commits.append(partition.commit({}))
    sizes = [len(one.set_) + len(one.removed) for one in commits]
    most = partition_module.MOST_CHANGES + 20
    assert sum(sizes) == 40_001 and max(sizes) <= most and max(len(one.examples) for one in commits) <= most
    assert [one.offset for one in commits[-5:]] == [999] * 4 + [1_000]
    assert sum(len(one.examples) for one in commits) == 20_000
    times = [one.ts for commit in commits for one in commit.examples]
    assert times == sorted(times)


def test_what_a_shorter_window_closes_at_once_is_in_commits_whoever_dies() -> None:
    """Much is over though no time has passed since the settings changed: nothing is settled that no commit gives."""
    redis, late = Redis(), 10**6
    partition = Partition(JoinWindow(window_ms=10**7, grace_ms=300), redis.saved)
    shown = [impression(0, number, "s0", user=f"u{number}") for number in range(900)]
    for number, one in enumerate([*shown, impression(1, late, "s1")]):
        partition.take([(number, one)])
        redis.commit(partition.commit(KNOWN))
    full = True
    while full:
        partition = Partition(RULES, redis.saved)
        partition.take([(901, impression(2, late, "s1"))])
        full = partition.full
        redis.commit(partition.commit(KNOWN))
    assert len(redis.examples) == redis.saved.counts["closed.ignore"] == 2_700 and redis.saved.offset == 901


@settings(deadline=None, max_examples=150)
@given(EVENTS, st.randoms())
def test_any_order_and_repetition_within_the_grace_change_nothing(events: list[AnyEvent], chance: Random) -> None:
    ordered = sorted(events, key=lambda event: event.time_ms)
    mixed = sorted(
        ordered + chance.choices(ordered, k=len(ordered) // 3) if ordered else [],
        key=lambda event: event.time_ms + chance.uniform(0, RULES.grace_ms - 1),
    )
    wanted, found = play(list(ordered), set(), set()), play(list(mixed), {4, 9}, {4})
    assert found.told() == wanted.told()


def test_a_bots_impressions_are_counted_aside_from_the_page_on_that_gives_it_away() -> None:
    events: list[AnyEvent] = []
    for number in range(40):
        for who, clicked in (("bot", 3), ("u", number % 2)):
            about = {"user_id": who, "shelf_id": f"{who}{number}"}
            items = [Shown(item_id=f"i{place}", position=place) for place in range(3)]
            ts = 10_000 * number
            events.append(Impression(event_id=f"{who}{number}", ts=ts, surface="feed", items=items, **about))
            for place in range(clicked):
                events.append(Click(event_id=f"{who}{number}.{place}", ts=ts + 1 + place, item_id=f"i{place}", **about))
    partition = Partition(RULES, Saved(), bots=BotsConfig(page_items=3))
    partition.take(enumerate(events), watermark=END)
    commit, counts = partition.commit({}), partition.counts()
    rates = Tally()
    for sums in commit.rates.values():
        rates.add(sums)
    assert counts.bots == {"positions.impressions": 93, "positions.clicks": 93} and commit.aside == 93
    assert rates.impressions + commit.aside == counts.attributed.total() == 240
    assert rates.clicks == 20 + 27, "nine pages say too little"
    assert Counter(example.shopper for example in commit.examples) == {"u": 120, "bot": 27}
    assert partition.marked() == {"positions": 1}


def test_records_that_are_no_events_move_the_offset_alone() -> None:
    partition = Partition(RULES, Saved())
    partition.take([(5, None), (6, None)])
    commit = partition.commit({})
    assert (commit.before, commit.offset, commit.set_, commit.totals) == (-1, 6, {}, {})
    partition.take([(6, impression(1, 5, "s0"))])
    assert not partition.commit({}).set_, "taken before"


def test_examples_are_what_the_shelf_was_made_with() -> None:
    item = ShelfItem("i0", 1.0, 0.1, 0.2, 0.3, "vector")
    shelf = Shelf(shelf_id="s0", surface="feed", model="m", arm="canary", made_at=1, event_ts=1, items=[item])
    record = ShelfRecord(key="k", shopper="u", query="tv", shelf=shelf, propensities=[0.9], history=["h"])
    known = ShelfContext.of(record)
    made = label(AttributedImpression("u", "i0", "s0", "feed", 0, 5), known)
    assert (made.query, made.history, made.model, made.arm, made.propensity) == ("tv", ["h"], "m", "canary", 0.9)
    assert label(AttributedImpression("u", "i9", "s0", "feed", 0, 5), known).propensity is None
    assert made.id == label(AttributedImpression("u", "i0", "s0", "feed", 0, 5), None).id
    assert made.id != label(AttributedImpression("u", "i0", "s0", "feed", 0, 6), None).id


def test_rates_are_by_minute_surface_arm_model_and_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "MINUTE_MS", 60_000)
    partition = Partition(RULES, Saved())
    bought = Purchase(event_id="p", ts=61_000, user_id="u", item_id="i1", shelf_id="s0", price=2.0, quantity=3)
    partition.take([(0, impression(1, 60_500, "s0")), (1, impression(2, 60_500, "s9")), (2, bought)], watermark=END)
    found = partition.commit(KNOWN).rates
    assert found[60_000, Slice("feed", "canary", "m", "1")] == Tally(impressions=1)
    second = found[60_000, Slice("feed", "canary", "m", "2-3")]
    assert (second.impressions, second.clicks, second.purchases, second.revenue) == (2, 1, 1, pytest.approx(6))
    assert found[60_000, Slice("feed", "", "", "1")].impressions == 1, "a shelf that is not ours"


def test_more_names_than_there_are_places_for_are_counted_together() -> None:
    partition = Partition(RULES, Saved())
    shown = [impression(number, 4_000 + number, f"s{number}", f"surface {number}") for number in range(10)]
    partition.take(enumerate(shown), watermark=END)
    surfaces = Counter[str]()
    for (_, cut), sums in partition.commit({}).rates.items():
        surfaces[cut.surface] += sums.impressions
    assert surfaces == {"surface 0": 3, "surface 1": 3, "other": 24}


def test_what_cannot_be_told_is_left_out_and_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(closed: AttributedImpression) -> Tally:
        if closed.shelf_id == "s1":
            raise OverflowError
        return tally(closed)

    monkeypatch.setattr(partition_module, "tally", hostile)
    partition = Partition(RULES, Saved())
    partition.take([(0, impression(1, 5, "s0")), (1, impression(2, 5, "s1"))], watermark=END)
    commit = partition.commit({})
    assert (commit.broken, [one.shelf_id for one in commit.examples]) == (3, ["s0"] * 3)
    assert not commit.set_ and sum(sums.impressions for sums in commit.rates.values()) == 3
    partition.take([(2, impression(3, END, "s0"))])
    assert partition.commit({}).broken == 0, "over and done with"


def test_what_cannot_be_decided_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(state: State, horizon: int, rules: JoinWindow) -> Settled:
        if any(fact.kind for fact in state):
            raise TypeError
        return settle(state, horizon, rules)

    monkeypatch.setattr(join, "settle", hostile)
    partition = Partition(RULES, Saved())
    click = Click(event_id="c", ts=6, user_id="u", item_id="i1", shelf_id="s0")
    partition.take([(0, impression(1, 5, "s0")), (1, click)], watermark=END)
    commit = partition.commit({})
    assert (commit.broken, [one.item_id for one in commit.examples]) == (2, ["i0", "i2"])
    assert not commit.set_ and partition.counts().waiting == 0


def test_what_one_shopper_and_item_bring_on_top_is_counted_and_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "MOST_JOIN_EVENTS", 3)
    partition = Partition(RULES, Saved())
    partition.take((number, impression(number, 5, f"s{number}")) for number in range(5))
    commit = partition.commit({})
    assert (commit.broken, commit.offset, partition.counts().waiting) == (3 * 2, 4, 3 * 3)
    assert [len(msgspec.msgpack.decode(value)) for value in commit.set_.values()] == [3] * 3
    again = Partition(RULES, Saved(commit.offset, 1, commit.watermark, commit.set_))
    again.take([(5, impression(5, 6, "s9"))], watermark=END)
    last = again.commit({})
    assert (last.broken, len(last.examples), last.set_) == (3, 3 * 3, {}), "as without the restart"


@settings(deadline=None, max_examples=100)
@given(EVENTS, st.sets(st.integers(1, 25)), st.sets(st.integers(0, 24)))
def test_batches_and_deaths_change_nothing_of_a_full_key(
    events: list[AnyEvent | None], cuts: set[int], deaths: set[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "MOST_JOIN_EVENTS", 2)
        assert play(events, cuts, deaths).told() == play(events, set(), set()).told()


def test_a_purchase_sent_again_with_another_time_is_paid_once_and_makes_one_example() -> None:
    bought = [Purchase(event_id="p", ts=ts, user_id="u", item_id="i1", shelf_id="s0", price=10.0) for ts in (5, 6)]
    partition = Partition(RULES, Saved())
    partition.take([(0, impression(1, 0, "s0")), (1, bought[1])])
    partition = Partition(RULES, Saved(1, 1, partition.watermark, partition.commit(KNOWN).set_))
    partition.take([(2, bought[0])], watermark=END)
    commit = partition.commit(KNOWN)
    assert sum(sums.revenue for sums in commit.rates.values()) == pytest.approx(10)
    assert sorted(example.value for example in commit.examples) == [0, 0, 10] and not commit.set_


def test_sums_stay_finite_whatever_was_bought_for() -> None:
    """Also of what was taken in before amounts had a limit."""
    shown, bought = JoinEvent(5, "", "e", "s0", "feed"), JoinEvent(6, "purchase", "p", "s0", value=1e300)
    state = {msgspec.msgpack.encode(("u", "i0")): msgspec.msgpack.encode([shown, bought])}
    partition = Partition(RULES, Saved(states=state))
    partition.take([], watermark=END)
    commit = partition.commit({})
    [sums] = commit.rates.values()
    assert commit.broken == 0
    assert (sums.purchases, sums.revenue, commit.examples[0].value) == (1, MOST_REVENUE, MOST_REVENUE)
    assert math.isfinite(sum([sums.revenue_squared] * 10**6))
    largest = Purchase(event_id="p", ts=6, user_id="u", item_id="i", price=1e12, quantity=10**9)
    [(_, fact)] = join_events(largest)
    assert fact.value == MOST_REVENUE
