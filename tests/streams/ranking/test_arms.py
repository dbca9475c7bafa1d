"""The arms on a small real catalogue: who is answered by whom, and what a challenger that breaks leads to."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.constant import ConstantScorer
from models.scorer import Floats, ScoreRequest
from streams.catalog.catalog import Catalog
from streams.config import StreamsConfig
from streams.features.shopper import Asked, Shopper, Touched
from streams.features.trending import Trending
from streams.ranking import arms as arms_module
from streams.ranking.arms import SHADOWED, Arms
from streams.ranking.assignment import assign
from streams.ranking.recommender import RankRequest, RankResult, Recommender
from streams.telemetry.meter import Meter, Snapshot, quantiles
from tests.logged import logged

NOW = 1_700_000_000_000
PAST = Shopper(touched=(Touched(5, "click", "mouse"),), asked=(Asked(4, "cable"),))
TRENDING = Trending(3_600, 24)


class Numbered(ConstantScorer):
    """Keeps the candidates' order, or turns it round, under a version of its own."""

    def __init__(self, version: str, backwards: bool = False) -> None:
        self.version, self.backwards = version, backwards
        self.calls: list[int] = []

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        self.calls.append(len(requests))
        return [rows[::-1] if self.backwards else rows for rows in super().score(requests)]


class Broken(Numbered):
    """Raises, or gives what is no number, which leaves shelves empty."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__("broken")
        self.error = error

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        found = super().score(requests)
        if self.error is not None:
            raise self.error
        return [np.full_like(rows, np.nan) for rows in found]


def recommender(catalogue: Catalog, scorer: Numbered) -> Recommender:
    return Recommender(catalogue, scorer, TRENDING, StreamsConfig())


@pytest.fixture
def meter() -> Meter:
    return Meter("worker", "w", 0)


@pytest.fixture
def arms(catalogue: Catalog, meter: Meter) -> Arms:
    return Arms(recommender(catalogue, Numbered("old")), meter)


def feed(number: int) -> RankRequest:
    return RankRequest("feed", f"e{number}", 9, f"u{number}", PAST)


def batch(shoppers: int) -> list[RankRequest]:
    """Each shopper's feed and search, and what everybody shares."""
    return [
        ask
        for number in range(shoppers)
        for ask in (
            feed(number),
            RankRequest("search", f"e{number}", 9, f"u{number}", PAST, query="printer"),
            RankRequest("search", f"e{number}", 9, query="printer"),
            RankRequest("similar", f"e{number}", 9, item_id="usb"),
            RankRequest("popular", f"e{number}", 9),
        )
    ]


def labels(made: RankResult) -> list[tuple[str, str]]:
    return [(record.shelf.arm, record.shelf.model) for record in made.records]


def counted(meter: Meter) -> dict[str, int]:
    return meter.snapshot(NOW).counts


def test_without_others_the_champion_answers_as_it_always_did(arms: Arms, meter: Meter) -> None:
    asks = batch(3)
    assert arms.recommend(asks, {}, NOW).records == arms.champion.recommend(asks, {}, NOW).records
    assert labels(arms.recommend(asks, {}, NOW)) == 3 * [*2 * [("champion", "old")], *3 * [("shared", "old")]]
    assert arms.recommend([], {}, NOW).records == []
    arms.shadow(asks, {}, NOW)
    assert not counted(meter)


