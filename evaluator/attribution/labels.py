"""Closed impressions with what the shopper was about at the time: training examples.

Pure: takes events, shelf records and items' texts. The same classes label a file of history and the live stream.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from cachetools import FIFOCache

from evaluator.metrics.impression import AttributedImpression
from models.training.examples import Example
from streams.events.schema import AnyEvent, Review, Search, Touch, normalise
from streams.events.shelf import ShelfRecord
from streams.ranking.context import Past

RECENT = 10
"""Distinct items of a shopper's past that make a history: what the worker ranks by (``worker.recent_items``)."""

SEARCH = "search"
SIMILAR = "shelf:similar:"


class _Act(NamedTuple):
    """A search for ``what``, or a touch of the item ``what``."""

    ts: int
    event_id: str
    what: str
    query_id: str = ""


Acts = FIFOCache[str, list[_Act]]
"""Acts by shopper, each shopper's in order of time."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an impression was shown for: a normalised query, may be empty, and items touched and queries asked before,
    newest first; how much each of the items, then of the queries, counted, none where that is not known."""

    query: str = ""
    items: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


class Contexts:
    """Remembers what shoppers asked and touched, and says what a shelf was shown for.

    A shelf's own record tells its query, what it was ranked by and, for similar items, the item it is about; where it
    tells no history, that is the shopper's as it was then. Without a record, the query
    is that of the shopper's search whose ``query_id`` is the shelf's id (as UBI and logged result lists have it), and,
    on a surface whose name says search, else the last one within the window; other surfaces have no query. The history
    is what the shopper had touched before the impression, in event time: what came after is no context, or a model
    would learn to read the outcome from it.

    Parameters
    ----------
    window_ms
        How old a shopper's last search may be.
    shoppers, shelves
        How many of each are remembered; the longest untouched goes first.
    acts
        How many acts and searches of a shopper are remembered.

    Examples
    --------
    >>> from streams.events.schema import Click
    >>> contexts = Contexts()
    >>> contexts.update(Search(event_id="1", ts=10, user_id="u", query="Garden  Hose"))
    >>> contexts.update(Click(event_id="2", ts=5, user_id="u", item_id="tap"))
    >>> contexts.update(Click(event_id="3", ts=30, user_id="u", item_id="hose"))
    >>> contexts.get(AttributedImpression("u", "hose", "s", "search", 0, ts=20))
    Context(query='garden hose', items=('tap',), asked=(), weights=())
    """

    def __init__(
        self, window_ms: int = 30 * 60_000, shoppers: int = 1_000_000, shelves: int = 1_000_000, acts: int = 200
    ) -> None:
        self.window_ms, self.acts = window_ms, acts
        self._asked: Acts = FIFOCache(shoppers)
        self._touched: Acts = FIFOCache(shoppers)
        self._records: FIFOCache[str, ShelfRecord] = FIFOCache(shelves)

    def update(self, event: AnyEvent) -> None:
        """Take an event in; in any order, repetitions change nothing."""
        if isinstance(event, Search):
            asked = _Act(event.time_ms, event.event_id, normalise(event.query), event.query_id or "")
            self._remember(self._asked, event.shopper, asked)
        elif isinstance(event, Touch | Review):
            self._remember(self._touched, event.shopper, _Act(event.time_ms, event.event_id, event.item_id))

    def record(self, record: ShelfRecord) -> None:
        """Take in what is known of a shelf."""
        self._records[record.shelf.shelf_id] = record

    def get(self, closed: AttributedImpression) -> Context:
        """What an impression was shown for."""
        record = self._records.get(closed.shelf_id)
        if record is None:
            return Context(self._query(closed), self._history(closed.shopper, closed.ts))
        if record.history or record.asked:
            return Context(record.query or "", tuple(record.history), tuple(record.asked), tuple(record.weights))
        if record.key.startswith(SIMILAR):
            return Context(items=(unquote(record.key.removeprefix(SIMILAR)),))
        history = self._history(record.shopper, closed.ts) if record.shopper else ()
        return Context(record.query or "", history)

    def _query(self, closed: AttributedImpression) -> str:
        past = self._asked.get(closed.shopper, [])
        past = past[: bisect_right(past, closed.ts, key=lambda one: one.ts)]
        for asked in reversed(past):
            if asked.query_id == closed.shelf_id:
                return asked.what
        if SEARCH in closed.surface.lower() and past and past[-1].ts >= closed.ts - self.window_ms:
            return past[-1].what
        return ""

    def _history(self, shopper: str, before: int) -> tuple[str, ...]:
        past = self._touched.get(shopper, [])
        past = past[: bisect_left(past, before, key=lambda one: one.ts)]
        return tuple(dict.fromkeys(touched.what for touched in reversed(past)))[:RECENT]

    def _remember(self, kept: Acts, shopper: str, act: _Act) -> None:
        past = kept.get(shopper, [])
        place = bisect_left(past, act)
        if place == len(past) or past[place] != act:
            past.insert(place, act)
        del past[: -self.acts]
        kept[shopper] = past


class Shown(Protocol):
    """A closed impression, from wherever it is known."""

    @property
    def shopper(self) -> str:
        """Who saw it."""

    @property
    def item_id(self) -> str:
        """What was shown."""

    @property
    def position(self) -> int:
        """Where, from 0."""

    @property
    def intent(self) -> str:
        """What it led to."""


def example(closed: Shown, context: Context, text: Callable[[str], str | None]) -> Example | None:
    """The training example of a closed impression; None where an item has no text, or nothing is known of the context.

    Parameters
    ----------
    text
        The text of an item, as the encoder reads it (`streams.catalog.embedding.text`).

    Examples
    --------
    >>> closed = AttributedImpression("u", "i", "s", "search", 3, 0)
    >>> made = example(closed, Context("hose"), {"i": "Garden hose"}.get)
    >>> made.query, made.item, made.intent, made.position, made.shopper
    ('hose', 'Garden hose', 'ignore', 3, 'u')
    """
    item = text(closed.item_id)
    past = past_of(context.items, context.asked, context.weights, text)
    if not item or not (context.query.strip() or past.items or past.queries):
        return None
    return Example(
        query=context.query,
        history=past.items,
        asked=past.queries,
        weights=past.weights,
        item=item,
        intent=closed.intent,
        position=closed.position,
        shopper=closed.shopper,
    )


def past_of(
    items: Sequence[str], asked: Sequence[str], weights: Sequence[float], text: Callable[[str], str | None]
) -> Past:
    """A shopper's past with items' texts in place of ids; those without a text go, and their weights with them.

    Examples
    --------
    >>> past_of(["a", "gone"], ["hose"], [0.6, 0.5, 0.8], {"a": "Tap"}.get)
    Past(items=('Tap',), queries=('hose',), weights=(0.6, 0.8))
    """
    found = [(told, row) for row, item in enumerate(items) if (told := text(item))]
    rows = [row for _, row in found] + list(range(len(items), len(weights)))
    return Past(tuple(told for told, _ in found), tuple(asked), tuple(weights[row] for row in rows) if weights else ())
