"""What an impression was shown for, and the example that it makes."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evaluator.attribution.example import ShelfContext
from evaluator.attribution.items import Items
from evaluator.attribution.labels import RECENT, Context, Contexts, example
from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.config import EvaluatorConfig
from evaluator.metrics.impression import AttributedImpression, Chances, View
from streams.events.schema import Click, Read, Search
from streams.events.shelf import Shelf, ShelfItem, ShelfRecord
from streams.redis import keys

TEXTS = {name: f"Text of {name}" for name in ("a", "b", "c")}


def closed(ts: int = 100, shelf: str = "s", surface: str = "search", item: str = "a") -> AttributedImpression:
    return AttributedImpression("u", item, shelf, surface, 2, ts)


def search(ts: int, query: str, query_id: str | None = None, event_id: str = "") -> Search:
    return Search(event_id=event_id or f"q{ts}", ts=ts, user_id="u", query=query, query_id=query_id)


def record(key: str, shopper: str | None, query: str | None = None) -> ShelfRecord:
    shelf = Shelf(shelf_id="s", surface="search", model="m", arm="a", made_at=1, event_ts=1, items=[])
    return ShelfRecord(key=key, shopper=shopper, query=query, shelf=shelf, propensities=[])


def test_the_last_search_before_the_impression_is_its_query() -> None:
    contexts = Contexts(window_ms=50)
    for event in (search(120, "later"), search(90, "TV  set"), search(40, "older"), search(90, "TV  set")):
        contexts.update(event)
    assert contexts.get(closed()).query == "tv set"
    assert contexts.get(closed(ts=95, surface="home")).query == "", "only a search surface has a query"
    assert contexts.get(closed(ts=89)).query == "older"
    assert contexts.get(closed(ts=30)).query == ""
    assert contexts.get(closed(ts=300)).query == "", "a search too long ago"


def test_a_search_that_names_the_shelf_counts_before_the_last_one() -> None:
    contexts = Contexts()
    contexts.update(search(10, "radio", query_id="s"))
    contexts.update(search(20, "tv"))
    assert contexts.get(closed(surface="grid")).query == "radio"
    assert contexts.get(closed(shelf="t")).query == "tv"


def test_the_history_is_what_was_touched_before_newest_first_each_once() -> None:
    contexts = Contexts()
    touches = [(10, "a"), (30, "b"), (20, "c"), (40, "a"), (100, "d"), (110, "e")]
    for ts, item in touches:
        contexts.update(Click(event_id=f"c{ts}", ts=ts, user_id="u", item_id=item))
    assert contexts.get(closed(surface="feed")) == Context("", ("a", "b", "c"))
    assert contexts.get(closed(ts=41, surface="feed")).items == ("a", "b", "c")
    assert contexts.get(closed(ts=40, surface="feed")).items == ("b", "c", "a")
    for ts in range(60, 90):
        contexts.update(Read(event_id=f"r{ts}", ts=ts, user_id="u", item_id=f"i{ts}"))
    assert contexts.get(closed()).items == tuple(f"i{ts}" for ts in range(89, 89 - RECENT, -1))


def test_a_shelfs_record_knows_best() -> None:
    contexts = Contexts()
    contexts.update(search(90, "tv"))
    contexts.update(Click(event_id="c", ts=50, user_id="u", item_id="b"))
    contexts.record(record(keys.search("radio", "u"), "u", "radio"))
    assert contexts.get(closed()) == Context("radio", ("b",))
    contexts.record(record(keys.search("radio"), None, "radio"))
    assert contexts.get(closed()) == Context("radio"), "a shelf for everyone knows no history"
    contexts.record(record(keys.similar("x:y z"), None))
    assert contexts.get(closed()) == Context("", ("x:y z",))


def test_examples_need_a_text_and_a_context() -> None:
    made = example(closed(), Context("tv", ("b", "gone", "c")), TEXTS.get)
    assert made is not None
    assert (made.query, made.history, made.item) == ("tv", ("Text of b", "Text of c"), "Text of a")
    assert (made.intent, made.position, made.shopper) == ("ignore", 2, closed().shopper)
    assert example(closed(item="gone"), Context("tv"), TEXTS.get) is None
    assert example(closed(), Context("", ("gone",)), TEXTS.get) is None


def test_memory_is_bounded() -> None:
    contexts = Contexts(shoppers=2, shelves=1, acts=3)
    for number in range(10):
        contexts.update(Click(event_id=f"{number}", ts=number, user_id=f"u{number % 5}", item_id="a"))
    for number in range(10):
        contexts.update(Click(event_id=f"x{number}", ts=number, user_id="u", item_id="a"))
    assert len(contexts._touched) == 2 and len(contexts._touched["u"]) == 3


def test_a_view_has_all_the_models_probabilities_and_those_of_an_earlier_release() -> None:
    shelf = Shelf(
        shelf_id="s",
        surface="feed",
        model="m",
        arm="a",
        made_at=1,
        event_ts=1,
        items=[ShelfItem(name, 2.0, 0.125, 0.25, 0.5, "vector") for name in "ab"],
    )
    context = ShelfContext.of(ShelfRecord(key="k", shopper="u", query=None, shelf=shelf, propensities=[1.0, 1.0]))
    chances = context.view((closed(),)).chances["b"]
    assert chances == (2.0, 0.125, 0.5, 0.25) and chances.touch == 0.875
    rows = np.frombuffer(context.chances, "<f2").reshape(2, 4)
    earlier = msgspec.structs.replace(context, chances=rows[:, :3].tobytes())
    assert earlier.view((closed(),)).chances["b"] == (2.0, 0.125, 0.5, 0.0)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, -9.0])
def test_a_probability_that_is_none_spoils_no_click_effect(junk: float) -> None:
    metrics = LiveMetrics(EvaluatorConfig(), Items())
    metrics.load_effects(0, {})
    good = View((closed(),), chances={"a": Chances(1.0, 0.1, 0.25, 0.05)})
    for chances in (Chances(1.0, junk, 0.1, 0.1), Chances(1.0, 0.1, 0.25, 0.05)):
        metrics.update_effects(0, [replace(good, chances={"a": chances})])
    counted = metrics.effects[0].get()
    assert counted and all(one.expected == pytest.approx(0.4) for one in counted.values())
