"""Orders in time, replayed through the statistics: candidates and features as they were known before each.

A replay takes all orders in time and answers probes before each. Nothing in an answer is from the order or after it.
Knows statistics and which items were bought; nothing of files, nor of what is learned from the answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from models.ranker import ItemWeights, ease
from streams.features.behaviour import PAIRED_OWN, Behaviour, Reals, Scores, text_matches
from streams.features.item_model import ItemModel
from streams.features.items import DAY_MS, Floats, ItemStatistics, Places
from streams.features.own import NOTHING, ROW, Memory, OwnItems, own_variants
from streams.features.pairs import MOST_PAIRED, SHARDS, Pairs, summed
from streams.features.shopper import shard

REFIT_MS = 7 * DAY_MS
"""How often the item-to-item model is learned anew."""

LIMITS = {"own": 120, "linear": 100, "together": 60, "week": 60, "day": 30, "new": 30}
"""How many candidates each source of behaviour brings."""

BY_TEXT = 30
"""How many the nearest by text are."""

SOURCES = (*LIMITS, "text")
"""Sources of candidates, by bit."""

COLD_EVENTS = (1, 2, 5)
"""After how many items of a shopper's first order its others are asked for."""

REMEMBERED_MS = 60_000
"""How long before the question those items were bought."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What a shopper bought at a time, epoch ms: distinct products by place, with the logarithms of their prices.

    ``variants`` are the distinct ids of what was bought, in a shop in which products have variants.
    """

    shopper: str
    ts: int
    items: Places
    prices: Floats
    variants: Sequence[str] = ()

    def after(self, count: int) -> tuple["Order", OwnItems]:
        """The rest of the order, and a shopper who has bought its first items and nothing else."""
        memory = Memory()
        memory.add(self.items[:count], self.ts - REMEMBERED_MS)
        return Order(self.shopper, self.ts, self.items[count:], self.prices[count:]), memory.get()


@dataclass(slots=True, eq=False)
class Asked:
    """An order to predict, as it was known before it.

    Attributes
    ----------
    old
        bool [items]: what the shopper had bought before.
    places, masks
        Candidates, and by bit which of :data:`SOURCES` brought each.
    features
        float32 [n, F] of the candidates.
    """

    order: Order
    old: Flags
    places: Places
    masks: npt.NDArray[np.int64]
    features: Reals

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

    @property
    def new(self) -> Flags:
        """Which candidates were new to the shopper."""
        found: Flags = ~self.old[self.places]
        return found


