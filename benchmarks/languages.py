"""How well are items found in other languages than English, and what does the multilingual encoder cost?

A bilingual catalogue of 300 items (titles in English, in Chinese, or in both: ``languages_items.tsv``) is searched by
100 queries in Chinese, German, Japanese, Spanish, and mixed ones (``languages_queries.tsv``, with the items that are
right). Each encoder's untrained scorer ranks the candidates of the vector index, and those of both indexes; BM25 over
the same terms is the baseline. English quality is that of Home Depot's dev pairs, untrained and with a trained head.
Each encoder runs in a process of its own, so that its memory is its own. The multilingual one runs where
``LIVESHELF_MULTILINGUAL`` names its folder.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import binomtest

from benchmarks.quality import pairs
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from models.conventions import PRESETS
from models.cpu import limit_threads
from models.encoder import Encoder
from models.item_store import ItemStore
from models.late_interaction import LateInteractionScorer
from models.measures.ranking import rank_correlation
from models.scorer import ScoreRequest, utility
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import expected_level
from models.training.figures import figures, probabilities
from models.training.run import Run
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex
from streams.config import CandidatesConfig, ModelConfig, PolicyConfig
from streams.ranking.candidates import unions

ALL = "all"
TOP = 5
RESAMPLES = 200
HELD = 0.1
"""Of the training queries: what the head's probabilities are calibrated on."""

Slots = NDArray[np.int64]
Row = dict[str, Value]


class Asked(NamedTuple):
    """A query, its language, and the places of the items that are right."""

    language: str
    text: str
    right: frozenset[int]


def catalogue() -> tuple[list[str], list[Asked]]:
    """The items' titles, and the queries.

    Examples
    --------
    >>> titles, asked = catalogue()
    >>> len(titles), len(asked), asked[0].text, [titles[place] for place in asked[0].right]
    (300, 100, '牛奶 儿童', ['儿童成长牛奶 190ml 12盒'])
    """
    items, queries = (
        [line.split("\t") for line in Path(__file__).with_name(f"languages_{name}.tsv").read_text("utf-8").splitlines()]
        for name in ("items", "queries")
    )
    places = {item: place for place, (item, _) in enumerate(items)}
    asked = [Asked(language, text, frozenset(map(places.__getitem__, ids.split()))) for language, text, ids in queries]
    return [title for _, title in items], asked


class Shop:
    """The catalogue, encoded and indexed by one encoder."""

    def __init__(self, encoder: Encoder, titles: Sequence[str]) -> None:
        self.encoder, self.config = encoder, CandidatesConfig()
        self.weights = dict[str, float](PolicyConfig().intent_weights.items())
        self.vectors, self.lexical = VectorIndex(encoder.dim), LexicalIndex()
        store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
        encoded, places = encoder.encode_items(titles), range(len(titles))
        store.put_many(places, encoded)
        self.vectors.put_many(places, np.stack([item.pooled for item in encoded]))
        for place, terms in zip(places, encoder.word_pieces(titles), strict=True):
            self.lexical.put(place, terms)
        self.lexical.commit()
        self.scorer = LateInteractionScorer(store)

    def by_words(self, text: str) -> Slots:
        """BM25 alone, best first."""
        return self.lexical.search(self.encoder.word_pieces([text])[0], self.config.lexical)

    def by_vectors(self, text: str) -> Slots:
        """The candidates of the vector index as the scorer ranks them."""
        return self._ranked(text, lexical=False)

    def by_both(self, text: str) -> Slots:
        """The candidates of both indexes as the scorer ranks them."""
        return self._ranked(text, lexical=True)

    def _ranked(self, text: str, lexical: bool) -> Slots:
        [query] = self.encoder.encode_queries([text])
        near = self.vectors.search(query.pooled[None], self.config.vector)[0]
        words = self.by_words(text) if lexical else np.empty(0, np.int64)
        found = unions([{"vector": near, "lexical": words}], self.config)[0].slots
        [scores] = self.scorer.score([ScoreRequest(found, query, text)])
        ranked: Slots = found[np.argsort(-utility(scores, self.weights), kind="stable")]
        return ranked


def hits(asked: Sequence[Asked], search: Callable[[str], Slots]) -> list[Row]:
    """Shares of queries with a right item first and among the first five, with 95 % intervals (Wilson 1927), of all
    queries and of each language's."""
    found_first = [search(one.text)[:TOP].tolist() for one in asked]
    first, five = (
        np.array([bool(one.right & set(slots[:top])) for one, slots in zip(asked, found_first, strict=True)])
        for top in (1, TOP)
    )
    languages = np.array([one.language for one in asked])
    found: list[Row] = []
    for language in (ALL, *dict.fromkeys(languages.tolist())):
        there = (languages == language) | (language == ALL)
        row: Row = {"language": language, "queries": int(there.sum())}
        for name, hit in (("hit_1", first[there]), (f"hit_{TOP}", five[there])):
            interval = binomtest(int(hit.sum()), len(hit)).proportion_ci(method="wilson")
            row |= {name: float(hit.mean()), f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}
        found.append(row)
    return found


