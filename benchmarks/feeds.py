"""Orders to predict, as every recommender knew them before: candidates, features, and the simple systems' rankings.

A replay takes all orders in time and answers probes before each. Nothing in an answer is from the order or after it.
Knows statistics and the contenders of ``liveshelf evaluate``; nothing of what is learned from the features.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.purchases import History, Ranked, case, ranked
from evaluator.offline.contenders.collaborative import ByNeighbours, ItemKNN
from models.ranker import ease
from streams.features import history
from streams.features.behaviour import NEWEST, Reals, Scores, text_matches
from streams.features.history import Flags, Order, bought
from streams.features.item_model import ItemModel
from streams.features.items import DAY_MS, FIRST, Floats, Places
from streams.features.own import OwnItems

ROW = 200
"""The largest weights of EASE that are kept for each item, where all of them are too many."""

SHARES = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Of best sellers beside EASE; the best sellers' counts are scaled to one at most."""

REFERENCE = (
    *("sold_1", "sold_7", "sold_30", "change", "knn", "knn_decayed", "ease", "ease_decayed", "knn_newest"),
    *("times", "days_since", "age", "price_of_usual", "cosine_centre", "cosine_nearest"),
)
"""What a team would give LightGBM first: thirteen features of behaviour, and two text cosines."""


@dataclass(slots=True, eq=False)
class Asked(history.Asked):
    """An order to predict, with what other systems say.

    Attributes
    ----------
    reference
        float32 [n, 15] of the candidates, as :data:`REFERENCE`.
    rankings
        By system.
    """

    reference: Reals
    rankings: dict[str, Ranked] = field(default_factory=dict)

    def rank(self, scores: npt.NDArray[np.floating], kept: Flags | None = None) -> Ranked:
        """Rank the candidates, or some of them."""
        places, scores = (self.places, scores) if kept is None else (self.places[kept], scores[kept])
        return ranked(scores, places, self.old[places])


Probe = Callable[["Replay", Order], None]
"""Asks a replay something before an order."""


class Days:
    """Purchases of each item by day, up to now."""

    def __init__(self, orders: Sequence[Order], count: int) -> None:
        self._first = orders[0].ts // DAY_MS
        self._cells = np.zeros((orders[-1].ts // DAY_MS - self._first + 1, count), np.int32)

    def add(self, order: Order) -> None:
        """Count an order."""
        self._cells[order.ts // DAY_MS - self._first, order.items] += 1

    def sold(self, ts: int, days: int) -> Floats:
        """Of each item in the last days, the day of a time among them."""
        day = ts // DAY_MS - self._first
        return np.asarray(self._cells[max(0, day - days + 1) : day + 1].sum(0), np.float64)


class Replay(history.Replay):
    """A replay that knows what simple systems would say too.

    Attributes
    ----------
    seconds
        CPU time that candidates and features took, by question.
    """

    def __init__(self, purchases: History, vectors: Reals, regularisation: float) -> None:
        super().__init__(purchases.orders, vectors, regularisation)
        self.days = Days(purchases.orders, self.count)
        self.neighbours, self.linear, self.cut = np.zeros((3, self.count, self.count), np.float32)
        self.seconds: list[float] = []

    def update(self, order: Order) -> None:
        """Take an order in."""
        self.days.add(order)
        super().update(order)

    def learn(self, orders: Sequence[Order]) -> None:
        """Learn the item-to-item models from orders, EASE with all its weights too."""
        self.linear = ease(bought(orders, self.count), self.regularisation)
        self.model = ItemModel.cut(self.linear, ROW)
        least = np.partition(self.linear, -min(ROW, self.count), axis=1)[:, -min(ROW, self.count)]
        self.cut = np.where(self.linear >= least[:, None], self.linear, 0)
        nearest = ItemKNN()
        nearest.learn([case(order) for order in orders], 0.0)
        self.neighbours = dense(nearest, self.count)

    def question(self, order: Order, own: OwnItems) -> tuple[Asked, Scores]:
        """As :meth:`ask`, with the features of the reference."""
        clock = time.process_time()
        asked, scores = self.ask(order, own)
        self.seconds.append(time.process_time() - clock)
        reference = self._reference(scores, asked.places)
        return Asked(order, asked.old, asked.places, asked.masks, asked.features, reference), scores

    def rank(self, asked: Asked, scores: Scores) -> None:
        """Rank all known items by every simple system."""
        known = self.known
        for name, values in self._simple(scores).items():
            asked.rankings[name] = ranked(values[known], known, asked.old[known])

    def _simple(self, scores: Scores) -> dict[str, Floats]:
        [own], [ts], [since] = scores.owns, scores.ts.astype(int).tolist(), scores.since
        week, month = self.days.sold(ts, 7), self.days.sold(ts, 30)
        times = np.zeros(self.count)
        times[own.places] = own.times + 1 / (2 + since)
        month_weights = np.exp2(-since / 30).astype(np.float32)
        week_weights = (0.2 + np.exp2(-since / 7)).astype(np.float32)
        rows = self.linear[own.places]
        best = week / max(1.0, week.max())
        by_week = (week_weights @ rows).astype(np.float64)
        recent = by_week / max(1e-9, float(by_week.max(initial=0.0)))
        with_best = {f"EASE, recency, {share} best sellers": recent + share * best for share in SHARES}
        return {
            "best sellers, 7 days": week,
            "best sellers, 30 days": month,
            "own frequency": times,
            "own, then best sellers": times + 0.5 * best,
            "item-kNN": self.neighbours[own.places].sum(0).astype(np.float64),
            "item-kNN by visit, decayed": scores.together_of(0, self.count)[1],
            "EASE": rows.sum(0).astype(np.float64),
            "EASE, decayed": (month_weights @ rows).astype(np.float64),
            f"EASE, {ROW} a row": self.cut[own.places].sum(0).astype(np.float64),
            "EASE, recency": by_week,
            **with_best,
        }

    def _reference(self, scores: Scores, places: Places) -> Reals:
        """As :data:`REFERENCE`."""
        [own], [ts], [days_since] = scores.owns, scores.ts.astype(int).tolist(), scores.since
        day, week, month = (self.days.sold(ts, days)[places] for days in (1, 7, 30))
        items = self.past.items
        rows, linear = self.neighbours[own.places], self.linear[own.places]
        month_weights = np.exp2(-days_since / 30).astype(np.float32)
        times, since = np.zeros(self.count), np.full(self.count, np.nan)
        times[own.places], since[own.places] = own.times, days_since
        prices = items.prices[own.places]
        usual = float((own.times * prices).sum() / max(1.0, own.times.sum()))
        text = text_matches([self.vectors[places]], [self.vectors[own.places]], [days_since], len(places)).features
        return np.column_stack(
            [
                np.log1p(day),
                np.log1p(week),
                np.log1p(month),
                np.log((week + 1) / (month * 7 / 30 + 1)),
                rows.sum(0)[places],
                (month_weights @ rows)[places],
                linear.sum(0)[places],
                (month_weights @ linear)[places],
                rows[:NEWEST].mean(0)[places],
                times[places],
                since[places],
                (ts - items.values[places, FIRST]) / DAY_MS,
                items.prices[places] - usual,
                text[:, 0],
                text[:, 1],
            ]
        ).astype(np.float32)


def dense(model: ByNeighbours, count: int) -> Reals:
    """A model's similarities by place, float32 [n, n]."""
    places = np.array([int(item) for item in model.known.columns])
    similar = model.similar if isinstance(model.similar, np.ndarray) else model.similar.toarray()
    found = np.zeros((count, count), np.float32)
    found[np.ix_(places, places)] = similar
    return found
