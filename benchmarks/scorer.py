"""How many (query, candidate) pairs a second does each scorer score, at 100 candidates a query?

The late-interaction scorer, the query's BERT pass included, beside the cross-encoder in torch, onnxruntime and
sentence-transformers. Real catalogue, same texts for all, interleaved rounds, medians. The cross-encoders read up to 64
tokens of query, title and description; ``short`` rows give them the title alone, where they are at their fastest.
"""

import contextlib
import io
import logging
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track

from benchmarks.data import Product, products
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.cross_encoder import BATCH, CrossEncoderScorer
from models.encoder import Encoder, Precision
from models.item_store import ItemStore
from models.late_interaction import LateInteractionScorer
from models.scorer import ScoreRequest

MAX_TOKENS = 64
LATE_BATCHES = (1, 8, 64)
LIBRARIES = {
    "onnxruntime float32": ("onnx", "onnxruntime", "onnxscript"),
    "sentence-transformers": ("sentence_transformers",),
}
"""What other engines of the cross-encoder need; an arm whose libraries are not installed is left out."""

Arm = Callable[[], int]
"""Scores something once and returns how many pairs it scored."""


class Workload:
    """Items, queries made from words of titles, and candidates, the same for every scorer."""

    def __init__(self, products: list[Product], candidates: int, seed: int = 0) -> None:
        chance = random.Random(seed)
        self.titles = [product.title for product in products]
        self.texts = [f"{product.title} {product.short_description}" for product in products]
        self.queries = [query_from(chance, chance.choice(self.titles)) for _ in range(max(LATE_BATCHES))]
        slots = np.random.default_rng(seed).integers(0, len(products), (len(self.queries), candidates))
        self.candidates = [np.sort(row) for row in slots]

    def pairs(self, texts: list[str]) -> list[tuple[str, str]]:
        """The first query with each of its candidates."""
        return [(self.queries[0], texts[slot]) for slot in self.candidates[0]]


def query_from(chance: random.Random, title: str) -> str:
    """Two to five words of a title, in their order.

    Examples
    --------
    >>> query_from(random.Random(1), "one two three four five six")
    'one three five'
    """
    words = title.split()
    kept = sorted(chance.sample(range(len(words)), min(len(words), chance.randint(2, 5))))
    return " ".join(words[place] for place in kept)


def late_arms(workload: Workload, precision: Precision, device: str) -> dict[str, Arm]:
    """The late-interaction scorer from query text to probabilities, by queries per call."""
    encoder = Encoder(precision=precision, device=device)
    memory = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
    memory.put_many(range(len(workload.texts)), encoder.encode_items(workload.texts))
    scorer = LateInteractionScorer(memory, precision=precision)

    def arm(queries: int) -> Arm:
        def score() -> int:
            encoded = encoder.encode_queries(workload.queries[:queries])
            scorer.score([ScoreRequest(*pair) for pair in zip(workload.candidates, encoded, strict=False)])
            return sum(map(len, workload.candidates[:queries]))

        return score

    label = "float32" if precision == "float32" else f"{str(encoder.dtype).removeprefix('torch.')}"
    return {f"late interaction, {label}, {queries} a call": arm(queries) for queries in LATE_BATCHES}


def cross_arms(workload: Workload, folder: Path, device: str) -> dict[str, Arm]:
    """The cross-encoder in every engine; all but ``short`` rows over the full texts."""
    arms: dict[str, Arm] = {}
    for precision in ("float32", "bfloat16"):
        for kind, texts in (("", workload.texts), (", short", workload.titles)):
            scorer = CrossEncoderScorer(texts.__getitem__, precision=precision, max_tokens=MAX_TOKENS, device=device)
            request = ScoreRequest(workload.candidates[0], query_text=workload.queries[0])
            arms[f"cross-encoder, torch {precision}{kind}"] = _scoring(workload, partial(scorer.score, [request]))
    if device != "cpu":
        return arms  # the other engines are a CPU's
    scorer = CrossEncoderScorer(workload.texts.__getitem__, precision="float32", max_tokens=MAX_TOKENS)
    scorer.model.save_pretrained(folder)
    scorer.tokenizer.save_pretrained(folder)
    pairs, absent = workload.pairs(workload.texts), missing()
    if "onnxruntime float32" not in absent:
        arms["cross-encoder, onnxruntime float32"] = _scoring(
            workload, onnx_scorer(scorer, pairs, folder / "model.onnx")
        )
    if "sentence-transformers" not in absent:
        arms["cross-encoder, sentence-transformers"] = _scoring(workload, sentence_transformers_scorer(folder, pairs))
    return arms


