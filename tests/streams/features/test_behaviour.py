"""The statistics of the benchmark of feeds are the same in whatever order visits arrive."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.features.behaviour import DAY_MS, FEATURES, GROUPS, Behaviour, Memory, Text

ITEMS = 5
TEXT = Text.of(np.eye(ITEMS, dtype=np.float32), count=2)

visits = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.integers(0, 400 * 24).map(lambda hours: hours * DAY_MS // 24),
        st.sets(st.integers(0, ITEMS - 1), min_size=1),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda visit: (visit[0], visit[1]),
)


def taken_in(order: list[tuple[str, int, set[int]]]) -> Behaviour:
    behaviour = Behaviour(TEXT)
    for shopper, ts, items in order:
        places = np.array(sorted(items))
        behaviour.update(shopper, places, np.log1p(places + ts / DAY_MS), ts)
    return behaviour


@given(visits, st.randoms())
def test_features_do_not_depend_on_the_order_of_arrival(order, chance) -> None:
    shuffled = chance.sample(order, len(order))
    now = max(ts for _, ts, _ in order) + DAY_MS
    found = []
    for behaviour in (taken_in(order), taken_in(shuffled)):
        memory = behaviour.shoppers[order[0][0]]
        found.append(behaviour.features(behaviour.scores(memory, now), np.arange(ITEMS)))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


def test_every_feature_is_a_column() -> None:
    behaviour = taken_in([("u", 0, {0, 1}), ("v", DAY_MS, {1, 2})])
    features = behaviour.features(behaviour.scores(Memory(), 2 * DAY_MS), np.arange(ITEMS))
    assert features.shape == (ITEMS, len(FEATURES)) == (ITEMS, sum(map(len, GROUPS.values())))
    known = dict(zip(FEATURES, features[1], strict=True))
    assert known["buyers"] == np.float32(np.log1p(2))
    assert known["times"] == 0
    assert np.isnan(known["days_since"])
