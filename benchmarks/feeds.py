"""Orders to predict, as every recommender knew them before: candidates, features, and the simple systems' rankings.

A replay takes all orders in time and answers probes before each. Nothing in an answer is from the order or after it.
Knows statistics and the contenders of ``liveshelf evaluate``; nothing of what is learned from the features.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.purchases import History, Order, Ranked, ranked
from evaluator.offline.contenders.collaborative import EASE, ByNeighbours, ItemKNN
from streams.features.behaviour import (
    NEWEST,
    PAIRED_OWN,
    ItemModel,
    Reals,
    Scores,
    ShopHistory,
    text_matches,
)
from streams.features.items import DAY_MS, FIRST, Floats, Places
from streams.features.own import OwnItems

REFIT_MS = 7 * DAY_MS
"""How often item-to-item models are learned anew."""

ROW = 200
"""The largest weights of EASE that are kept for each item, where all of them are too many."""

SHARES = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Of best sellers beside EASE; the best sellers' counts are scaled to one at most."""

REFERENCE = (
    *("sold_1", "sold_7", "sold_30", "change", "knn", "knn_decayed", "ease", "ease_decayed", "knn_newest"),
    *("times", "days_since", "age", "price_of_usual", "cosine_centre", "cosine_nearest"),
)
"""What a team would give LightGBM first: thirteen features of behaviour, and two text cosines."""

LIMITS = {"own": 120, "linear": 100, "together": 60, "week": 60, "day": 30, "new": 30}
"""How many candidates each source of behaviour brings."""

BY_TEXT = 30
"""How many the nearest by text are."""

SOURCES = (*LIMITS, "text")
"""Sources of candidates, by bit."""

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class Asked:
    """An order to predict, as it was known before it.

    Attributes
    ----------
    places, masks
        Candidates, and by bit which sources brought each.
    features, reference
        float32 [n, F] and [n, 15] of the candidates.
    rankings
        By system.
    """

    order: Order
    old: Flags
    places: Places
    masks: npt.NDArray[np.int64]
    features: Reals
    reference: Reals
    rankings: dict[str, Ranked] = field(default_factory=dict)

    @property
    def truth(self) -> tuple[Places, Places]:
        """What was bought, and what of it was new to the shopper."""
        items = self.order.items
        return items, items[~self.old[items]]

    @property
    def hits(self) -> Flags:
        """Which candidates were bought."""
        found: Flags = np.isin(self.places, self.order.items)
        return found

    def rank(self, scores: Floats, kept: Flags | None = None) -> Ranked:
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