def test_each_shopper_is_answered_by_one_arm_and_all_see_alike_what_is_shared(
    arms: Arms, catalogue: Catalog, meter: Meter
) -> None:
    arms.set_canary(recommender(catalogue, Numbered("new")), 0.4, salt="new")
    arms.set_holdback(recommender(catalogue, Numbered("untrained")), 0.2)
    asks = batch(60)
    made = arms.recommend(asks, {}, NOW)
    assert [record.key for record in made.records] == [ask.key for ask in asks]
    assert set(made.stages) == {"encode", "candidates", "score", "policy", "reasons"}
    models = {"champion": "old", "canary": "new", "holdback": "untrained", "shared": "old"}
    seen = Counter(record.shelf.arm for record in made.records)
    for ask, record in zip(asks, made.records, strict=True):
        arm = "shared"
        if (shopper := ask.shopper_id) is not None:
            arm = "canary" if assign(shopper, "new") < 0.4 else "champion"
            arm = "holdback" if assign(shopper, "holdback") < 0.2 else arm
        assert (record.shelf.arm, record.shelf.model) == (arm, models[arm])
    assert min(seen.values()) > 0 and len(seen) == 4
    counts = counted(meter)
    assert {name: counts[f"{name}.shelves"] for name in ("canary", "holdback")} == {
        name: seen[name] for name in ("canary", "holdback")
    }
    assert counts["canary.failed"] == counts["holdback.failed"] == 0


