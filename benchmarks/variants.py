"""What it is worth that behaviour is counted for products and not for their variants, in a shop whose items have sizes.

Every item of Online Retail is split into variants, of which each purchase takes one: any, or mostly the shopper's own
size. Features and candidates are then made by item, by group as a worker makes them, and as if the items had never been
split. The packaged ranker orders them for orders of September 2011 of known shoppers; what counts is the product. There
is no item-to-item model. ``python -m benchmarks.variants --json F``
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.data import PURCHASES, data_folder
from benchmarks.live_history import REGULARISATION, SINCE
from benchmarks.purchases import CANDIDATES, History, Ranked, read, table
from benchmarks.recommend import figures
from benchmarks.report import Report
from benchmarks.smoke import smoke
from evaluator.offline.resampling import Resampling
from liveshelf.training import from_history
from models.encoder import Encoder
from models.ranker import packaged
from streams.features.behaviour import FEATURES, Reals
from streams.features.history import Order, Replay
from streams.features.items import Places
from streams.ranking.candidates import distinct

OWN_SIZE = 0.8
"""How often a shopper with a size takes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Orders of a shop whose items have variants: of each order the variant of each of its products, int64."""

    count: int
    orders: Sequence[Order]
    chosen: Sequence[Places]

    @classmethod
    def of(cls, orders: Sequence[Order], count: int, own: float) -> "Split":
        """Seeded; with the chance ``own`` it is the variant that the shopper takes mostly, else any."""
        chance = np.random.default_rng(0)
        sizes: dict[str, int] = {}
        chosen = []
        for order in orders:
            size = sizes.setdefault(order.shopper, int(chance.integers(count)))
            any_one = chance.integers(count, size=len(order.items))
            chosen.append(np.where(chance.random(len(order.items)) < own, size, any_one))
        return cls(count, orders, chosen)

    def by_item(self) -> list[Order]:
        """Each variant is an item; those of a product follow each other."""
        return [
            Order(one.shopper, one.ts, one.items * self.count + some, one.prices)
            for one, some in zip(self.orders, self.chosen, strict=True)
        ]

    def by_group(self) -> list[Order]:
        """Items are products; what was bought of them are variants."""
        return [
            Order(one.shopper, one.ts, one.items, one.prices, tuple(map(str, items.items.tolist())))
            for one, items in zip(self.orders, self.by_item(), strict=True)
        ]

    def variants(self, products: int) -> list[tuple[str, ...]]:
        """The ids of each product's variants, as orders by group have them."""
        return [tuple(str(one * self.count + size) for size in range(self.count)) for one in range(products)]


def rankings(replay: Replay, asks: set[int], old: Sequence[Places], variants: int = 1) -> list[Ranked]:
    """Products as the packaged ranker orders them before some orders, each once; a product's items follow each other
    where it has several."""
    judge, found = packaged(FEATURES), []
    for number, order in enumerate(replay.orders):
        if number in asks:
            replay.behaviour.refresh()
            asked, _ = replay.ask(order, replay.past.own(order.shopper))
            best = np.argsort(-judge.scores(asked.features), kind="stable")
            products = distinct(asked.places[best] // variants)
            new = products[~np.isin(products, old[number])]
            found.append(Ranked(products[:CANDIDATES], new[:CANDIDATES]))
        replay.update(order)
    return found


def bought_before(orders: Sequence[Order]) -> list[Places]:
    """Of each order what its shopper had bought before it."""
    held: dict[str, Places] = {}
    found = []
    for order in orders:
        before = held.get(order.shopper, np.zeros(0, np.int64))
        found.append(before)
        held[order.shopper] = np.union1d(before, order.items)
    return found


def compared(report: Report, history: History, vectors: Reals, orders: int, variants: int, console: Console) -> None:
    """All ways of counting on the same orders."""
    old = bought_before(history.orders)
    known = [number for number, order in enumerate(history.orders) if order.ts >= SINCE and len(old[number])]
    asks = set(np.random.default_rng(1).permutation(known)[:orders].tolist())
    asked = [history.orders[number] for number in sorted(asks)]
    truths = [
        (one.items, one.items[~np.isin(one.items, old[number])])
        for one, number in zip(asked, sorted(asks), strict=True)
    ]
    draws = Resampling.of([one.shopper for one in asked])

    def told(choice: str, name: str, replay: Replay, count: int = 1) -> None:
        began = time.monotonic()
        measured = table(rankings(replay, asks, old, count), truths)
        values = {measure: some for measure, some in measured.items() if measure.endswith("ndcg_20")}
        report.row(variant=choice, counted=name, orders=len(asked), **figures(values, draws))
        console.print(f"{choice}, {name}: {time.monotonic() - began:.0f} s")

    told("none", "items, before they were split", Replay(history.orders, vectors, REGULARISATION))
    for choice, own in (("any", 0.0), (f"the shopper's own, {OWN_SIZE:.0%}", OWN_SIZE)):
        split = Split.of(history.orders, variants, own)
        apart = Replay(split.by_item(), np.repeat(vectors, variants, 0), REGULARISATION)
        told(choice, "by item", apart, variants)
        ids = split.variants(len(vectors))
        told(choice, "by group", Replay(split.by_group(), vectors, REGULARISATION, variants=ids))


@smoke(orders=5, variants=2)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    shoppers: Annotated[int, typer.Option(help="Of the history, a sample; 0: all.")] = 1_500,
    orders: Annotated[int, typer.Option(help="Orders of September to rank for.")] = 400,
    variants: Annotated[int, typer.Option(help="Of each item.")] = 4,
) -> None:
    """Split, replay, rank; ten minutes."""
    console, began = Console(stderr=True), time.monotonic()
    history = read(data or data_folder() / PURCHASES)
    every = sorted({order.shopper for order in history.orders})
    if shoppers:
        chosen = {every[one] for one in np.random.default_rng(2).permutation(len(every))[:shoppers]}
        history = History([one for one in history.orders if one.shopper in chosen], history.ids, history.texts)
    vectors = from_history.unit_vectors(Encoder(), history.texts)
    report = Report("variants", orders=len(history.orders), items=len(history.ids), variants=variants)
    compared(report, history, vectors, orders, variants, console)
    report.facts["wall_s"] = time.monotonic() - began
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