def english(encoder: Encoder, limit: int, seed: int = 0) -> list[Row]:
    """Home Depot's dev pairs ranked without training, and by a head that was trained on so many pairs."""
    train, dev = pairs("train", limit), pairs("dev", None if limit >= 1_000 else limit)
    held = max(1, int(len(train) * HELD))
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        items = FrozenItems(encoder, {one.item for one in (*train, *dev)})
        config = TrainConfig(method="head", folder=Path(folder), report_to=(), evaluations=1, progress=False)
        run = Run(encoder, config, items=items)
        trained = run.train(train[:-held], train[-held:])
        for scorer, tower in (("untrained", run.tower()), ("head", trained.tower)):
            logits, labels = run.logits(tower, dev)
            predicted, actual = expected_level(probabilities(logits)), expected_level(labels[:, :4])
            groups = labels[:, 5].astype(np.int64)
            rows = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.unique(groups, return_counts=True)[1])[:-1])
            chance = np.random.default_rng(seed)
            spread = [
                rank_correlation(predicted[drawn], actual[drawn])
                for drawn in (
                    np.concatenate([rows[place] for place in chance.integers(0, len(rows), len(rows))])
                    for _ in range(RESAMPLES)
                )
            ]
            low, high = np.quantile(spread, [0.025, 0.975])
            told = figures(logits, labels)
            found.append(
                {
                    "scorer": scorer,
                    "pairs": len(dev),
                    "spearman": told["spearman"],
                    "spearman_low": float(low),
                    "spearman_high": float(high),
                    "ndcg_10": told["ndcg_10"],
                }
            )
    return found


def cost(load: Callable[[], Encoder], titles: Sequence[str], asked: Sequence[Asked]) -> tuple[Encoder, Row]:
    """Load an encoder; returns it, and what it takes: resident memory, and processor time to load, of single queries
    and of items."""
    memory, began = psutil.Process().memory_info().rss, time.process_time()
    encoder = load()
    loaded = time.process_time() - began
    encoder.warm_up(1)
    began = time.process_time()
    encoder.encode_items(titles)
    per_item = (time.process_time() - began) / len(titles)
    encode, terms = [], []
    for one in asked:
        clock = [time.process_time()]
        encoder.encode_queries([one.text])
        clock.append(time.process_time())
        encoder.word_pieces([one.text])
        clock.append(time.process_time())
        encode.append(1_000 * (clock[1] - clock[0]))
        terms.append(1_000 * (clock[2] - clock[1]))
    return encoder, {
        "load_s": loaded,
        "memory_mb": (psutil.Process().memory_info().rss - memory) / 1e6,
        "query_ms_p50": float(np.median(encode)),
        "query_ms_p95": float(np.quantile(encode, 0.95)),
        "terms_ms_p50": float(np.median(terms)),
        "items_per_s": 1 / per_item,
    }


def run_arm(preset: str, weights: str, limit: int, count: int) -> list[Row]:
    """Measure one encoder in this process."""
    import transformers.models.bert.modeling_bert  # noqa: F401  - its memory is not the encoder's

    limit_threads(ModelConfig().threads)  # as in a worker
    titles, asked = catalogue()
    asked = asked[:: max(1, len(asked) // count)]
    said = PRESETS[preset].conventions
    encoder, took = cost(lambda: Encoder(weights, said=said), titles, asked)
    shop = Shop(encoder, titles)
    found: list[Row] = [{"part": "cost", "encoder": preset, **took}]
    for name, search in (("bm25", shop.by_words), ("vector", shop.by_vectors), ("vector+lexical", shop.by_both)):
        found += [{"part": "search", "encoder": preset, "by": name, **row} for row in hits(asked, search)]
    if limit:
        found += [{"part": "English (Home Depot)", "encoder": preset, **row} for row in english(encoder, limit)]
    return found


@smoke(limit=40, count=10)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    limit: Annotated[int, typer.Option(help="Home Depot's pairs to train a head on; 0 leaves English out.")] = 4_000,
    count: Annotated[int, typer.Option("--queries", help="Queries, at most.")] = 100,
    multilingual: Annotated[
        str | None, typer.Option(envvar="LIVESHELF_MULTILINGUAL", help="The model's folder.")
    ] = None,
    arm: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure and print; about fifteen minutes on two cores."""
    chosen = {"english": ModelConfig().weights} | ({"multilingual": multilingual} if multilingual else {})
    if arm is not None and json is not None:
        json.write_bytes(msgspec.json.encode(run_arm(arm, chosen[arm], limit, count)))
        return
    console = Console(stderr=True)
    if multilingual is None:
        console.print("LIVESHELF_MULTILINGUAL names no folder: only the English encoder is measured")
    titles, asked = catalogue()
    report = Report("languages", items=len(titles), queries=len(asked), train_pairs=limit)
    with tempfile.TemporaryDirectory() as folder:
        for preset, weights in chosen.items():
            out = Path(folder) / f"{preset}.json"
            console.print(f"{preset} …")
            command = [sys.executable, "-m", "benchmarks.languages", "--arm", preset, "--json", str(out)]
            command += ["--limit", str(limit), "--queries", str(count)]
            command += ["--multilingual", weights] if preset == "multilingual" else []
            subprocess.run(command, check=True, stdout=sys.stderr)
            for row in msgspec.json.decode(out.read_bytes(), type=list[Row]):
                report.row(**row)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