def test_shares_hold_over_many_shoppers_and_the_holdback_takes_of_all_alike(arms: Arms, catalogue: Catalog) -> None:
    arms.set_canary(recommender(catalogue, Numbered("new")), 0.25, salt="new")
    arms.set_holdback(recommender(catalogue, Numbered("untrained")), 0.1)
    seen = Counter(arms._of(feed(number)) for number in range(20_000))
    for arm, share in (("holdback", 0.1), ("canary", 0.9 * 0.25), ("champion", 0.9 * 0.75)):
        assert abs(seen[arm] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_a_trial_ends_and_another_deals_shoppers_anew(arms: Arms, catalogue: Catalog) -> None:
    asks = [feed(number) for number in range(200)]
    new = recommender(catalogue, Numbered("new"))

    def chosen(salt: str, share: float = 0.3) -> set[int]:
        arms.set_canary(new, share, salt)
        return {at for at, ask in enumerate(asks) if arms._of(ask) == "canary"}

    assert chosen("a") == chosen("a") < chosen("a", 0.6)
    assert chosen("a") != chosen("b")
    arms.set_canary(None)
    assert {arm for arm, _ in labels(arms.recommend(asks, {}, NOW))} == {"champion"}
    arms.set_holdback(new, 1.0)
    assert {arm for arm, _ in labels(arms.recommend(asks, {}, NOW))} == {"holdback"}
    arms.set_holdback(None, 1.0)
    assert {arm for arm, _ in labels(arms.recommend(asks, {}, NOW))} == {"champion"}


ASKS = st.lists(
    st.builds(
        lambda surface, shopper, number: RankRequest(
            surface,
            f"e{number}",
            9,
            shopper_id=f"u{shopper}" if surface == "feed" or (surface == "search" and shopper % 2) else None,
            shopper=PAST if surface == "feed" or (surface == "search" and shopper % 2) else Shopper(),
            query="usb cable" if surface == "search" else None,
            item_id="mouse" if surface == "similar" else None,
        ),
        st.sampled_from(["feed", "search", "similar", "popular"]),
        st.integers(0, 30),
        st.integers(0, 1_000_000),
    ),
    max_size=12,
)


class Deal:
    """Arms that are made once for all examples, as a catalogue is dear."""

    def __init__(self, catalogue: Catalog) -> None:
        self.arms = Arms(recommender(catalogue, Numbered("old")), Meter("worker", "w", 0))
        self.others = {
            "works": recommender(catalogue, Numbered("new")),
            "breaks": recommender(catalogue, Broken(RuntimeError("out of memory"))),
        }


def test_the_split_keeps_the_order_and_answers_each_ask_once(catalogue: Catalog) -> None:
    deal = Deal(catalogue)
    alone = recommender(catalogue, Numbered("old"))

    @settings(deadline=None)
    @given(ASKS, st.sampled_from(["works", "breaks"]), st.floats(0, 1), st.floats(0, 1))
    def check(asks: list[RankRequest], other: str, share: float, held: float) -> None:
        deal.arms.set_canary(deal.others[other], share, "salt")
        deal.arms.set_holdback(deal.others["works"], held)
        made = deal.arms.recommend(asks, {}, NOW)
        assert [(record.key, record.shopper, record.query) for record in made.records] == [
            (ask.key, ask.shopper_id, ask.query) for ask in asks
        ]
        usual = alone.recommend(asks, {}, NOW).records
        for ask, record, champions in zip(asks, made.records, usual, strict=True):
            assert record.shelf.items and record.shelf.event_ts == ask.event_ts
            if record.shelf.arm in {"champion", "shared"}:
                assert record.shelf.items == champions.shelf.items and record.shelf.model == "old"

    check()


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), None])
def test_where_a_canary_breaks_the_champion_answers_and_no_arm_counts_it(
    arms: Arms, catalogue: Catalog, meter: Meter, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    arms.set_canary(recommender(catalogue, Broken(error)), 0.5, salt="new")
    asks = [feed(number) for number in range(40)]
    mine = [assign(f"u{number}", "new") < 0.5 for number in range(40)]
    with caplog.at_level(logging.ERROR):
        made = arms.recommend(asks, {}, NOW)
        arms.recommend(asks, {}, NOW)
    assert labels(made) == [("shared" if broken else "champion", "old") for broken in mine]
    assert [record.key for record in made.records] == [ask.key for ask in asks]
    counts = counted(meter)
    assert (counts["canary.failed"], counts.get("canary.shelves", 0)) == (2 * sum(mine), 0)
    assert len(logged(caplog, "streams.ranking.arms")) == (error is not None), "said once"


def test_a_shadow_is_compared_and_never_seen(arms: Arms, catalogue: Catalog, meter: Meter) -> None:
    new = Numbered("new", backwards=True)
    arms.set_canary(recommender(catalogue, new), 0.0, salt="new")
    asks = batch(10)
    made = arms.recommend(asks, {}, NOW)
    assert {model for _, model in labels(made)} == {"old"} and not new.calls
    arms.shadow([ask for ask in asks if ask.shopper_id is None], {}, NOW)
    assert not new.calls, "what shoppers share is the champion's"
    arms.shadow(asks, {}, NOW)
    assert new.calls == [SHADOWED]
    snapshot = meter.snapshot(NOW)
    assert snapshot.counts["shadow.shelves"] == SHADOWED
    assert 0 < snapshot.counts["shadow.overlap"] <= snapshot.counts["shadow.top"]
    assert times(snapshot) and "canary.shelves" not in snapshot.counts


def times(snapshot: Snapshot) -> bool:
    """Whether both are timed."""
    return all(quantiles([snapshot], f"shadow.{name}", (0.5,))[0] > 0 for name in ("champion", "challenger"))


def test_the_overlap_is_of_the_first_ten(arms: Arms, catalogue: Catalog, meter: Meter) -> None:
    arms.set_canary(recommender(catalogue, Numbered("old")), 0.0)
    arms.shadow([feed(1)], {}, NOW)
    counts = counted(meter)
    assert counts["shadow.overlap"] == counts["shadow.top"] > 0, "the same shelf of the same scorer"


def test_a_shadow_that_breaks_is_counted_and_harms_nobody(arms: Arms, catalogue: Catalog, meter: Meter) -> None:
    arms.set_canary(recommender(catalogue, Broken(ValueError("shapes"))), 0.0)
    arms.shadow(batch(10), {}, NOW)
    assert counted(meter) == {"shadow.failed": SHADOWED}
    assert labels(arms.recommend([feed(1)], {}, NOW)) == [("champion", "old")]


def test_a_shadow_rests_long_after_it_worked(arms: Arms, catalogue: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Numbered("new")
    arms.set_canary(recommender(catalogue, new), 0.0)
    for _ in range(20):
        arms.shadow([feed(1)], {}, NOW)
    assert len(new.calls) == 1
    arms.set_canary(recommender(catalogue, new), 0.0)
    arms.shadow([feed(1)], {}, NOW)
    assert len(new.calls) == 1, "to be put on trial again is no excuse"
    later = time.perf_counter() + arms_module.LONGEST_PAUSE_S
    monkeypatch.setattr(time, "perf_counter", lambda: later)
    arms.shadow([feed(1)], {}, NOW)
    assert len(new.calls) == 2


def test_a_canary_is_no_shadow_any_more(arms: Arms, catalogue: Catalog, meter: Meter) -> None:
    new = Numbered("new")
    arms.set_canary(recommender(catalogue, new), 1e-9)
    arms.shadow(batch(3), {}, NOW)
    assert not new.calls and not counted(meter)


def test_what_is_in_demand_reaches_all_arms_also_one_that_comes_later(catalogue: Catalog, meter: Meter) -> None:
    trending = Trending(3_600, 24)
    made = [Recommender(catalogue, Numbered(name), trending, StreamsConfig()) for name in ("old", "held", "new")]
    arms = Arms(made[0], meter)
    arms.set_holdback(made[1], 0.1)
    trending.update("all", trending.bucket(NOW), {"laptop": 9})
    arms.refresh(NOW)
    arms.set_canary(made[2], 0.1)
    slot = catalogue.slot("laptop")
    assert [one._popularity[slot] for one in made] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), None])
