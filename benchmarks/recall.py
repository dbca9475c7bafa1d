"""Do the candidates hold what the scorer would choose, and what does each source bring?

``python -m benchmarks.recall --json FILE``: over the Icecat catalogue, queries are three to five words of a title. For
each one the scorer ranks the whole catalogue; recall is the share of that top ten found among the candidates of each
source, and among their union. It cannot measure the sources that need shoppers: together and trending.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import typer

from benchmarks.data import data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke
from liveshelf.demo.catalogs import icecat
from models.encoder import Encoder
from models.item_store import ItemStore
from models.late_interaction import LateInteractionScorer
from models.scorer import ScoreRequest, utility
from streams.catalog.embedding import text
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex
from streams.config import CandidatesConfig, PolicyConfig
from streams.events.schema import Item
from streams.ranking.candidates import SourceRecall, unions

TOP = 10
BATCH = 256


class Bench:
    """The catalogue, encoded and indexed once."""

    def __init__(self, items: Sequence[Item], config: CandidatesConfig) -> None:
        self.titles = [item.title for item in items]
        self.config = config
        self.weights = dict[str, float](PolicyConfig().intent_weights.items())
        self.encoder = Encoder()
        self.memory = ItemStore(self.encoder.dim, self.encoder.token_dim, self.encoder.max_item_tokens)
        self.scorer = LateInteractionScorer(self.memory)
        self.vectors, self.lexical = VectorIndex(self.encoder.dim), LexicalIndex()
        texts = [text(item) for item in items]
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            slots, encoded = range(start, start + len(some)), self.encoder.encode_items(some)
            self.memory.put_many(slots, encoded)
            self.vectors.put_many(slots, np.stack([item.pooled for item in encoded]))
            for slot, pieces in zip(slots, self.encoder.word_pieces(some), strict=True):
                self.lexical.put(slot, pieces)
        self.lexical.commit()

    def measure(self, queries: Sequence[str], report: Report) -> None:
        """Add a row per source, and one for their union."""
        everything = np.arange(len(self.titles))
        recalls = defaultdict[str, list[float]](list)
        times = defaultdict[str, list[float]](list)
        shares, sizes = SourceRecall(), list[int]()
        encoded = self.encoder.encode_queries(queries)
        for query, pieces in zip(encoded, self.encoder.word_pieces(queries), strict=True):
            clock = [time.perf_counter()]
            near = self.vectors.search(query.pooled[None], self.config.vector)[0]
            clock.append(time.perf_counter())
            wordy = self.lexical.search(pieces, self.config.lexical)
            clock.append(time.perf_counter())
            [merged] = unions([{"vector": near, "lexical": wordy}], self.config)
            clock.append(time.perf_counter())
            worth = utility(self.scorer.score([ScoreRequest(everything, query)])[0], self.weights)
            best = np.argsort(-worth, kind="stable")[:TOP]
            for name, slots, ms in zip(
                ("vector", "lexical", "union"), (near, wordy, merged.slots), np.diff(clock) * 1_000, strict=True
            ):
                recalls[name].append(float(np.isin(best, slots).mean()))
                times[name].append(float(ms))
            shares.update(merged.sources[np.argsort(-worth[merged.slots], kind="stable")[:TOP]])
            sizes.append(len(merged))
        report.facts["mean_candidates"] = float(np.mean(sizes))
        by_source = {str(source): share for source, share in shares.get().items()}
        for name, values in recalls.items():
            share = by_source.get(name)
            report.row(
                source=name,
                recall_of_best_10=float(np.mean(values)),
                brought_of_final_10=share.brought if share else 1.0,
                brought_alone=share.alone if share else None,
                ms_p50=float(np.median(times[name])),
                ms_p99=float(np.quantile(times[name], 0.99)),
            )


def queries(titles: Sequence[str], count: int, seed: int) -> list[str]:
    """Three to five words of a title, in their order."""
    chance = Random(seed)
    made = []
    for title in chance.sample(titles, min(count, len(titles))):
        words = title.split()
        places = sorted(chance.sample(range(len(words)), min(chance.randint(3, 5), len(words))))
        made.append(" ".join(words[place] for place in places))
    return made


@smoke(count=10, items=100)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    count: Annotated[
        int, typer.Option("--queries", help="Queries; each costs a scoring of the whole catalogue.")
    ] = 200,
    items: Annotated[int, typer.Option(help="Items of the catalogue, at most.")] = 20_000,
    seed: int = 0,
) -> None:
    """Measure, print a table, and write JSON where wanted."""
    config = CandidatesConfig()
    bench = Bench(icecat(data_folder(), items), config)
    made = queries(bench.titles, count, seed)
    report = Report("recall", items=len(bench.titles), queries=len(made), vector=config.vector, lexical=config.lexical)
    bench.measure(made, report)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
