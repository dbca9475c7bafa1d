"""Training examples from attributed impressions: adds the query and the shopper's history of that time.

Pure: takes events, shelf records and items' texts; knows nothing of where they come from. A file of history and the
live stream are labelled by the same code.
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
"""Most distinct items in a history; the worker ranks by as many (``worker.recent_items``)."""

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
    """What an impression was shown for: a normalised query, which may be empty; items touched and queries asked before,
    newest first; the weight of each item, then of each query, empty where weights are not known."""

    query: str = ""
    items: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


class Contexts:
    """Remembers shoppers' searches and touches, and gives the context of an impression.

    A shelf's record has its query, the history that it was ranked by and, for similar items, the item that they are
    similar to. Where the record has no history, the shopper's history at that time is used. Without a record, the query
    is that of the shopper's search whose ``query_id`` is the shelf's id, as in UBI and in logged result lists.
    Otherwise a surface with "search" in its name gets the shopper's last query within the window; other surfaces have
    no query. The history has what the shopper touched before the impression, in event time. Later touches are left out:
    a model would learn the outcome from them.

    Parameters
    ----------
    window_ms
        How old a shopper's last search may be.
    shoppers, shelves
        How many of each are remembered; those untouched for longest are dropped first.
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
        self._searches: Acts = FIFOCache(shoppers)
        self._touched: Acts = FIFOCache(shoppers)
        self._records: FIFOCache[str, ShelfRecord] = FIFOCache(shelves)

    def update(self, event: AnyEvent) -> None:
        """Take an event in; in any order, repetitions change nothing."""
        if isinstance(event, Search):
            search = _Act(event.time_ms, event.event_id, normalise(event.query or ""), event.query_id or "")
            self._remember(self._searches, event.shopper, search)
        elif isinstance(event, Touch | Review):
            self._remember(self._touched, event.shopper, _Act(event.time_ms, event.event_id, event.item_id))

    def record(self, record: ShelfRecord) -> None:
        """Take in what is known of a shelf."""
        self._records[record.shelf.shelf_id] = record

    def shelf(self, shelf_id: str) -> ShelfRecord | None:
        """What is known of a shelf; None where there is nothing."""
        return self._records.get(shelf_id)

    def get(self, impression: AttributedImpression) -> Context:
        """What an impression was shown for."""
        record = self._records.get(impression.shelf_id)
        if record is None:
            return Context(self._query(impression), self._history(impression.shopper, impression.ts))
        if record.history or record.asked:
            return Context(record.query or "", tuple(record.history), tuple(record.asked), tuple(record.weights))
        if record.key.startswith(SIMILAR):
            return Context(items=(unquote(record.key.removeprefix(SIMILAR)),))
        history = self._history(record.shopper, impression.ts) if record.shopper else ()
        return Context(record.query or "", history)

    def _query(self, impression: AttributedImpression) -> str:
        past = self._searches.get(impression.shopper, [])
        past = past[: bisect_right(past, impression.ts, key=lambda one: one.ts)]
        for search in reversed(past):
            if search.query_id == impression.shelf_id:
                return search.what
        if SEARCH in impression.surface.lower() and past and past[-1].ts >= impression.ts - self.window_ms:
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
    """An attributed impression: of the join, or of a stored example."""

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
        """Its strongest outcome."""


def example(shown: Shown, context: Context, text: Callable[[str], str | None]) -> Example | None:
    """The training example of an attributed impression; None where its item has no text, or the context is empty.

    Parameters
    ----------
    text
        The text of an item, as the encoder reads it (`streams.catalog.embedding.text`).

    Examples
    --------
    >>> shown = AttributedImpression("u", "i", "s", "search", 3, 0)
    >>> one = example(shown, Context("hose"), {"i": "Garden hose"}.get)
    >>> one.query, one.item, one.intent, one.position, one.shopper
    ('hose', 'Garden hose', 'ignore', 3, 'u')
    """
    item = text(shown.item_id)
    past = past_of(context.items, context.asked, context.weights, text)
    if not item or not (context.query.strip() or past.items or past.queries):
        return None
    return Example(
        query=context.query,
        history=past.items,
        asked=past.queries,
        weights=past.weights,
        item=item,
        intent=shown.intent,
        position=shown.position,
        shopper=shown.shopper,
    )


def past_of(
    items: Sequence[str], asked: Sequence[str], weights: Sequence[float], text: Callable[[str], str | None]
) -> Past:
    """A shopper's past with items' texts in place of ids. Items without a text are dropped with their weights.

    Examples
    --------
    >>> past_of(["a", "gone"], ["hose"], [0.6, 0.5, 0.8], {"a": "Tap"}.get)
    Past(items=('Tap',), queries=('hose',), weights=(0.6, 0.8))
    """
    texts = {row: found for row, item in enumerate(items) if (found := text(item))}
    rows = [*texts, *range(len(items), len(weights))]
    return Past(tuple(texts.values()), tuple(asked), tuple(weights[row] for row in rows) if weights else ())
