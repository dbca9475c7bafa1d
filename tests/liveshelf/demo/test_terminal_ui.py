"""What the demo tells: what is new after a click, and numbers, of nothing too."""

import math

from liveshelf.demo.terminal_ui import Moment, Numbers, describe
from streams.events.shelf import Shelf, ShelfItem


def feed(ids: str) -> Shelf:
    items = [ShelfItem(item_id, 1.0, 0.1, 0.1, 0.1, "vector") for item_id in ids]
    return Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=items)


def test_what_is_new_after_a_click_is_counted() -> None:
    moment = Moment("shopper-1", "[bold]Thing[/] a", feed("ab"), feed("bcx"), took_ms=12.3)
    assert moment.new == {"c", "x"}
    assert describe(moment) == (
        "shopper-1 clicks '[bold]Thing[/] a': 12 ms later the new feed is in Redis, 2 of the first 3 items are new"
    )
    assert len(Moment("s", "t", None, feed("a"), 1.0).new) == 1


def test_nothing_was_measured_yet() -> None:
    numbers = Numbers.of([])
    assert numbers.items == 0 and math.isnan(numbers.p50)