class Replay:
    """All orders in time: what every system knew before each order that is asked for.

    Attributes
    ----------
    seconds
        CPU time that candidates and features took, by order.
    """

    def __init__(self, history: History, vectors: Reals, regularisation: float) -> None:
        self.history, self.regularisation = history, regularisation
        self.vectors, self.count = vectors, len(history.ids)
        self.past = ShopHistory()
        self.ids = [str(place) for place in range(self.count)]
        self.past.items.places(self.ids)
        self.behaviour = self.past.behaviour
        self.days = Days(history.orders, self.count)
        self.neighbours = np.zeros((self.count, self.count), np.float32)
        self.linear = np.zeros((self.count, self.count), np.float32)
        self.cut = np.zeros((self.count, self.count), np.float32)
        self.model: ItemModel | None = None
        self.seconds: list[float] = []
        self._learned_ms = -REFIT_MS

    def run(self, wanted: Mapping[int, Sequence[Probe]], say: Callable[[str], None]) -> None:
        """Answer the probes of orders, by number."""
        for number, order in enumerate(self.history.orders):
            if number in wanted:
                if order.ts - self._learned_ms >= REFIT_MS:
                    self.learn(self.history.orders[:number])
                    self._learned_ms = order.ts
                    say(f"{number} of {len(self.history.orders)} orders")
                self.behaviour.refresh(order.ts)
                for probe in wanted[number]:
                    probe(self, order)
            self.days.add(order)
            self.past.update(order.shopper, [self.ids[place] for place in order.items.tolist()], order.prices, order.ts)

    def learn(self, orders: Sequence[Order]) -> None:
        """Learn the item-to-item models from orders."""
        cases = [order.case for order in orders]
        for model in (EASE(str(self.regularisation)), ItemKNN()):
            model.learn(cases, 0.0)
            if isinstance(model, EASE):
                self.linear = dense(model, self.count)
                self.model = ItemModel.cut(self.linear, ROW)
                least = np.partition(self.linear, -min(ROW, self.count), axis=1)[:, -min(ROW, self.count)]
                self.cut = np.where(self.linear >= least[:, None], self.linear, 0)
            else:
                self.neighbours = dense(model, self.count)

    @property
    def known(self) -> Places:
        """Items that were sold before."""
        return np.flatnonzero(self.past.items.known)

    def ask(self, order: Order, own: OwnItems) -> tuple[Asked, Scores]:
        """Candidates and features for an order, given what is remembered of its shopper."""
        clock = time.process_time()
        scores = self.behaviour.scores(own, order.ts, self.model)
        places, masks = self._candidates(scores)
        features = self.features(scores, places)
        self.seconds.append(time.process_time() - clock)
        old = np.zeros(self.count, bool)
        old[own.places] = True
        return Asked(order, old, places, masks, features, self._reference(scores, places)), scores

    def features(self, scores: Scores, places: Places) -> Reals:
        """Features of some items."""
        nearest = scores.own.places[:PAIRED_OWN]
        text = text_matches(self.vectors[places], self.vectors[nearest], scores.since[: len(nearest)])
        return self.behaviour.features(scores, places, text)

    def _candidates(self, scores: Scores) -> tuple[Places, npt.NDArray[np.int64]]:
        """The union of :data:`SOURCES`: places ascending, and by bit which sources brought each."""
        found = self.behaviour.candidates(scores, LIMITS)
        own = scores.own.places[:PAIRED_OWN]
        others = self.known[~np.isin(self.known, scores.own.places)]
        near = text_matches(self.vectors[others], self.vectors[own], scores.since[: len(own)])[:, 0]
        found["text"] = others[np.argsort(-near, kind="stable")[:BY_TEXT]]
        masks = np.zeros(self.count, np.int64)
        for bit, name in enumerate(SOURCES):
            masks[found.get(name, np.zeros(0, np.int64))] |= 1 << bit
        places = np.flatnonzero(masks)
        return places, masks[places]

    def rank(self, asked: Asked, scores: Scores) -> None:
        """Rank all known items by every simple system."""
        known = self.known
        for name, values in self._simple(scores).items():
            asked.rankings[name] = ranked(values[known], known, asked.old[known])

    def _simple(self, scores: Scores) -> dict[str, Floats]:
        own = scores.own
        week, month = self.days.sold(scores.ts, 7), self.days.sold(scores.ts, 30)
        times = np.zeros(self.count)
        times[own.places] = own.times + 1 / (2 + scores.since)
        month_weights = np.exp2(-scores.since / 30).astype(np.float32)
        week_weights = (0.2 + np.exp2(-scores.since / 7)).astype(np.float32)
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
            "item-kNN by visit, decayed": scores.together[1],
            "EASE": rows.sum(0).astype(np.float64),
            "EASE, decayed": (month_weights @ rows).astype(np.float64),
            f"EASE, {ROW} a row": self.cut[own.places].sum(0).astype(np.float64),
            "EASE, recency": by_week,
            **with_best,
        }

    def _reference(self, scores: Scores, places: Places) -> Reals:
        """As :data:`REFERENCE`."""
        day, week, month = (self.days.sold(scores.ts, days)[places] for days in (1, 7, 30))
        own, items = scores.own, self.past.items
        rows, linear = self.neighbours[own.places], self.linear[own.places]
        month_weights = np.exp2(-scores.since / 30).astype(np.float32)
        times, since = np.zeros(self.count), np.full(self.count, np.nan)
        times[own.places], since[own.places] = own.times, scores.since
        prices = items.prices[own.places]
        usual = float((own.times * prices).sum() / max(1.0, own.times.sum()))
        text = text_matches(self.vectors[places], self.vectors[own.places], scores.since)
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
                (scores.ts - items.values[places, FIRST]) / DAY_MS,
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