class ShopHistory:
    """Behaviour that grows by visits in which items were bought, with every shopper's memory: what replays keep.

    As in Redis, everything is counted by item; where products have variants, these are added up when it is read.

    Parameters
    ----------
    hour_ms
        A shopper counts once for an item in an hour of this length, at its middle; what was touched in one hour is one
        visit.
    pairs
        Items bought together; rows are cut as a worker cuts them by default.
    groups
        By item the group of variants that it is one of, of items that are.

    Attributes
    ----------
    items
        Statistics of products.

    Examples
    --------
    >>> history = ShopHistory(groups={"a-S": "a", "a-L": "a"})
    >>> for day, item in enumerate(("a-S", "b", "a-L")):
    ...     history.update("u1", [item], np.zeros(1), day * DAY_MS)
    >>> history.behaviour.refresh()
    >>> own = history.own("u1")
    >>> [history.items.ids[place] for place in own.places], own.times.tolist()
    (['a-L', 'b'], [2.0, 1.0])
    """

    def __init__(
        self, hour_ms: int = 3_600_000, pairs: Pairs | None = None, groups: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.items = ItemStatistics()
        for item, group in groups.items():
            self.items.assign(item, group)
        self._counted = ItemStatistics() if groups else self.items
        self.pairs = Pairs() if pairs is None else pairs
        self.behaviour = Behaviour(
            self.items, _OfProducts(self.pairs, self._counted, self.items) if groups else self.pairs
        )
        self.shoppers: dict[str, Memory] = {}
        self._hour_ms = hour_ms
        self._cells: dict[tuple[str, int], list[int]] = {}

    def update(self, shopper: str, ids: Sequence[str], prices: Floats, ts: int) -> None:
        """Take purchases of one time (ms) in: distinct items and the logarithms of their prices."""
        hour = ts // self._hour_ms
        middle = hour * self._hour_ms + self._hour_ms // 2
        items = self._counted
        places, products = items.places(ids), self.items.places(ids)
        self.items.prices[products] = prices
        counted = self._cells.setdefault((shopper, hour), [])
        new = places[~np.isin(places, counted)][: MOST_PAIRED - len(counted)]
        firsts, lasts = self.shoppers.setdefault(shopper, Memory()).add(new, middle)
        items.purchase(new, middle, firsts, lasts)
        items.touch(new, middle)
        self.pairs.add(new, middle, counted, shard(shopper, SHARDS))
        counted += new.tolist()
        if items is not self.items:
            for place in new.tolist():
                self.items.put(items.ids[place], [items.values[place].copy()])

    def own(self, shopper: str) -> OwnItems:
        """What a shopper did with each product; of those touched last at the same time the lowest id comes first, as in
        a worker.

        Raises
        ------
        KeyError
            When the shopper is not known.
        """
        memory = self.shoppers[shopper]
        if self._counted is self.items:
            return memory.get()
        counted = sorted(memory.rows, key=self._counted.ids.__getitem__)
        ids, rows = [self._counted.ids[place] for place in counted], [memory.rows[place] for place in counted]
        places, found = self.items.places(ids), np.array(rows, ROW)
        variants = own_variants(ids, places, found, self.items.of_group[places])
        return OwnItems.of(places, found, sorted(memory.visits), variants)


class _OfProducts:
    """Rows of products, from those of items."""

    def __init__(self, pairs: Pairs, counted: ItemStatistics, items: ItemStatistics) -> None:
        self._pairs, self._counted, self._items = pairs, counted, items

    def row(self, place: int) -> tuple[Places, Floats]:
        """As :class:`streams.features.pairs.Rows`."""
        rows = [self._pairs.row(one) for one in self._counted.find(self._items.variants(place)).tolist()]
        others = np.concatenate([NOTHING, *(row[0] for row in rows)])
        ids = [self._counted.ids[other] for other in others.tolist()]
        counts = np.concatenate([np.zeros(0), *(row[1] for row in rows)])
        return summed(place, self._items.places(ids), counts)


class Replay:
    """All orders in time, and what was known before each that is asked for.

    Parameters
    ----------
    orders
        By time.
    vectors
        Unit vectors of the items' texts by place, float32 [n, D].
    regularisation
        Of the item-to-item model.
    pairs
        Items bought together, if they are not to be cut as by default.
    variants
        Of each product, by place, the ids of its items, as orders have them; none where no product has variants.

    Attributes
    ----------
    past
        The statistics; the place of a product there is its own.
    model
        The item-to-item model of now; None before the first.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        vectors: Reals,
        regularisation: float,
        pairs: Pairs | None = None,
        variants: Sequence[Sequence[str]] = (),
    ) -> None:
        self.orders, self.vectors, self.regularisation = orders, vectors, regularisation
        self.count = len(vectors)
        self.ids = tuple(map(str, range(self.count)))
        # A place for each in their order: one without variants is a group of one.
        groups = {item: name for name, some in zip(self.ids, variants, strict=False) for item in some}
        self.past = ShopHistory(pairs=pairs, groups=groups)
        if not variants:
            self.past.items.places(self.ids)
        self.behaviour = self.past.behaviour
        self.model: ItemModel | None = None
        self._learned_ms = -REFIT_MS

    def run(self, wanted: Mapping[int, Sequence[Callable[[Any, Order], None]]], say: Callable[[int], None]) -> None:
        """Answer the probes of orders, by number; ``say`` is told the number of orders gone."""
        for number, order in enumerate(self.orders):
            if number in wanted:
                if order.ts - self._learned_ms >= REFIT_MS:
                    self.learn(self.orders[:number])
                    self._learned_ms = order.ts
                self.behaviour.refresh()
                for probe in wanted[number]:
                    probe(self, order)
            self.update(order)
            say(number + 1)

    def update(self, order: Order) -> None:
        """Take an order in."""
        if not order.variants:
            ids, prices = [self.ids[place] for place in order.items.tolist()], order.prices
        else:
            of = dict(zip(order.items.tolist(), order.prices.tolist(), strict=True))
            ids = list(order.variants)
            prices = np.array([of[place] for place in self.past.items.places(ids).tolist()])
        self.past.update(order.shopper, ids, prices, order.ts)

    def learn(self, orders: Sequence[Order]) -> None:
        """Learn the item-to-item model from orders, and keep of it what a worker has."""
        weights = self.weights(orders, self.ids)
        self.model = ItemModel.of(np.arange(self.count), weights.slots, weights.weights)

    def weights(self, orders: Sequence[Order], ids: tuple[str, ...]) -> ItemWeights:
        """The item-to-item model of orders; the ids are those of the places."""
        return ItemWeights.of(ids, ease(bought(orders, self.count), self.regularisation))

    @property
    def known(self) -> Places:
        """Items that were sold before."""
        return np.flatnonzero(self.past.items.known)

    def ask(self, order: Order, own: OwnItems) -> tuple[Asked, Scores]:
        """Candidates and features for an order, given what is remembered of its shopper."""
        scores = self.behaviour.scores([own], [order.ts], self.model)
        places, masks = self.candidates(scores)
        old = np.zeros(self.count, bool)
        old[own.places] = True
        return Asked(order, old, places, masks, self.features(scores, places)), scores

    def features(self, scores: Scores, places: Places) -> Reals:
        """Features of some items."""
        text = self._text(scores, places)
        return self.behaviour.features(scores, [places], text)

    def _text(self, scores: Scores, places: Places) -> Reals:
        """Matches of some items with the shopper's newest."""
        [own], [since] = scores.owns, scores.since
        nearest = own.places[:PAIRED_OWN]
        found = text_matches([self.vectors[places]], [self.vectors[nearest]], [since[: len(nearest)]], len(places))
        return found.features

    def candidates(self, scores: Scores) -> tuple[Places, npt.NDArray[np.int64]]:
        """The union of :data:`SOURCES`: places ascending, and by bit which sources brought each."""
        [found], [own] = self.behaviour.candidates(scores, LIMITS), scores.owns
        others = self.known[~np.isin(self.known, own.places)]
        near = self._text(scores, others)[:, 0]
        found["text"] = others[np.argsort(-near, kind="stable")[:BY_TEXT]]
        masks = np.zeros(self.count, np.int64)
        for bit, name in enumerate(SOURCES):
            masks[found.get(name, np.zeros(0, np.int64))] |= 1 << bit
        places = np.flatnonzero(masks)
        return places, masks[places]


def bought(orders: Sequence[Order], count: int) -> Any:
    """Which shoppers bought which items, zeros and ones, scipy's CSR [shoppers, items].

    Examples
    --------
    >>> made = [Order(who, 0, np.array(items), np.zeros(len(items))) for who, items in (("u", [0, 2]), ("u", [2]))]
    >>> bought(made, 3).toarray().tolist()
    [[1.0, 0.0, 1.0]]
    """
    from scipy.sparse import csr_matrix

    rows: dict[str, int] = {}
    numbers = [rows.setdefault(order.shopper, len(rows)) for order in orders]
    lengths = [len(order.items) for order in orders]
    items = np.concatenate([order.items for order in orders]) if orders else np.zeros(0, np.int64)
    matrix = csr_matrix((np.ones(len(items), np.float32), (np.repeat(numbers, lengths), items)), (len(rows), count))
    matrix.data[:] = 1.0  # one that was bought twice is summed otherwise
    return matrix
