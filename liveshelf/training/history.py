"""Purchases in files as orders in time: who bought what, when and for how much, and the texts of the items.

Reads through ``streams.events.adapters``, as ``replay`` and ``import items`` do. Knows files, events and orders;
nothing of what is learned from them.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.table import Table

from evaluator.retraining.item_model import product
from liveshelf.terminal import add_row
from liveshelf.training.data import records
from models.training.examples import ExamplesError
from streams.catalog.embedding import text
from streams.events.adapters.mapping import MappingConfig
from streams.events.schema import Item, Purchase
from streams.features.history import Order
from streams.features.items import Floats, log_price

MOST_ITEMS = 8_000
"""Items that are learned from, those with most buyers: the item-to-item model takes memory of items times items."""

HOUR_MS = 3_600_000
"""What a shopper buys within an hour of the clock is one order."""

TOLD = 10_000
"""Lines between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Purchases:
    """Orders by time, and the products by place: ids and texts. ``counts`` says what was read and what was left out.

    Items of one ``group_id`` are one product, with the id and the text of the one that most have bought; ``variants``
    are the ids of each product's items, empty where no product has several.
    """

    orders: list[Order]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    variants: tuple[tuple[str, ...], ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """From the first order to the last."""
        first, last = (datetime.fromtimestamp(order.ts / 1000, UTC) for order in (self.orders[0], self.orders[-1]))
        return first, last

    def table(self) -> Table:
        """The counts as a table."""
        table = Table(show_header=False, box=None, title="From the history")
        for name, count in self.counts.items():
            add_row(table, name, f"{count:,}")
        table.add_row("from, to", *(f"{moment:%Y-%m-%d %H:%M}" for moment in self.window))
        return table


@dataclass(frozen=True, slots=True)
class HistoryFiles:
    """Files of purchases and the file of the catalogue, and how to read them.

    Reading takes some 24 bytes a purchase, and orders some 500 bytes each.
    """

    events: Sequence[Path]
    items: Path
    events_mapping: MappingConfig = field(default_factory=MappingConfig)
    items_mapping: MappingConfig = field(default_factory=MappingConfig)

    @property
    def name(self) -> str:
        """The names of the files of purchases."""
        return ", ".join(path.name for path in self.events)

    def read(self, say: Callable[[int, int | None], None], most: int = MOST_ITEMS) -> Purchases:
        """The orders of the shoppers.

        Parameters
        ----------
        say
            Is told how many lines are read.
        most
            Products to keep: those with most buyers.

        Raises
        ------
        ExamplesError
            When a file cannot be read, or there is no purchase of an item of the catalogue.
        streams.events.adapters.mapping.MappingError
            When a mapping does not fit.
        """
        texts, prices, refused = dict[str, str](), dict[str, float](), Counter[str]()
        groups = dict[str, str]()
        for item in records(self.items, "items", self.items_mapping, refused):
            if isinstance(item, Item):
                texts[item.item_id] = text(item)
                if item.group_id:
                    groups[item.item_id] = item.group_id
                else:
                    groups.pop(item.item_id, None)
                if item.price:
                    prices[item.item_id] = item.price
        if not texts:
            raise ExamplesError(f"{self.items} holds no items: {_listed(refused)}")
        counts: Counter[str] = Counter()
        lines = _Lines()
        kinds: Counter[str] = Counter()
        for path in self.events:
            for event in records(path, "events", self.events_mapping, counts):
                kinds[getattr(event, "kind", "")] += 1
                if isinstance(event, Purchase):
                    lines.add(event.shopper, event.item_id, event.time_ms, event.price)
                if kinds.total() % TOLD == 0:
                    say(kinds.total(), None)
        if not lines.times:
            raise ExamplesError(
                f"{self.name} holds no purchases ({_listed(kinds | counts)}), so there is no order to learn from. "
                "A purchase has a shopper (user_id), an item (item_id) and a time (ts): docs/events.md. A CSV file "
                'needs a mapping, with type = "=purchase": --events-mapping or --map'
            )
        counts["purchases"] = kinds.pop("purchase")
        counts |= {f"other events ({kind}), left out": count for kind, count in kinds.items()}
        return lines.orders(texts, prices, groups, counts, most)


class _Lines:
    """Purchases as columns of numbers."""

    def __init__(self) -> None:
        self.shoppers: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.who, self.what = array("i"), array("i")
        self.times, self.prices = array("q"), array("d")

    def add(self, shopper: str, item: str, ts: int, price: float | None) -> None:
        self.who.append(self.shoppers.setdefault(shopper, len(self.shoppers)))
        self.what.append(self.items.setdefault(item, len(self.items)))
        self.times.append(ts)
        self.prices.append(price if price else np.nan)

    def orders(
        self,
        texts: Mapping[str, str],
        catalogue: Mapping[str, float],
        groups: Mapping[str, str],
        counts: Counter[str],
        most: int,
    ) -> Purchases:
        """Distinct products of a shopper's hour, at the time of its first purchase."""
        who, what = np.frombuffer(self.who, np.int32), np.frombuffer(self.what, np.int32)
        times = np.frombuffer(self.times, np.int64)
        ids = np.array([*self.items], object)
        product = self._products(groups)
        place, chosen = self._chosen(who, what, product, texts, counts, most)
        if not len(chosen):
            raise ExamplesError("none of the items that were bought is in the catalogue: give the right --items")
        prices = _log_prices(np.frombuffer(self.prices), what, [catalogue.get(item, np.nan) for item in self.items])
        places = place[what]
        kept = np.flatnonzero(places >= 0)
        kept = kept[np.lexsort((times[kept], times[kept] // HOUR_MS, who[kept]))]
        names = list(self.shoppers)
        hours = np.stack([who[kept], times[kept] // HOUR_MS])
        starts = np.flatnonzero(np.r_[True, (hours[:, 1:] != hours[:, :-1]).any(0)])
        found = []
        for lines in np.split(kept, starts[1:]):
            some = _firsts(places, lines)
            bought = tuple(ids[what[_firsts(what, lines)]].tolist()) if groups else ()
            order = Order(names[who[some[0]]], int(times[lines[0]]), places[some], prices[some], bought)
            found.append(order)
        found.sort(key=lambda order: (order.ts, order.shopper))
        counts |= {"orders": len(found), "shoppers": len({order.shopper for order in found}), "items": len(chosen)}
        some_ids = tuple(ids[chosen].tolist())
        members: list[list[str]] = [[] for _ in chosen]
        for item in np.flatnonzero(place >= 0).tolist():
            members[place[item]].append(ids[item])
        variants = tuple(map(tuple, members)) if groups else ()
        return Purchases(found, some_ids, tuple(texts[one] for one in some_ids), variants, counts)

    def _products(self, groups: Mapping[str, str]) -> npt.NDArray[np.int64]:
        """Of each item the number of its product."""
        numbers: dict[tuple[bool, str], int] = {}
        return np.array([numbers.setdefault(product(item, groups), len(numbers)) for item in self.items])

    def _chosen(
        self,
        who: npt.NDArray[np.int32],
        what: npt.NDArray[np.int32],
        product: npt.NDArray[np.int64],
        texts: Mapping[str, str],
        counts: Counter[str],
        most: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each item the place of its product, or -1; and of the products that have one the item that most have
        bought: those of the catalogue with most buyers."""
        described = np.array([item in texts for item in self.items])
        buyers, of_items = (_buyers(who, numbers, len(product)) for numbers in (product[what], what))
        sold = np.zeros(len(product), np.bool_)
        sold[product[described]] = True
        ranks = np.argsort(np.where(sold, -buyers, 1), kind="stable")
        chosen = ranks[: min(most, int(sold.sum()))]
        best = np.lexsort((np.arange(len(product)), -of_items, ~described, product))
        best = best[np.unique(product[best], return_index=True)[1]]  # of each product an item
        speaks = np.sort(best[chosen])
        of_product = np.full(len(product), -1)
        of_product[product[speaks]] = np.arange(len(speaks))
        place = np.where(described, of_product[product], -1)
        if absent := int((~described).sum()):
            counts["items that the catalogue does not have, left out"] = absent
        if rest := int(sold.sum()) - len(chosen):
            counts[f"items beyond the {most:,} with most buyers, left out"] = rest
        counts["purchases of items left out"] = int((place[what] < 0).sum())
        return place, speaks


def _firsts(values: npt.NDArray[np.integer], lines: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of some lines that are the first with their value, in their order."""
    found: npt.NDArray[np.int64] = lines[np.sort(np.unique(values[lines], return_index=True)[1])]
    return found


def _buyers(who: npt.NDArray[np.int32], numbers: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """How many shoppers bought each of so many items or products, given who bought which in each line."""
    pairs = np.unique(who.astype(np.int64) * count + numbers)
    return np.bincount(pairs % count, minlength=count)


def _log_prices(prices: Floats, what: npt.NDArray[np.int32], catalogue: Sequence[float]) -> Floats:
    """Logarithms; without a price the catalogue's, else the mean of the item's other purchases, else none (NaN)."""
    logs = log_price(np.where(np.isnan(prices), np.array(catalogue)[what], prices))
    there = ~np.isnan(logs)
    count = np.bincount(what[there], minlength=len(catalogue))
    sums = np.bincount(what[there], logs[there], len(catalogue))
    means = np.divide(sums, count, out=np.full(len(catalogue), np.nan), where=count > 0)
    return np.where(there, logs, means[what])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "it is empty"
