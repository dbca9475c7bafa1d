"""One labelled example of ``liveshelf.examples``: what was shown, in which context, and the outcome.

Knows the shape and its bytes; nothing of items' texts, which training looks up.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from evaluator.metrics.impression import AttributedImpression, Chances, View
from streams.clock import Moment, not_ahead
from streams.events.schema import Id, Position
from streams.events.shelf import Chance, Items, Name, Query, RankedRows, ShelfRecord, Utility

CONTEXT_LETTERS = 8_000
"""Most letters of a shelf's ids and past queries together; a shopper's past as we keep it has some hundred."""


class ShelfContext(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept of a shelf until its impressions are attributed. ``chances`` are score, buy, look and read of each
    item, float16 [n, 4]; ``ranked`` is what a feed was ranked by, its values by zlib."""

    model: str
    arm: str
    query: str
    history: list[str]
    items: list[str]
    propensities: list[float]
    made_at: int | None = None
    chances: bytes = b""
    shopper: str = ""
    asked: list[str] = []
    weights: list[float] = []
    popularity: bytes = b""
    ranked: RankedRows | None = None

    @classmethod
    def of(cls, record: ShelfRecord) -> "ShelfContext":
        """From a shelf's record; without the shopper's past where that is larger than any past we keep."""
        shelf = record.shelf
        if sum(map(len, (*record.history, *record.asked))) > CONTEXT_LETTERS:  # each example has a copy
            record = msgspec.structs.replace(record, history=[], asked=[], weights=[])
        return cls(
            model=shelf.model,
            arm=shelf.arm,
            query=record.query or "",
            history=record.history,
            items=[item.item_id for item in shelf.items],
            propensities=record.propensities,
            made_at=shelf.made_at,
            chances=_halves([(item.score, item.buy, item.look, item.read) for item in shelf.items]).tobytes(),
            shopper=record.shopper or "",
            asked=record.asked,
            weights=record.weights,
            popularity=_halves(record.popularity).tobytes(),
            ranked=record.ranked
            and msgspec.structs.replace(record.ranked, values=zlib.compress(record.ranked.values, 1)),
        )

    def propensity(self, item_id: str) -> float | None:
        """The probability that the item stood where it did; None for an item that was not on the shelf."""
        return self.propensities[self.items.index(item_id)] if item_id in self.items else None

    def popular(self, item_id: str) -> float:
        """The item's demand when the shelf was made; 0 for an item that was not on the shelf."""
        if item_id not in self.items or not self.popularity:
            return 0.0
        return round(float(np.frombuffer(self.popularity, "<f2")[self.items.index(item_id)]), 3)

    def ranked_by(self, item_id: str) -> RankedRows | None:
        """What the item was ranked by, and the others that are given to it; None where that is not known."""
        if self.ranked is None or item_id not in self.items:
            return None
        try:
            values = zlib.decompress(self.ranked.values)
        except zlib.error:  # what Redis holds may be spoilt
            return None
        whole = msgspec.structs.replace(self.ranked, values=values)
        count = len(self.items)
        return whole.of(self.items.index(item_id), count) if whole.whole(count) else None

    def view(self, impressions: tuple[AttributedImpression, ...]) -> View:
        """Impressions of this shelf with the model's predictions for their items."""
        columns = 3 if len(self.chances) == 6 * len(self.items) else 4  # earlier ones had no ``read``
        rows = np.frombuffer(self.chances, "<f2").reshape(-1, columns).astype(float).tolist()
        chances = {item: Chances(*row) for item, row in zip(self.items, rows, strict=False)}
        return View(impressions, self.model, self.arm, self.query, self.made_at, chances, self.shopper)


def _halves(values: Any) -> npt.NDArray[np.float16]:
    """As float16, clipped to its range."""
    halves: npt.NDArray[np.float16] = np.clip(np.array(values, float), -65_504, 65_504).astype("<f2")
    return halves


