"""Statistics and features of behaviour are the same in whatever order, and however often, visits arrive."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.features.behaviour import FEATURES, GROUPS, text_matches
from streams.features.history import ShopHistory
from streams.features.item_model import ItemModel
from streams.features.items import DAY_MS, ORIGIN_MS, WIDTH, ItemStatistics
from streams.features.own import ROW, Memory, OwnItems, located, numbered, parts
from streams.features.pairs import Pairs

ITEMS = [*"abcde"]
HOUR_MS = DAY_MS // 24

visits = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.integers(0, 400 * 24).map(lambda hours: ORIGIN_MS + hours * HOUR_MS),
        st.sets(st.sampled_from(ITEMS), min_size=1),
    ),
    min_size=1,
    max_size=12,
)


def taken_in(order: list[tuple[str, int, set[str]]]) -> ShopHistory:
    history = ShopHistory()
    history.items.places(ITEMS)
    for shopper, ts, items in order:
        ids = sorted(items)
        history.update(shopper, ids, np.array([float(ord(one)) for one in ids]), ts)
    return history


def features(history: ShopHistory, shopper: str, now: int) -> np.ndarray:
    """Of all items, without texts."""
    history.behaviour.refresh()
    scores = history.behaviour.scores([history.shoppers.get(shopper, Memory()).get()], [now])
    return history.behaviour.features(scores, [np.arange(len(ITEMS))], np.full((len(ITEMS), 3), np.nan))


@settings(deadline=None)
@given(visits, st.randoms())
def test_features_depend_neither_on_order_nor_on_repeats(order, chance) -> None:
    shuffled = chance.sample(order, len(order)) + order[:2]
    now = max(ts for _, ts, _ in order) + DAY_MS
    found = [features(taken_in(some), order[0][0], now) for some in (order, shuffled)]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(visits)
def test_statistics_of_shards_add_up(order) -> None:
    now = max(ts for _, ts, _ in order)
    whole, parts = taken_in(order), [taken_in([one for one in order if one[0] == shopper]) for shopper in "uvw"]
    added = ItemStatistics()
    for item in ITEMS:
        place = len(added)
        added.put(item, [part.items.values[place] for part in parts])
    for measure in (ItemStatistics.demand, ItemStatistics.bought_by_new):
        np.testing.assert_allclose(measure(added, now), measure(whole.items, now), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(added.values[:, 7:8], whole.items.values[:, 7:8], rtol=1e-9)
    np.testing.assert_allclose(added.values[:, 10:], whole.items.values[:, 10:], rtol=1e-9)


@pytest.mark.parametrize("spoilt", [np.full(WIDTH, np.nan), np.zeros(3), np.full(WIDTH, np.inf)])
def test_spoilt_statistics_count_for_nothing(spoilt) -> None:
    items = ItemStatistics()
    good = taken_in([("u", ORIGIN_MS, {"a"})]).items.values[0]
    items.put("a", [spoilt, good])
    np.testing.assert_array_equal(items.values[0], good)


def test_a_century_of_touches_stays_finite() -> None:
    items = ItemStatistics()
    places = items.places(["a"])
    for year in (-50, 0, 19, 100):
        items.touch(places, ORIGIN_MS + year * 365 * DAY_MS)
    assert np.isfinite(items.values).all() and np.isfinite(items.demand(ORIGIN_MS + 101 * 365 * DAY_MS)).all()


def test_demand_before_its_origin_is_finite() -> None:
    items = ItemStatistics()
    for hour in range(180):
        items.touch(items.places(["a"]), ORIGIN_MS + hour * HOUR_MS)
    with np.errstate(over="raise"):
        assert np.isfinite(items.demand(ORIGIN_MS - 400 * DAY_MS)).all()


def test_every_feature_is_a_column() -> None:
    history = taken_in([("u", ORIGIN_MS, {"a", "b"}), ("v", ORIGIN_MS + DAY_MS, {"b", "c"})])
    found = features(history, "w", ORIGIN_MS + 2 * DAY_MS)
    assert found.shape == (len(ITEMS), len(FEATURES)) == (len(ITEMS), sum(map(len, GROUPS.values())))
    known = dict(zip(FEATURES, found[1], strict=True))
    assert known["buyers"] == np.float32(np.log1p(2))
    assert known["times"] == 0
    assert np.isnan(known["days_since"]) and np.isnan(known["linear"])
    own = dict(zip(FEATURES, features(history, "u", ORIGIN_MS + 2 * DAY_MS)[1], strict=True))
    assert own["times"] == 1 and own["days_since"] == pytest.approx(2 - 0.5 / 24)


def test_candidates_name_their_sources_and_leave_own_items_to_own() -> None:
    history = taken_in([("u", ORIGIN_MS, {"a"}), ("v", ORIGIN_MS, {"a", "b"}), ("w", ORIGIN_MS + DAY_MS, {"c"})])
    now = ORIGIN_MS + 2 * DAY_MS
    history.behaviour.refresh()
    model = ItemModel.cut(np.eye(5, k=3, dtype=np.float32), 2)
    scores = history.behaviour.scores([history.shoppers["u"].get()], [now], model)
    [found] = history.behaviour.candidates(scores, dict.fromkeys(("own", "linear", "together", "week", "new"), 2))
    named = {source: [ITEMS[place] for place in places.tolist()] for source, places in found.items()}
    assert named == {"own": ["a"], "linear": ["d"], "together": ["b"], "week": ["c", "b"], "new": ["c", "b"]}


def test_what_buyers_come_back_for_is_due_after_a_share_of_their_interval() -> None:
    monthly = [(who, ORIGIN_MS + 30 * month * DAY_MS, {"a"}) for who in "uvw" for month in range(4)]
    once = [(who, ORIGIN_MS + 90 * DAY_MS, {"b"}) for who in "uvwxyz"] * 2
    history = taken_in([*monthly, *once])
    history.items.values[1, 10] = 1_000  # of a thousand buyers nobody came back
    own = history.shoppers["u"].get()
    named = [ITEMS[place] for place in own.places.tolist()]
    for days, wanted in ((91, set()), (92, {"a"}), (97, {"a"}), (400, {"a"})):
        [due] = history.behaviour.due([own], [ORIGIN_MS + days * DAY_MS])
        assert {name for name, yes in zip(named, due.tolist(), strict=True) if yes} == wanted, days


def test_a_long_row_keeps_what_goes_together_and_not_what_is_popular() -> None:
    items = ItemStatistics()
    pairs = Pairs(most=2, cut_at=3)
    for number in range(50):  # "popular" is in every visit
        pairs.add(items.places([f"x{number}", "popular"]), ORIGIN_MS)
    for other in ("friend", "popular", "mate", "rare"):
        pairs.add(items.places(["cup", other]), ORIGIN_MS)
    kept = {items.ids[place] for place in pairs.row(items.places(["cup"])[0])[0].tolist()}
    assert "popular" not in kept and len(kept) == 2


def test_rows_of_shards_are_cut_alone_and_add_up() -> None:
    pairs = Pairs(most=1, cut_at=2)
    for shard, others in enumerate(((1, 2), (3, 4), (1, 1, 2, 3))):
        for other in others:
            pairs.add(np.array([0, other]), ORIGIN_MS, shard=shard)
    found = dict(zip(*(some.tolist() for some in pairs.row(0)), strict=True))
    assert found == {1: 3.0, 2: 1.0, 3: 1.0, 4: 1.0}  # the third shard kept its best


@pytest.mark.parametrize("years", [-45, 0, 6, 100])
def test_lists_of_the_most_bought_need_no_time(years: int) -> None:
    def lists(since: int) -> list[list[str]]:
        history = ShopHistory()
        for hour, ids in enumerate((["a", "b", "d"], ["b", "a"], ["c"], ["c"], ["b"])):
            history.update(f"u{hour}", ids, np.zeros(len(ids)), since + hour * 40 * HOUR_MS)
        history.behaviour.refresh()
        found = history.behaviour.lists
        return [[history.items.ids[place] for place in places.tolist()] for places in (found.week, found.day)]

    assert lists(ORIGIN_MS + years * 365 * DAY_MS)[1] == lists(ORIGIN_MS)[1] == ["b", "c", "a", "d"]
    if years in (0, 6):
        assert lists(ORIGIN_MS + years * 365 * DAY_MS) == lists(ORIGIN_MS)


def test_items_touched_last_at_one_time_keep_their_order() -> None:
    rows = np.array([(1, 1.0, 5, 5, at) for at in (5, 9, 9, 5)], ROW)
    assert OwnItems.of(np.array([8, 3, 1, 2]), rows, [5, 9]).places.tolist() == [3, 1, 8, 2]


def test_text_of_nothing_is_not_known() -> None:
    vectors = np.eye(2, dtype=np.float32)
    assert np.isnan(text_matches([vectors], [vectors[:0]], [np.zeros(0)], 2).features).all()
    assert text_matches([vectors], [vectors[:1]], [np.zeros(1)], 2).features.tolist() == [[1, 1, 1], [0, 0, 0]]
    spoilt = np.array([[np.inf, 0], [np.nan, 1], [0, 1]], np.float32)
    found = text_matches(
        [spoilt, vectors[:0], vectors], [vectors, vectors, vectors[:0]], [np.zeros(2)] * 2 + [np.zeros(0)], 5
    ).features
    assert np.isnan(found[[0, 1, 3, 4]]).all() and found[2].tolist() == pytest.approx([0.5**0.5, 1, 1])


@given(st.lists(st.tuples(st.sampled_from("uvwx"), st.integers(0, 90), st.sets(st.sampled_from(ITEMS), min_size=1))))
@settings(deadline=None)
def test_shoppers_of_a_batch_are_as_each_alone(visits: list[tuple[str, int, set[str]]]) -> None:
    history = taken_in([(who, ORIGIN_MS + day * DAY_MS, items) for who, day, items in visits])
    history.behaviour.refresh()
    behaviour, model = history.behaviour, ItemModel.cut(np.eye(len(ITEMS), k=1, dtype=np.float32), 2)
    owns = [history.shoppers.get(who, Memory()).get() for who in "uzvwx"]
    times = [ORIGIN_MS + (91 + day) * DAY_MS for day in range(len(owns))]
    limits = dict.fromkeys(("own", "linear", "together", "week", "day", "new"), 2)
    places = [np.arange(number, len(ITEMS)) for number in range(len(owns))]
    text = np.arange(3.0 * sum(map(len, places))).reshape(-1, 3)
    for known in (None, model):
        scores = behaviour.scores(owns, times, known)
        rows = np.split(behaviour.features(scores, places, text), np.cumsum(list(map(len, places)))[:-1])
        brought, begin = behaviour.candidates(scores, limits), 0
        for number, (own, ts, some) in enumerate(zip(owns, times, places, strict=True)):
            alone = behaviour.scores([own], [ts], known)
            mine = behaviour.features(alone, [some], text[begin : begin + len(some)])
            np.testing.assert_allclose(rows[number], mine, rtol=1e-6)
            [found] = behaviour.candidates(alone, limits)
            assert {name: found[name].tolist() for name in found} == {
                name: listed.tolist() for name, listed in brought[number].items()
            }
            anchors = [one.anchors(np.full(len(some), at), some).tolist() for one, at in ((scores, number), (alone, 0))]
            assert anchors[0] == anchors[1]
            begin += len(some)


Groups = st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=4)


def flat(groups: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *map(len, groups)])
    return starts, np.array([one for some in groups for one in some], np.int64)


@given(Groups, Groups)
def test_numbers_of_groups_are_found_as_by_a_dict(known: list[list[int]], wanted: list[list[int]]) -> None:
    (starts, values), count = flat(known), min(len(known), len(wanted))
    begins, firsts, of = numbered(starts, values, 10)
    distinct = [list(dict.fromkeys(some)) for some in known]
    assert parts_of(values[firsts], begins) == distinct and (values[firsts][of] == values).all()
    (starts, values), (asked, places) = (
        flat(distinct[:count]),
        flat([[one - 2 for one in some] for some in wanted[:count]]),
    )
    found = located(starts, values, asked, np.where(places == 7, 99, places), 10)
    for number, (mine, at) in enumerate(zip(distinct, parts_of(found, asked), strict=False)):
        sought = [one - 2 for one in wanted[number]]
        assert at == [starts[number] + mine.index(one) if one in mine and one != 7 else -1 for one in sought]


def parts_of(values: np.ndarray, starts: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in parts(values, starts)]


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=5), min_size=1, max_size=4))
def test_items_of_many_shoppers_are_those_of_each(shoppers: list[list[tuple[int, int]]]) -> None:
    sizes = [len(items) for items in shoppers]
    rows = np.array([(times, 1.0, 5, 7, at) for items in shoppers for times, at in items], ROW)
    places, visits = np.arange(len(rows)) * 3 % 97, [range(size, 0, -1) for size in sizes]
    starts = np.cumsum([0, *sizes])
    for number, found in enumerate(OwnItems.each(places, rows, sizes, visits)):
        mine = slice(starts[number], starts[number + 1])
        alone = OwnItems.of(places[mine], rows[mine], visits[number])
        for name in ("places", "times", "demand", "first_ms", "last_ms", "touched_ms", "visits_ms"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


@given(st.integers(0, 2**20), st.integers(1, 40))
def test_texts_match_as_by_plain_arrays(seed: int, count: int) -> None:
    chance = np.random.default_rng(seed)
    items, own = (chance.normal(size=(size, 5)).astype(np.float32) for size in (6, count))
    days = np.sort(chance.exponential(40, count))
    weights = np.exp2(-days / 30)
    centre, cosines = weights @ own, items @ own.T
    found = text_matches([items], [own], [days], len(items))
    wanted = [items @ centre / np.linalg.norm(centre), (cosines * (0.5 + weights / 2)).max(1), cosines[:, :15].max(1)]
    np.testing.assert_allclose(found.features, np.stack(wanted, axis=1), rtol=1e-4, atol=1e-5)
    assert found.nearest.tolist() == cosines.argmax(1).tolist()
    np.testing.assert_allclose(found.cosines, cosines.max(1), rtol=1e-5)
