"""Makes the ranker that comes with Liveshelf, and measures it.

``python -m benchmarks.prior --out models/ranker/prior.toml --json F``: learned from Online Retail before September
2011, measured on the orders of September. Every feature is scaled over the candidates of a request, so nothing of this
shop's volumes and prices is kept; absolute prices and what is of the shopper alone are left out. A shop that has
trained nothing has no item-to-item model either, so there is none here. First orders are not learned from: in them
nothing is bought again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.data import PURCHASES, data_folder
from benchmarks.feeds import Days
from benchmarks.purchases import History, Ranked, epoch_ms, ranked, read, table
from benchmarks.recommend import figures
from benchmarks.report import Report
from benchmarks.smoke import smoke
from evaluator.offline.resampling import Resampling
from liveshelf.training.from_history import unit_vectors
from models.encoder import Encoder
from models.ranker import Columns, Linear
from models.training.rankers import Choice, train_linear
from streams.features import history
from streams.features.behaviour import FEATURES, Reals
from streams.features.history import COLD_EVENTS, Order, Replay
from streams.features.items import Floats

CHOSEN = (
    *("demand_day", "demand_week", "demand_month", "day_of_week", "week_of_month", "buyers_week", "age"),
    *("price_of_usual", "price_deviation"),
    *("times", "demand_own", "times_a_visit", "times_a_visit_since", "days_since", "visits_since"),
    *("due_of_item", "due_of_own", "due_of_visits"),
    *("together", "together_recent", "together_most", "together_share", "together_last"),
    *("text_centre", "text_nearest"),
)
RISING = tuple(name for name in CHOSEN if name.startswith(("demand_", "buyers_", "times", "together", "text_")))
"""More of these never lowers an item's place, whatever this shop's data say of one beside another."""

PENALTY = 1e-2
HEADER = """\
# The ranker of a shop that has trained none: weights of features that are scaled over a request's candidates.
# Learned by `python -m benchmarks.prior` from {orders:,} orders of Online Retail before {until:%Y-%m-%d} (Chen 2015,
# UCI Machine Learning Repository, CC BY 4.0); nothing of it but these numbers is here.
# nDCG@20 on what came after: {all:.3f} of all items, {new:.3f} of those not bought before.

[features]
"""


class Untrained(Replay):
    """A replay without an item-to-item model."""

    def learn(self, orders: Sequence[Order]) -> None:
        """Nothing."""


class Prior:
    """What is asked of one replay: orders to learn from before a time, and orders to judge by after it."""

    def __init__(self, purchases: History, until: int, learned: int) -> None:
        self.orders, self.until = purchases.orders, until
        shoppers, known, new = set[str](), list[int](), list[int]()
        for number, order in enumerate(self.orders):
            (known if order.shopper in shoppers else new).append(number)
            shoppers.add(order.shopper)
        before = [one for one in known if self.orders[one].ts < until][-learned:]
        self.known = {*before, *(one for one in known if self.orders[one].ts >= until)}
        self.first = [one for one in new if self.orders[one].ts >= until and len(self.orders[one].items) > 1]
        self.learned: list[history.Asked] = []
        self.judged: dict[str, list[tuple[history.Asked, dict[str, Floats]]]] = {}

    def replay(self, vectors: Reals) -> None:
        """Ask everything in one pass."""
        replay = Untrained(self.orders, vectors, 0.0)
        days = Days(self.orders, replay.count)

        def take(part: str, order: Order, given: int) -> None:
            rest, own = order.after(given) if given else (order, replay.past.shoppers[order.shopper].get())
            asked, scores = replay.ask(rest, own)
            if order.ts < self.until:
                self.learned.append(asked)
                return
            week, times = days.sold(order.ts, 7), np.zeros(replay.count)
            times[own.places] = own.times + 1 / (2 + scores.since[0])
            simple = {"best sellers, 7 days": week, "own, then best sellers": times + 0.5 * week / max(1.0, week.max())}
            self.judged.setdefault(part, []).append((asked, simple))

        def known(_: Replay, order: Order) -> None:
            take("known shoppers", order, 0)

        def first(_: Replay, order: Order) -> None:
            for given in COLD_EVENTS:
                if given < len(order.items):
                    take(f"after {given} items", order, given)

        wanted: dict[int, list[Callable[[Replay, Order], None]]] = {one: [known] for one in self.known}
        wanted |= {one: [first] for one in self.first}
        replay.run(wanted, lambda gone: days.add(self.orders[gone - 1]))


def learn(asked: Sequence[history.Asked]) -> Linear:
    """The ranker."""
    choices = [Choice(one.features, one.hits, one.new) for one in asked]
    return train_linear(choices, Columns.of(CHOSEN, FEATURES), relative=CHOSEN, rising=RISING, penalty=PENALTY)


def written(ranker: Linear, header: str) -> str:
    """As the package keeps it."""
    count = len(ranker.features)
    weights, missing = (part.tolist() for part in (ranker.weights[:count], ranker.weights[count:]))
    lines = [
        f"{name} = {{ weight = {weight:.4f}, missing = {absent:.4f} }}"
        for name, weight, absent in zip(ranker.features, weights, missing, strict=True)
    ]
    return header + "\n".join(lines) + "\n"


@smoke(learned=60)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the ranker here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    until: Annotated[datetime, typer.Option(help="Learned from what is before this day.")] = datetime(2011, 9, 1),
    learned: Annotated[int, typer.Option(help="Orders of known shoppers that are learned from, the newest.")] = 2_500,
) -> None:
    """Learn, measure, and write what is wanted."""
    console = Console(stderr=True)
    purchases = read(data or data_folder() / PURCHASES)
    prior = Prior(purchases, epoch_ms(until), learned)
    prior.replay(unit_vectors(Encoder(), purchases.texts))
    console.print(f"{len(prior.learned):,} questions to learn from", highlight=False)
    ranker = learn(prior.learned)
    report = Report("prior", learned_from=len(prior.learned))
    shown = (0.0, 0.0)
    for part, some in prior.judged.items():
        draws, truths = Resampling.of([one.order.shopper for one, _ in some]), [one.truth for one, _ in some]
        rankings = {
            name: [ranked(simple[name], np.arange(len(one.old)), one.old) for one, simple in some]
            for name in some[0][1]
        }
        rankings["ours"] = [_rank(one, ranker.scores(one.features)) for one, _ in some]
        for name, found in rankings.items():
            row = figures(table(found, truths), draws)
            report.row(part=part, system=name, orders=len(some), **row)
            if part == "known shoppers" and name == "ours":
                shown = float(row["all_ndcg_20"] or 0), float(row["new_ndcg_20"] or 0)
    if out:
        header = HEADER.format(orders=len(prior.learned), until=until, all=shown[0], new=shown[1])
        out.write_text(written(ranker, header), encoding="utf-8")
    report.write(json)


def _rank(one: history.Asked, scores: Reals) -> Ranked:
    return ranked(scores, one.places, one.old[one.places])


if __name__ == "__main__":
    typer.run(main)
