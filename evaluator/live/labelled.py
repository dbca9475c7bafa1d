"""One labelled example as it goes to ``liveshelf.examples``: what was shown, in which context, and what came of it.

Knows the shape and its bytes; texts are looked up by whoever trains.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from evaluator.online.attribution import Closed
from evaluator.online.view import Chances, View
from streams.shelf import ShelfRecord


class Known(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept of a shelf until its impressions are closed: a fifth of its record's bytes. ``chances`` are score,
    buy and look of each item, float16 [n, 3]."""

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

    @classmethod
    def of(cls, record: ShelfRecord) -> "Known":
        """From a shelf's record."""
        shelf = record.shelf
        return cls(
            model=shelf.model,
            arm=shelf.arm,
            query=record.query or "",
            history=record.history,
            items=[item.item_id for item in shelf.items],
            propensities=record.propensities,
            made_at=shelf.made_at,
            chances=np.array([(item.score, item.buy, item.look) for item in shelf.items], "<f2").tobytes(),
            shopper=record.shopper or "",
            asked=record.asked,
            weights=record.weights,
            popularity=np.array(record.popularity, "<f2").tobytes(),
        )

    def propensity(self, item_id: str) -> float | None:
        """The probability that the item stood where it did; None for an item that was not on the shelf."""
        return self.propensities[self.items.index(item_id)] if item_id in self.items else None

    def popular(self, item_id: str) -> float:
        """How much the item was in demand when the shelf was made; 0 for an item that was not on the shelf."""
        if item_id not in self.items or not self.popularity:
            return 0.0
        return round(float(np.frombuffer(self.popularity, "<f2")[self.items.index(item_id)]), 3)

    def view(self, closed: tuple[Closed, ...]) -> View:
        """Impressions of this shelf with what the model said of their items."""
        rows = np.frombuffer(self.chances, "<f2").reshape(-1, 3).astype(float).tolist()
        chances = {item: Chances(*row) for item, row in zip(self.items, rows, strict=False)}
        return View(closed, self.model, self.arm, self.query, self.made_at, chances, self.shopper)


class Labelled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A closed impression. ``id`` is the same whenever the same impression is closed, so that repeated deliveries are
    recognised; ``ts`` is when it was seen (epoch ms); ``intent`` is what it led to; ``value`` what was bought for.

    ``query``, ``history``, ``asked``, ``weights``, ``popularity``, ``model``, ``arm`` and ``propensity`` are the
    shelf's as it was made; they are empty for shelves that are not ours.
    """

    id: str
    ts: int
    shopper: str
    item_id: str
    shelf_id: str
    surface: str
    position: int
    intent: str
    value: float = 0.0
    query: str = ""
    history: list[str] = []
    asked: list[str] = []
    weights: list[float] = []
    popularity: float = 0.0
    model: str = ""
    arm: str = ""
    propensity: float | None = None


encoder = msgspec.json.Encoder(order="deterministic")
decoder = msgspec.json.Decoder(Labelled)
known_encoder = msgspec.msgpack.Encoder()
known_decoder = msgspec.msgpack.Decoder(Known)


def label(closed: Closed, known: Known | None) -> Labelled:
    """The example of a closed impression.

    Examples
    --------
    >>> made = label(Closed("u", "i", "s", "feed", 3, ts=7), None)
    >>> made.intent, made.position, made == label(Closed("u", "i", "s", "feed", 3, ts=7), None)
    ('ignore', 3, True)
    """
    name = "\x1f".join((closed.shopper, closed.item_id, closed.shelf_id, str(closed.ts)))
    made = Labelled(
        id=hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest(),
        ts=closed.ts,
        shopper=closed.shopper,
        item_id=closed.item_id,
        shelf_id=closed.shelf_id,
        surface=closed.surface,
        position=closed.position,
        intent=closed.intent,
        value=closed.revenue,
    )
    if known is None:
        return made
    return msgspec.structs.replace(
        made,
        query=known.query,
        history=known.history,
        asked=known.asked,
        weights=known.weights,
        popularity=known.popular(closed.item_id),
        model=known.model,
        arm=known.arm,
        propensity=known.propensity(closed.item_id),
    )


def views(closed: Iterable[Closed], known: Mapping[str, Known]) -> list[View]:
    """Closed impressions by who saw which shelf when.

    Examples
    --------
    >>> both = [Closed("u", item, "s", "feed", place, ts=7) for place, item in enumerate("ab")]
    >>> [len(view.closed) for view in views([*both, Closed("u", "a", "s", "feed", 0, ts=9)], {})]
    [2, 1]
    """
    found: dict[tuple[str, str, int], list[Closed]] = {}
    for one in closed:
        found.setdefault((one.shopper, one.shelf_id, one.ts), []).append(one)
    return [
        known[shelf_id].view(tuple(some)) if shelf_id in known else View(tuple(some))
        for (_, shelf_id, _), some in found.items()
    ]
