"""What the demo shows: new items are marked, titles are shown as they are, and nothing is needed but values."""

import io

from rich.console import Console

from liveshelf.screen import Moment, Numbers, picture, told
from streams.events import Item
from streams.shelf import Shelf, ShelfItem

ITEMS = {item_id: Item(item_id=item_id, title=f"[bold]Thing[/] {item_id}") for item_id in "abc"}


def feed(ids: str) -> Shelf:
    items = [ShelfItem(item_id, 1.0, 0.1, 0.1, 0.1, "vector") for item_id in ids]
    return Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=items)


def test_before_and_after_side_by_side_with_what_is_new_or_higher_marked() -> None:
    moment = Moment("shopper-1", ITEMS["a"].title, feed("ab"), feed("bcx"), took_ms=12.3)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(picture("4/4", Numbers.of([]), moment, ("things", feed("c")), ITEMS))
    text = console.export_text()
    assert "[bold]Thing[/] a    " in text
    assert "↑ [bold]Thing[/] b" in text
    assert "+ [bold]Thing[/] c" in text
    assert "+ x" in text
    assert "1  [bold]Thing[/] c" in text
    assert "12 ms after shopper-1's click" in text
    assert "2 of the first 3 items are new" in told(moment)


def test_nothing_to_show_yet() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(picture("2/4", Numbers.of([]), None, None, {}))
    assert "…" in console.export_text()
    assert len(Moment("s", "t", None, feed("a"), 1.0).new) == 1
