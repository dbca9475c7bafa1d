"""Does a ranker that learns from its own feeds beat the one it began as? Online Retail, served month by month.

``python -m benchmarks.live_ranker --json F``. Before each order of June to August 2011 the shopper is shown a feed of
20 items by the ranker of now. Of what is shown, they touch what they are about to buy and, now and then, something
else, if they look at its place: place ``k`` is looked at with the chance ``1 / (1 + k) ** bias``. After each month the
ranker is updated as the trainer does it, from the month's feeds alone: features of what was shown and of ten others,
and what was touched. The orders of September judge, as ``benchmarks.recommend`` does; the ranker has never seen them.

The shop is a simulation in what shoppers look at; what they want is real. The scorer, the policy, and items
that are not due have no part in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.data import PURCHASES, data_folder
from benchmarks.prior import Untrained
from benchmarks.purchases import History, epoch_ms, ranked, read, table
from benchmarks.recommend import figures
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest
from evaluator.gate.figures.feeds import Feeds, feed_figure
from evaluator.gate.figures.quality import Numbers
from evaluator.metrics.position_bias import PositionBiasModel
from evaluator.offline.resampling import Resampling, interval
from liveshelf.training.from_history import unit_vectors
from models.encoder import Encoder
from models.ranker import Kind, Ranker, packaged
from models.scorer import Floats
from models.training.examples import expected_level
from models.training.ranker_update import updated
from models.training.rankers import Choice, train
from models.training.served_feeds import FeedSlices, ServedFeed
from streams.events.shelf import OTHERS
from streams.features.behaviour import FEATURES
from streams.features.history import Asked, Order
from streams.ranking.feeds import FeedRanker

MONTHS = tuple(datetime(2011, month, 1) for month in (4, 6, 7, 8, 9, 10))
"""Where the time that histories are of begins, then the months that are served, the one that judges, and its end."""

MARGIN = GateConfig().ndcg_margin
LENGTH, RANKED = 20, 100
OTHERWISE = 0.03
"""Chance that an item is clicked that is looked at and not wanted."""

PARTS = (0.7, 0.8)
"""Shares of a month's feeds where those to learn from, and those to choose by, end: as ``[learning]`` has them."""

LOW, HIGH = "low", "high"


@dataclass(slots=True, eq=False)
class Shop:
    """What is asked of one replay: every order of a known shopper, by month."""

    history: History
    asked: list[list[Asked]] = field(default_factory=lambda: [[] for _ in MONTHS[1:]])

    def replay(self, most: int) -> None:
        """Ask for each order what its feed could be made of; at most so many of each month, the first ones."""
        bounds = [epoch_ms(month) for month in MONTHS]
        shoppers = set[str]()
        wanted: dict[int, list[Callable[[Untrained, Order], None]]] = {}
        counts = [0] * len(self.asked)
        for number, order in enumerate(self.history.orders):
            month = sum(order.ts >= bound for bound in bounds) - 1
            if order.shopper in shoppers and 0 <= month < len(counts) and counts[month] < most:
                counts[month] += 1
                wanted[number] = [self._probe(month)]
            shoppers.add(order.shopper)
        replay = Untrained(self.history.orders, unit_vectors(Encoder(), self.history.texts), 0.0)
        replay.run(wanted, lambda _: None)

    def _probe(self, month: int) -> Callable[[Untrained, Order], None]:
        def probe(replay: Untrained, order: Order) -> None:
            self.asked[month].append(replay.ask(order, replay.past.shoppers[order.shopper].get())[0])

        return probe


@dataclass(slots=True, eq=False)
class Page:
    """What a shopper saw and touched: a feed but for how often places are looked at."""

    shopper: str
    features: Floats
    places: list[int]
    levels: tuple[float, ...]
    unshown: int

    def feed(self, looked: Sequence[float]) -> ServedFeed:
        """With what is thought of how often its places are looked at."""
        values = self.features.astype("<f2")
        count = len(values)
        return ServedFeed(
            shopper=self.shopper,
            values=values.tobytes(),
            items=tuple(map(str, range(count))),
            levels=self.levels,
            looked=tuple(looked[: len(self.levels)]),
            popularity=(0.0,) * count,
            unshown=self.unshown,
        )


def served(asked: Sequence[Asked], ranker: Ranker, bias: float, seed: int) -> list[Page]:
    """Feeds by a ranker, and what is touched of them."""
    chance, found = np.random.default_rng(seed), list[Page]()
    for one in asked:
        features = one.features.astype(np.float32)
        order = np.argsort(-ranker.scores(features), kind="stable")[:RANKED]
        shown, rest = order[:LENGTH], order[LENGTH:]
        others = chance.permutation(rest)[:OTHERS]
        looked = chance.random(len(shown)) < (1 + np.arange(len(shown))) ** -bias
        bought = one.hits[shown] & looked
        other = looked & ~bought & (chance.random(len(shown)) < OTHERWISE)
        levels = tuple((bought + other / 3).tolist())
        rows = features[[*shown, *others]]
        found.append(Page(one.order.shopper, rows, one.places[shown].tolist(), levels, len(rest)))
    return found


