"""What followed feeds makes a ranker better, of every kind; too little of it, or noise, leaves it as it is."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest

from models.ranker import Columns, Kind, Linear, Ranker, Scaling, Trees
from models.training.ranker_update import Touched, loss, update, updated
from models.training.rankers import Choice, train
from models.training.served_feeds import FeedSlices, ServedFeed, stacked

KNOWN = ("times", "demand", "late")
PLACES = np.array([1 / (1 + place) for place in range(10)])


def feeds(count: int, seed: int, taste: Sequence[float] = (0.0, 2.0, 0.0), late: bool = False) -> list[ServedFeed]:
    """Feeds of ten of thirty candidates, shown by ``times``; touches follow the taste, where a place is looked at."""
    chance, found = np.random.default_rng(seed), list[ServedFeed]()
    while len(found) < count:
        rows = chance.normal(size=(30, len(KNOWN))).astype(np.float32)
        if not late:
            rows[:, 2] = np.nan
        order = np.argsort(-rows[:, 0])
        shown, others = order[:10], chance.permutation(order[10:])[:4]
        chances = 1 / (1 + np.exp(3 - np.nan_to_num(rows[shown]) @ np.array(taste)))
        levels = ((chance.random(10) < PLACES) & (chance.random(10) < chances)).astype(float)
        if levels.any():
            values = rows[[*shown, *others]].astype("<f2")
            found.append(
                ServedFeed(
                    shopper=f"u{len(found)}",
                    values=values.tobytes(),
                    items=tuple(map(str, range(14))),
                    levels=tuple(levels.tolist()),
                    looked=tuple(PLACES.tolist()),
                    popularity=(0.0,) * 14,
                    unshown=20,
                )
            )
    return found


def parent(kind: Kind) -> Ranker:
    """One that learned that ``times`` is all that counts."""
    chance = np.random.default_rng(0)
    choices = []
    for _ in range(300):
        rows = chance.normal(size=(20, len(KNOWN))).astype(np.float32)
        rows[:, 2] = np.nan
        bought = np.zeros(20, bool)
        bought[np.argmax(rows[:, 0] + 0.5 * chance.normal(size=20))] = True
        choices.append(Choice(rows, bought, np.ones(20, bool)))
    return train(kind, choices, KNOWN, KNOWN, seed=1)


def found_best(ranker: Ranker, taste: int) -> float:
    """How often a ranker's first one of thirty is among the third that has most of a feature."""
    chance, hits = np.random.default_rng(9), 0
    for _ in range(300):
        rows = chance.normal(size=(30, len(KNOWN))).astype(np.float32)
        best = int(ranker.scores(rows).argmax())
        hits += bool(rows[best, taste] >= np.sort(rows[:, taste])[-10])
    return hits / 300


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_was_touched_makes_every_kind_better(kind: Kind) -> None:
    before, some, newer = parent(kind), feeds(1_500, 1), feeds(400, 2)
    after = update(before, some, KNOWN)
    assert after.kind == kind
    assert loss(after, newer) < loss(before, newer)
    assert found_best(after, 1) > found_best(before, 1)
    rows, sizes, counts = stacked(newer)
    again = update(before, some, KNOWN)
    assert (after.scores(rows, sizes, counts) == again.scores(rows, sizes, counts)).all()


def test_clicks_at_the_top_say_nothing_where_only_the_top_is_looked_at() -> None:
    """The feeds are ordered by ``times``, and what is touched does not depend on it: so its weight falls only where the
    places are taken into account."""
    before = parent("linear")
    some = feeds(1_500, 3, taste=(0.0, 0.0, 0.0))
    blind = [replaced(one, looked=(1.0,) * 10) for one in some]
    debiased, naive = (update(before, one, KNOWN) for one in (some, blind))
    assert isinstance(before, Linear) and isinstance(debiased, Linear) and isinstance(naive, Linear)
    assert debiased.weights[0] < before.weights[0] - 0.1 and naive.weights[0] > debiased.weights[0] + 0.1


def replaced(feed: ServedFeed, **changes: object) -> ServedFeed:
    fields = {name: getattr(feed, name) for name in feed.__struct_fields__}
    return ServedFeed(**(fields | changes))


def test_a_feature_that_was_not_known_is_learned_once_it_is() -> None:
    columns = Columns.of(KNOWN[:2], KNOWN)
    scaling = Scaling(np.zeros(2, np.float32), np.ones(2, np.float32), np.array([True, True]))
    before = Linear(columns, scaling, np.array([1, 0, 0, 0], np.float32))
    unknown = update(before, feeds(500, 4), KNOWN)
    assert unknown.features == KNOWN[:2], "a column without values is not taken up, with a scale of nothing"
    known = update(before, feeds(1_500, 4, (0.0, 0.0, 2.0), late=True), KNOWN)
    assert known.features == KNOWN
    assert found_best(known, 2) > 0.8 > found_best(before, 2)


def test_few_feeds_or_noise_leave_the_ranker_as_it_is() -> None:
    before = parent("linear")
    few = updated(before, FeedSlices(train=feeds(30, 1), calibrate=feeds(30, 2), gate=feeds(30, 3)), KNOWN, 200)
    assert few.ranker is None and few.said == "The ranker of feeds stays: 30 feeds with an outcome, 200 are needed"
    unjudged = FeedSlices(train=feeds(300, 1), calibrate=feeds(30, 2), gate=feeds(20, 3))
    assert "20 feeds with an outcome to judge by" in updated(before, unjudged, KNOWN, 200).said
    assert updated(before, unjudged, KNOWN, 200, judged=False).ranker is not None
    best = update(before, feeds(2_000, 5), KNOWN)
    wrong = FeedSlices(train=feeds(300, 6, (0.0, -2.0, 0.0)), calibrate=feeds(300, 7))
    kept = updated(best, wrong, KNOWN, 200, judged=False)
    assert kept.ranker is None and "it is no better" in kept.said
    assert kept.metrics["ranker_loss"] >= kept.metrics["ranker_loss_before"]
    assert updated(before, FeedSlices(), KNOWN, 1).ranker is None
    with pytest.raises(ValueError, match="nothing was touched"):
        Touched.of([])


def test_trees_do_not_grow() -> None:
    before, some = parent("trees"), feeds(400, 1)
    after = update(before, some, KNOWN)
    assert isinstance(before, Trees) and isinstance(after, Trees)
    assert after.text != before.text and after.text.count("\nTree=") == before.text.count("\nTree=") == 100


def test_the_loss_is_the_one_whose_gradient_it_gives() -> None:
    touched = Touched.of(feeds(20, 1))
    scores = np.random.default_rng(0).normal(size=len(touched.rows))
    value, gradient = touched.loss(scores)
    for place in range(0, len(scores), 17):
        moved = scores.copy()
        moved[place] += 1e-5
        assert (touched.loss(moved)[0] - value) / 1e-5 == pytest.approx(gradient[place], abs=1e-5)