class LabelledExample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attributed impression. ``id`` depends on the impression alone, so that repeated deliveries are recognised;
    ``ts`` is when it was seen (epoch ms); ``intent`` is the strongest outcome; ``value`` is the revenue.

    ``query``, ``history``, ``asked``, ``weights``, ``popularity``, ``model``, ``arm`` and ``propensity`` are the
    shelf's as it was made; they are empty for shelves that are not ours. ``ranked`` is what the item of a feed was
    ranked by, and some candidates that were not shown: those of all items of a feed together are the shelf's.
    """

    id: Id
    ts: Moment
    shopper: Id
    item_id: Id
    shelf_id: Id
    surface: Name
    position: Position
    intent: Annotated[str, Meta(pattern=r"\A(buy|read|look|ignore)\Z")]
    value: Annotated[float, Meta(ge=0, le=1e60)] = 0.0
    query: Query = ""
    history: Annotated[list[Id], Items] = []
    asked: Annotated[list[Query], Items] = []
    weights: list[Utility] = []
    popularity: Chance = 0.0
    model: Name = ""
    arm: Name = ""
    propensity: Chance | None = None
    ranked: RankedRows | None = None


encoder = msgspec.json.Encoder(order="deterministic")
decoder = msgspec.json.Decoder(LabelledExample)


def parse(message: Any, came_ms: int) -> LabelledExample:
    """The example of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no example, was seen in the future, or its lists do not fit each other.
    """
    example = decoder.decode(message.value or b"")
    not_ahead(example.ts, came_ms, "the impression")
    if len(example.weights) not in (0, len(example.history) + len(example.asked)):
        past = f"{len(example.history)} items and {len(example.asked)} queries"
        raise ValueError(f"{len(example.weights)} weights of {past}")
    if example.ranked is not None and not example.ranked.whole(1):
        raise ValueError("what the item was ranked by does not fit its others")
    return example


context_encoder = msgspec.msgpack.Encoder()
context_decoder = msgspec.msgpack.Decoder(ShelfContext)


def label(impression: AttributedImpression, known: ShelfContext | None) -> LabelledExample:
    """The example of an attributed impression, with what is known of its shelf.

    Examples
    --------
    >>> example = label(AttributedImpression("u", "i", "s", "feed", 3, ts=7), None)
    >>> example.intent, example.position, example == label(AttributedImpression("u", "i", "s", "feed", 3, ts=7), None)
    ('ignore', 3, True)
    """
    name = "\x1f".join((impression.shopper, impression.item_id, impression.shelf_id, str(impression.ts)))
    example = LabelledExample(
        id=hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest(),
        ts=impression.ts,
        shopper=impression.shopper,
        item_id=impression.item_id,
        shelf_id=impression.shelf_id,
        surface=impression.surface,
        position=impression.position,
        intent=impression.intent,
        value=impression.revenue,
    )
    if known is None:
        return example
    return msgspec.structs.replace(
        example,
        query=known.query,
        history=known.history,
        asked=known.asked,
        weights=known.weights,
        popularity=known.popular(impression.item_id),
        model=known.model,
        arm=known.arm,
        propensity=known.propensity(impression.item_id),
        ranked=known.ranked_by(impression.item_id),
    )


def views(impressions: Iterable[AttributedImpression], known: Mapping[str, ShelfContext]) -> list[View]:
    """Group attributed impressions by shopper, shelf and time.

    Examples
    --------
    >>> both = [AttributedImpression("u", item, "s", "feed", place, ts=7) for place, item in enumerate("ab")]
    >>> [len(view.impressions) for view in views([*both, AttributedImpression("u", "a", "s", "feed", 0, ts=9)], {})]
    [2, 1]
    """
    found: dict[tuple[str, str, int], list[AttributedImpression]] = {}
    for one in impressions:
        found.setdefault((one.shopper, one.shelf_id, one.ts), []).append(one)
    return [
        known[shelf_id].view(tuple(some)) if shelf_id in known else View(tuple(some))
        for (_, shelf_id, _), some in found.items()
    ]