def slices(pages: Sequence[Page]) -> FeedSlices:
    """As the trainer makes them: by time, with places as the oldest tell of them."""
    positions = PositionBiasModel()
    first, second = (int(len(pages) * share) for share in PARTS)
    for page in pages[:first]:
        for place, (item, level) in enumerate(zip(page.places, page.levels, strict=True)):
            positions.update(page.shopper, str(item), place, level > 0)
    looked = positions.cautious() or [1.0] * LENGTH
    feeds = [[one.feed(looked) for one in part if any(one.levels)] for part in parts(pages, first, second)]
    return FeedSlices(train=feeds[0], calibrate=feeds[1], gate=feeds[2])


def parts(pages: Sequence[Page], first: int, second: int) -> list[Sequence[Page]]:
    """Three parts of a list."""
    return [pages[:first], pages[first:second], pages[second:]]


def even(requests: Sequence[GateRequest]) -> list[Floats]:
    """A scorer that knows nothing, so that rankers alone are compared."""
    return [np.full((len(one.items), 4), 0.25, np.float32) for one in requests]


class Judge:
    """The orders of the last month, and how good a ranker is on them beside another one."""

    def __init__(self, asked: Sequence[Asked], report: Report) -> None:
        self.asked, self.report = asked, report
        self.draws = Resampling.of([one.order.shopper for one in asked])

    def table(self, ranker: Ranker) -> dict[str, Numbers]:
        """All measures of each order."""
        rankings = [ranked(ranker.scores(one.features), one.places, one.old[one.places]) for one in self.asked]
        return table(rankings, [one.truth for one in self.asked])

    def row(self, system: str, ranker: Ranker, beside: Ranker, **about: Value) -> None:
        """One row: the ranker's figures, and its nDCG less the other's."""
        own, others = self.table(ranker), self.table(beside)
        found = figures(own, self.draws)
        for side in ("all", "new"):
            name = f"{side}_ndcg_20"
            gain = interval(self.draws.mean(own[name] - others[name]))
            found |= {f"{side}_gain": gain.value, f"{side}_gain_{LOW}": gain.low, f"{side}_gain_{HIGH}": gain.high}
        self.report.row(part="September", system=system, **about, **found)


def lived(start: Ranker, name: str, shop: Shop, judge: Judge, bias: float, least: int) -> None:
    """Serve month by month, update after each, and judge each ranker; one that the gate does not pass never serves."""
    ranker, bootstrap = start, Bootstrap(0.95, 1_000, 0)
    judge.row(f"{name}, as it begins", ranker, start, bias=bias)
    for month in range(1, len(shop.asked) - 1):
        feeds = slices(served(shop.asked[month], ranker, bias, seed=month))
        change = updated(ranker, feeds, FEATURES, least, judged=False, seed=month)
        after = change.ranker or ranker
        both = Feeds(feeds.gate, FeedRanker(ranker), FeedRanker(after))
        told = feed_figure(both, even, even, expected_level, bootstrap)
        passed = told.difference_low is not None and told.difference_low >= -MARGIN
        gate: dict[str, Value] = {"gate": told.difference, "gate_low": told.difference_low, "passed": passed}
        about: dict[str, Value] = {"bias": bias, "feeds": len(feeds.train), "updated": change.ranker is not None}
        judge.row(f"{name}, update {month}", after, start, **about, **gate)
        ranker = after if passed else ranker


@smoke(most=60, least=10, biases=[0.5])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    data: Annotated[Path | None, typer.Option(help="A file of transactions; Online Retail by default.")] = None,
    most: Annotated[int, typer.Option(help="Orders of each month, the first ones.")] = 10_000,
    least: Annotated[int, typer.Option(help="Feeds with an outcome below which a ranker stays.")] = 200,
    biases: Annotated[list[float] | None, typer.Option("--bias", help="How steeply looks fall; repeatable.")] = None,
) -> None:
    """Measure, print a table, and write JSON where wanted."""
    console = Console(stderr=True)
    shop = Shop(read(data or data_folder() / PURCHASES))
    shop.replay(most)
    console.print(f"{[len(some) for some in shop.asked]} orders by month", highlight=False)
    before = [Choice(one.features, one.hits, one.new) for one in shop.asked[0][-900:] if one.hits.any()]
    kinds: tuple[Kind, ...] = ("linear", "network", "trees")
    starts = {"packaged": packaged(FEATURES)} | {
        f"{kind} from a history": train(kind, before, FEATURES, FEATURES) for kind in kinds[1:]
    }
    report = Report("live_ranker", orders=len(shop.history.orders))
    judge = Judge(shop.asked[-1], report)
    for bias in biases or (0.5, 1.0):
        for name, ranker in starts.items():
            lived(ranker, name, shop, judge, bias, least)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
