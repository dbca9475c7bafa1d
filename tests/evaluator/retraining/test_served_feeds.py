"""A feed's record becomes examples and a feed again: with the features that it was served by, and what followed."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from evaluator.attribution.example import (
    LabelledExample,
    ShelfContext,
    context_decoder,
    context_encoder,
    decoder,
    encoder,
    label,
)
from evaluator.metrics.impression import AttributedImpression, JoinEvent
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.dataset import training_dataset
from evaluator.retraining.served_feeds import looked_at, served_feeds
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.columns import rows, table
from evaluator.retraining.store.store import ExampleStore
from streams.events.shelf import RankedRows, Shelf, ShelfItem, ShelfRecord
from streams.features.behaviour import COLUMNS, FEATURES
from tests.evaluator.examples.made import FIRST, NOW, config

CLICK = (JoinEvent(9, "click", "c", "s"),)


def record(number: int = 0, items: int = 5, others: int = 3, columns: str = COLUMNS) -> ShelfRecord:
    """A feed with features drawn by its number, some of them not known."""
    values = np.random.default_rng(number).normal(size=(items + others, len(FEATURES))).astype("<f2")
    values[:, 7] = np.nan
    shown = [ShelfItem(f"i{place}", 1.0, 0.1, 0.1, 0.1, "own") for place in range(items)]
    shelf = Shelf(shelf_id=f"s{number}", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=shown)
    names = [f"o{place}" for place in range(others)]
    return ShelfRecord(
        key=f"shelf:feed:u{number}",
        shopper=f"u{number}",
        query=None,
        shelf=shelf,
        propensities=[1.0] * items,
        history=["i9"],
        weights=[0.5],
        popularity=[0.25] * items,
        ranked=RankedRows(columns, values.tobytes(), names, [0.5] * others, 60, 4),
    )


def seen(made: ShelfRecord, ts: int, places: Sequence[int], clicked: Sequence[int] = ()) -> list[LabelledExample]:
    """The examples of some of a feed's items, as they come from Kafka."""
    known = context_decoder.decode(context_encoder.encode(ShelfContext.of(made)))
    shelf = made.shelf
    found = [
        AttributedImpression(
            made.shopper or "",
            shelf.items[place].item_id,
            shelf.shelf_id,
            "feed",
            place,
            ts,
            CLICK * (place in clicked),
        )
        for place in places
    ]
    return [decoder.decode(encoder.encode(label(one, known))) for one in found]


def text(item: str) -> str | None:
    return None if item == "gone" else f"Text of {item}"


def test_features_as_served_are_those_that_are_learned_from(tmp_path: Path) -> None:
    made = record()
    assert made.ranked is not None
    with ExampleStore(config(tmp_path)) as store:
        store.update([(0, place, one) for place, one in enumerate(seen(made, FIRST, range(5), [1]))], NOW)
        store.flush(NOW)
    stored = list(Archive(tmp_path).read(0, 1 << 62))
    [feed] = served_feeds(stored, text)
    names = [f"i{place}" for place in range(5)] + [f"o{place}" for place in range(3)]
    assert feed.items == tuple(f"Text of {name}" for name in names)
    served = np.frombuffer(made.ranked.values, "<f2").reshape(8, -1)
    np.testing.assert_array_equal(feed.features, served.astype(np.float32))
    assert feed.levels == (0.0, 1 / 3, 0.0, 0.0, 0.0)
    assert (feed.unshown, feed.bought, feed.shopper, feed.history) == (60, 4, "u0", ("Text of i9",))
    assert feed.popularity == (0.25,) * 5 + (0.5,) * 3 and feed.counts.tolist() == [1.0] * 5 + [20.0] * 3


def test_what_redis_spoilt_is_not_known() -> None:
    known = ShelfContext.of(record())
    assert known.ranked is not None and known.ranked_by("i1") is not None and known.ranked_by("o1") is None
    for values in (b"", b"spoilt", zlib.compress(b"short")):
        spoilt = msgspec.structs.replace(known, ranked=msgspec.structs.replace(known.ranked, values=values))
        assert spoilt.ranked_by("i1") is None


def test_a_page_that_shows_some_items_has_their_others_and_these_stand_for_all() -> None:
    [feed] = served_feeds(seen(record(), 7, [0, 2], [2]), text)
    assert feed.items == tuple(f"Text of {name}" for name in ("i0", "i2", "o0", "o2"))
    assert feed.counts.tolist() == [1.0, 1.0, 30.0, 30.0]


def test_what_cannot_be_learned_from_is_left_out() -> None:
    ignored = seen(record(1), 7, range(5))
    other = seen(record(2, columns="of another release"), 8, range(5), [0])
    older = [msgspec.structs.replace(one, ranked=None) for one in seen(record(3), 9, range(5), [0])]
    similar = [msgspec.structs.replace(one, surface="similar") for one in seen(record(4), 10, range(5), [0])]
    assert list(served_feeds([*ignored, *other, *older, *similar], text)) == []
    removed = [
        msgspec.structs.replace(one, item_id="gone") if one.position == 0 else one
        for one in seen(record(5), 11, range(5), [1])
    ]
    [feed] = served_feeds(removed, text)
    assert len(feed.levels) == 4 and "Text of i0" not in feed.items
    assert list(served_feeds(seen(record(6), 12, range(5), [0])[1:], text)) == [], "the clicked one was not seen"


def test_examples_of_an_older_release_and_of_this_one_are_read_together() -> None:
    made = seen(record(), FIRST, range(5), [1])
    both = table(made)
    assert rows(both) == made
    older = both.drop_columns(["ranked"])
    assert rows(older) == [msgspec.structs.replace(one, ranked=None) for one in made]


def test_feeds_are_sliced_as_the_examples_are_and_places_are_looked_at_as_items_of_several_tell() -> None:
    chance = np.random.default_rng(0)
    some: list[LabelledExample] = []
    for number in range(600):
        order = chance.permutation(5)
        clicked = [place for place in range(5) if chance.random() < (0.6 if order[place] < 2 else 0.1) / (1 + place)]
        shown = record(number)
        items = [shown.shelf.items[place] for place in order]
        shown = msgspec.structs.replace(shown, shelf=msgspec.structs.replace(shown.shelf, items=items), shopper="u")
        some += seen(shown, number, range(5), clicked)
    told = training_dataset(some, [], text, LearningConfig())
    touched = sum(any(one.intent != "ignore" for one in some[start : start + 5]) for start in range(0, 3_000, 5))
    feeds = told.feeds
    assert len(feeds.train) + len(feeds.calibrate) + len(feeds.gate) == touched
    assert len(feeds.train) > len(feeds.gate) > len(feeds.calibrate) > 0
    looked = looked_at(some)
    assert looked[0] == 1.0 and abs(looked[1] - 1 / 2) < 0.15 and abs(looked[4] - 1 / 5) < 0.1
    assert feeds.train[0].looked != (1.0,) * 5
    plain = training_dataset(some, [], text, LearningConfig(debias=False))
    assert plain.feeds.train[0].looked == (1.0,) * 5
    apart = [msgspec.structs.replace(one, shopper=f"u{number}") for number, one in enumerate(some)]
    assert looked_at(apart) == [1.0] * 5, "what no item tells is not taken for bias"
