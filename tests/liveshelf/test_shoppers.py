"""Simulated shoppers: valid events, the same for the same seed, and more eyes on the first places."""

from collections import Counter

from liveshelf.sample import catalogue
from liveshelf.shoppers import Shoppers
from streams.config import EventsConfig
from streams.decode import Refusal, decode_event
from streams.events import AnyEvent, Click, encoder
from streams.shelf import Shelf, ShelfItem

ITEMS = list(catalogue(120))
SHELF = Shelf(
    shelf_id="s",
    surface="feed",
    model="m",
    arm="a",
    made_at=1,
    event_ts=1,
    items=[ShelfItem(item.item_id, 1.0, 0.1, 0.1, 0.1, "new") for item in ITEMS[:20]],
)


def visits(seed: int, count: int = 2_000) -> list[AnyEvent]:
    crowd = Shoppers(ITEMS, seed)
    return [event for n in range(count) for event in crowd.act(crowd.pick(), SHELF, 1_000 + n)]


def test_the_same_seed_gives_the_same_events() -> None:
    assert visits(3, 200) == visits(3, 200)
    assert visits(3, 200) != visits(4, 200)


def test_every_event_is_valid_and_has_its_own_id() -> None:
    events = visits(1)
    assert len({event.event_id for event in events}) == len(events)
    decoded = [decode_event(encoder.encode(event), 10_000, EventsConfig()) for event in events]
    assert not [one for one in decoded if isinstance(one, Refusal)]


def test_first_places_are_clicked_more() -> None:
    places = Counter(event.position for event in visits(1, 10_000) if isinstance(event, Click))
    first, last = (sum(places[place] for place in span) for span in (range(5), range(5, 10)))
    assert first > 1.3 * last