def missing() -> list[str]:
    """Engines whose libraries, of the extra ``bench``, are not installed."""
    return [engine for engine, names in LIBRARIES.items() if not all(map(find_spec, names))]


def _scoring(workload: Workload, score: Callable[[], object]) -> Arm:
    def arm() -> int:
        score()
        return len(workload.candidates[0])

    return arm


def onnx_scorer(scorer: CrossEncoderScorer, pairs: list[tuple[str, str]], path: Path) -> Callable[[], object]:
    """Export the cross-encoder and run it in onnxruntime with as many threads as torch has."""
    import onnxruntime

    def encode(batch: list[tuple[str, str]], tensors: str) -> Any:
        return scorer.tokenizer(
            batch, truncation="longest_first", max_length=MAX_TOKENS, padding=True, return_tensors=tensors
        )

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = encode(pairs[:4], "pt")
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=512)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            scorer.model,
            kwargs={name: example[name] for name in names},
            f=path,
            dynamic_shapes={name: {0: batch, 1: length} for name in names},
            dynamo=True,
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def score() -> None:
        order = sorted(pairs, key=lambda pair: len(pair[1]))
        for start in range(0, len(order), BATCH):
            inputs = encode(order[start : start + BATCH], "np")
            session.run(None, {name: inputs[name].astype(np.int64) for name in names})

    return score


def sentence_transformers_scorer(folder: Path, pairs: list[tuple[str, str]]) -> Callable[[], object]:
    """The same weights as a sentence-transformers ``CrossEncoder``."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), num_labels=4, max_length=MAX_TOKENS, device="cpu")
    return lambda: model.predict(pairs, batch_size=BATCH, show_progress_bar=False)


def measure(arms: dict[str, Arm], rounds: int, round_s: float) -> dict[str, list[float]]:
    """Pairs per second of every arm in every round; within a round an arm runs until it has had ``round_s``."""
    for name in track(arms, "warming up"):
        for _ in range(2):
            arms[name]()
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for _ in track(range(rounds), "measuring"):
        for name, arm in arms.items():
            pairs, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < round_s or not pairs:
                pairs += arm()
            rates[name].append(pairs / spent)
    return rates


@smoke(items=40, candidates=10, rounds=1, round_s=0.0)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    items: Annotated[int, typer.Option(help="Items in memory.")] = 2_000,
    candidates: Annotated[int, typer.Option(help="Of each query.")] = 100,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; the median counts.")] = 9,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    round_s: Annotated[float, typer.Option(help="Seconds of an arm in a round, at least one call.")] = 0.4,
) -> None:
    """Measure and print; under four minutes on two cores."""
    logging.disable(logging.WARNING)
    workload = Workload(products(items), candidates)
    with tempfile.TemporaryDirectory() as folder:
        arms = late_arms(workload, "auto", device) | late_arms(workload, "float32", device)
        arms |= cross_arms(workload, Path(folder), device)
        rates = measure(arms, rounds, round_s)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    full = {name: rate for name, rate in medians.items() if name.startswith("cross") and "short" not in name}
    short = {name: rate for name, rate in medians.items() if name.startswith("cross") and "short" in name}
    report = Report(
        "scorer",
        device=device,
        candidates=candidates,
        items=len(workload.texts),
        rounds=rounds,
        best_cross_encoder=max(full, key=full.__getitem__),
    )
    if device == "cpu" and (absent := missing()):
        report.facts["left_out"] = f"{', '.join(absent)}: not installed"
    for name, rate in medians.items():
        report.row(
            scorer=name,
            pairs_per_s=rate,
            ms_per_query=1000 * candidates / rate,
            slowest_round=min(rates[name]),
            fastest_round=max(rates[name]),
            times_best_cross_encoder=rate / max(full.values()),
            times_best_short=rate / max(short.values()),
        )
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
