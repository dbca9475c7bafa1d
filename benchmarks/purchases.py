"""A file of transactions as orders in time, and how good a ranking of items for the next order is.

Knows columns, orders and measures; nothing of what ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluator.offline.data import Case
from evaluator.preparation.purchases import purchases
from evaluator.preparation.tables import match_columns, read_table
from models.measures.ranking import ndcg_of_found
from streams.features.history import Order
from streams.features.items import Floats, Places, log_price

FIELDS = ("item", "text", "list", "shopper", "time")
SHELF, SHORT, CANDIDATES = 20, 10, 100


def case(order: Order) -> Case:
    """An order for contenders; an item's id is its place."""
    ids = tuple(map(str, order.items.tolist()))
    return Case("", ids, np.ones(len(ids)), shopper=order.shopper, ts=order.ts)


@dataclass(frozen=True, slots=True)
class History:
    """Orders by time, and the items by place: ids and texts."""

    orders: list[Order]
    ids: list[str]
    texts: list[str]


def read(path: Path) -> History:
    """A file's usable lines; anonymous ones, cancellations and lines without a price or a text are left out."""
    table = read_table(path)
    lines = purchases(table, match_columns(table.columns, {}, FIELDS, str(path)))
    places: dict[str, int] = {}
    texts: list[str] = []
    orders: dict[tuple[str, str], tuple[int, list[int], list[float]]] = {}
    columns = (lines[name].to_list() for name in (*FIELDS, "price"))
    for item, text, number, shopper, time, price in zip(*columns, strict=True):
        if item not in places:
            places[item] = len(places)
            texts.append(text)
        order = orders.setdefault((shopper, number), (int(time.timestamp() * 1_000), [], []))
        order[1].append(places[item])
        order[2].append(float(log_price(price)))
    found = [
        Order(shopper, ts, np.array(items), np.array(prices)) for (shopper, _), (ts, items, prices) in orders.items()
    ]
    return History(sorted(found, key=lambda one: (one.ts, one.shopper)), list(places), texts)


def epoch_ms(day: datetime) -> int:
    """A day's first millisecond; days are the file's own."""
    return int(day.timestamp() * 1_000)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Items by place, best first: among all, and among those that the shopper had not bought."""

    every: Places
    new: Places


def ranked(scores: npt.NDArray[np.floating], places: Places, old: npt.NDArray[np.bool_]) -> Ranked:
    """Rank places by their scores; ``old`` says which of them were bought before. Equal scores keep their order.

    Examples
    --------
    >>> found = ranked(np.array([0.2, 0.9, 0.5]), np.array([7, 8, 9]), np.array([False, True, False]))
    >>> found.every.tolist(), found.new.tolist()
    ([8, 9, 7], [9, 7])
    """
    order = np.argsort(-scores, kind="stable")
    return Ranked(places[order[:CANDIDATES]], places[order[~old[order]][:CANDIDATES]])


MEASURES = ("hr_10", "recall_20", "ndcg_20", "recall_100")


def measures(found: Places, truth: Places) -> tuple[float, ...]:
    """As :data:`MEASURES` of a ranking; NaN where nothing was bought. What no system can know counts as missed.

    Examples
    --------
    >>> [round(value, 3) for value in measures(np.array([3, 1, 2]), np.array([1, 9]))]
    [1.0, 0.5, 0.387, 0.5]
    """
    if not len(truth):
        return (np.nan,) * len(MEASURES)
    hits = np.isin(found, truth)
    recalls = [float(hits[:depth].sum() / len(truth)) for depth in (SHELF, CANDIDATES)]
    return float(hits[:SHORT].any()), recalls[0], ndcg_of_found(hits, len(truth), SHELF), recalls[1]


def table(rankings: Sequence[Ranked], truths: Sequence[tuple[Places, Places]]) -> dict[str, Floats]:
    """Every measure of every case: ``all`` and ``new`` before the names of :data:`MEASURES`."""
    pairs = list(zip(rankings, truths, strict=True))
    every = np.array([measures(one.every, truth[0]) for one, truth in pairs])
    new = np.array([measures(one.new, truth[1]) for one, truth in pairs])
    return {
        f"{side}_{name}": values[:, place]
        for side, values in (("all", every), ("new", new))
        for place, name in enumerate(MEASURES)
    }