def test_where_the_champion_breaks_a_spare_answers_and_in_the_end_it_is_given_up(
    catalogue: Catalog, meter: Meter, caplog: pytest.LogCaptureFixture, error: Exception | None
) -> None:
    arms = Arms(recommender(catalogue, Broken(error)), meter)
    given_up: list[bool] = []
    arms.fallbacks = lambda: [recommender(catalogue, Broken(error)), recommender(catalogue, Numbered("before"))]
    arms.on_failing = lambda: given_up.append(True)
    asks = batch(6)
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            made = arms.recommend(asks, {}, NOW)
            assert set(labels(made)) == {("shared", "before")} and all(one.shelf.items for one in made.records)
    assert given_up == [True] and len(logged(caplog, "streams.ranking.arms")) == 1, "each is said once"
    assert counted(meter)["model.failed"] == 2 * len(asks)
    arms.serve(catalogue, Numbered("new"), arms.champion.queries, arms.champion.feeds, NOW)
    assert {model for _, model in labels(arms.recommend(asks, {}, NOW))} == {"new"}
    assert "model.failed" not in counted(meter)


def test_what_all_break_at_is_the_events_fault(catalogue: Catalog, meter: Meter) -> None:
    arms = Arms(recommender(catalogue, Broken(RuntimeError("a strange event"))), meter)
    arms.fallbacks = lambda: [recommender(catalogue, Broken(ValueError("strange"))) for _ in range(2)]
    arms.on_failing = lambda: pytest.fail("the model did nothing wrong")
    for _ in range(30):
        with pytest.raises(RuntimeError, match="a strange event"):
            arms.recommend(batch(1), {}, NOW)
    assert "model.failed" not in counted(meter)


class Partly(Numbered):
    """Gives the first candidate what is no number."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        found = super().score(requests)
        for rows in found:
            rows[:1] = np.inf
        return found


def test_a_shelf_with_one_score_that_is_no_number_is_made_by_a_spare_or_else_of_the_others(
    catalogue: Catalog, meter: Meter
) -> None:
    arms = Arms(recommender(catalogue, Partly("partly")), meter)
    asks = batch(2)
    shown = {model for _, model in labels(arms.recommend(asks, {}, NOW))}
    assert shown == {"partly"} and all(one.shelf.items for one in arms.recommend(asks, {}, NOW).records)
    arms.fallbacks = lambda: [recommender(catalogue, Numbered("before"))]
    assert {model for _, model in labels(arms.recommend(asks, {}, NOW))} == {"before"}
