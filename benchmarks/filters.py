"""Does a filter that keeps few of many items still fill its shelf with the best of them, and what does it cost?

``python -m benchmarks.filters --json FILE``: the catalogue of ``benchmarks.catalogue``, with a random price for each
item, so that a price range keeps any share; and the items' own brands. Queries are words of titles. Vector search
is compared with the exact nearest among the items that pass, lexical search with all hits cut, and the shelf with one
whose candidates are found without the filter and cut afterwards.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.progress import Progress

from benchmarks.catalogue import NOW_MS, Bench, Goods, Traffic
from benchmarks.data import data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.demo.catalogs import icecat
from models.cpu import limit_threads
from models.encoded import EncodedItem
from models.encoder import Encoder
from streams.catalog.attributes import Matching, Slots
from streams.catalog.catalog import Change
from streams.catalog.lexical_index import _MOST_POSTINGS
from streams.events.filters import NO_FILTER, Filter
from streams.events.schema import Item
from streams.ranking.recommender import RankRequest

SHARES = (0.0002, 0.001, 0.01, 0.05, 0.2, 0.5)
LENGTH = 20


class PricedGoods(Goods):
    """Items with a random price between 0 and 1."""

    def _change(self, item: Item, encoded: EncodedItem) -> Change:
        priced = msgspec.structs.replace(item, price=float(self.chance.random()), attributes={"colour": "red"})
        return super()._change(priced, encoded)


class Trial:
    """Searches under one filter after the other."""

    def __init__(self, bench: Bench, queries: int) -> None:
        self.catalogue, self.recommender = bench.catalogue, bench.recommender
        self.caps = bench.config.candidates
        traffic = Traffic(bench.catalogue, seed=1)
        self.queries = [traffic.query() for _ in range(queries)]
        self.items = [traffic.item() for _ in range(queries)]
        recommender = self.recommender
        recommender.queries.update(self.queries)
        self.pooled = [recommender.queries.get(query).encoded.pooled for query in self.queries]
        self.pieces = [recommender.queries.get(query).pieces for query in self.queries]

    def row(self, name: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
        """Figures of all queries, each under its filter."""
        wanted = [Filter.of(one) for one in filters]
        masks, matchings = timed(self._anew, wanted)
        asked = list(zip(self.pooled, self.pieces, matchings, strict=True))
        near_ms, near = timed(lambda one: self.catalogue.nearest(one[0][None], self.caps.vector, one[2])[0], asked)
        words_ms, words = timed(lambda one: self.catalogue.sharing(one[1], self.caps.lexical, one[2]), asked)
        shelf_ms, shelves = timed(lambda at: self._shelf(at, wanted[at]), range(len(wanted)))
        _, open_shelves = timed(self._candidates, range(len(wanted)))
        counts = np.array([matching.count for matching in matchings])
        full = np.minimum(counts, LENGTH)
        cut = [min(LENGTH, len(one.keep(slots))) for one, slots in zip(matchings, open_shelves, strict=True)]
        return {
            "filter": name,
            "items_that_pass": int(np.median(counts)),
            "mask_ms": masks,
            "vector_ms": near_ms,
            "vector_recall": mean(map(self._nearest_of_all, self.pooled, matchings, near)),
            "lexical_ms": words_ms,
            "lexical_recall": mean(map(self._sharing_of_all, self.pieces, matchings, words)),
            "search_ms": shelf_ms,
            "places_filled": float(np.sum(shelves) / max(full.sum(), 1)),
            "filled_if_cut_after": float(np.sum(cut) / max(full.sum(), 1)),
        }

    def none(self) -> dict[str, Any]:
        """The same searches without a filter."""
        near_ms, near = timed(lambda one: self.catalogue.vectors.search(one[None], self.caps.vector)[0], self.pooled)
        everything = self.catalogue.matching(NO_FILTER)
        words_ms, _ = timed(lambda one: self.catalogue.lexical.search(one, self.caps.lexical), self.pieces)
        shelf_ms, shelves = timed(lambda at: self._shelf(at, NO_FILTER), range(len(self.queries)))
        recall = [self._nearest_of_all(*one) for one in zip(self.pooled, [everything] * len(near), near, strict=True)]
        return {
            "filter": "none",
            "items_that_pass": len(self.catalogue),
            "vector_ms": near_ms,
            "vector_recall": mean(recall),
            "lexical_ms": words_ms,
            "search_ms": shelf_ms,
            "places_filled": float(np.mean(shelves)) / LENGTH,
        }

    def _anew(self, wanted: Filter) -> Matching:
        self.catalogue.attributes.drop(len(self.catalogue.live))  # any change makes masks anew
        return self.catalogue.matching(wanted)

    def _shelf(self, at: int, wanted: Filter) -> int:
        ask = RankRequest("search", f"e{at}", NOW_MS, query=self.queries[at], filter=wanted)
        return len(self.recommender.recommend([ask], {}, NOW_MS).records[0].shelf.items)

    def _candidates(self, at: int) -> Slots:
        near = self.catalogue.vectors.search(self.pooled[at][None], self.caps.vector)[0]
        words = self.catalogue.lexical.search(self.pieces[at], self.caps.lexical)
        return np.unique(np.concatenate([near, words]))[: self.caps.total]

    def _nearest_of_all(self, pooled: Any, matching: Matching, found: Slots) -> float:
        slots, parts = matching.slots, []
        for start in range(0, len(slots), 1_024):
            parts.append(self.catalogue.item_store.pooled(slots[start : start + 1_024]) @ pooled)
        best = slots[np.argsort(-np.concatenate(parts))[: self.caps.vector]] if parts else slots
        return float(np.isin(best, found).mean()) if len(best) else 1.0

    def _sharing_of_all(self, pieces: Sequence[str], matching: Matching, found: Slots) -> float:
        best = matching.keep(self.catalogue.lexical.search(pieces, 16 * _MOST_POSTINGS))[: self.caps.lexical]
        return float(np.isin(best, found).mean()) if len(best) else 1.0


def timed(call: Callable[[Any], Any], inputs: Any) -> tuple[float, list[Any]]:
    """Median milliseconds of a call, and the results."""
    spent, made = [], []
    for one in inputs:
        begin = time.perf_counter()
        made.append(call(one))
        spent.append((time.perf_counter() - begin) * 1_000)
    return float(np.median(spent)), made


def mean(values: Any) -> float:
    """The mean of some numbers."""
    return float(np.mean(list(values)))


@smoke(items=1_000, reals=40, queries=5)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    items: Annotated[int, typer.Option(help="Items of the catalogue.")] = 100_000,
    reals: Annotated[int, typer.Option("--real", help="Real items; all others are made of them.")] = 1_500,
    queries: Annotated[int, typer.Option(help="Searches under each filter.")] = 100,
) -> None:
    """Measure, print a table, and write JSON where wanted."""
    limit_threads(1)
    with Progress(transient=True) as progress:
        bench = Bench(PricedGoods(icecat(data_folder(), reals), Encoder()), progress)
        bench.grow(items)
    trial = Trial(bench, queries)
    values = bench.catalogue.attributes.nbytes
    report = Report("filters", items=items, queries=queries, attribute_bytes_per_item=values / items)
    report.row(**trial.none())
    for share in SHARES:
        report.row(**trial.row(f"price, {share:.2%}", [{"price": {"max": share}}] * queries))
    report.row(**trial.row("brand of an item", [{"brand": one.brand} for one in trial.items]))
    report.row(**trial.none())
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
