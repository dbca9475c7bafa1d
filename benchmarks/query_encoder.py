"""What does a smaller query encoder cost, and what does it lose? Layers against quality on Home Depot.

``python -m benchmarks.query_encoder --json F``. For each number of layers the encoder of queries is distilled from the
one of items (``liveshelf train --method query_encoder``), then the head is trained on the same pairs; the first row is
the whole encoder with a trained head. Milliseconds are of one query of the dev split a call, one thread, medians.
"""

import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.quality import HELD, pairs
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.training.config import TrainConfig
from models.training.examples import split
from models.training.figures import figures
from models.training.run import Run

CALLS = 200
WARM = 20


def milliseconds(encoder: Encoder, queries: Sequence[str], at_once: int) -> float:
    """The median time of a query where so many are encoded in a call."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took, texts = list[float](), cycle(queries)
    for number in range(WARM + CALLS):
        some = list(islice(texts, at_once))
        began = time.perf_counter()
        encoder.encode_queries(some)
        if number >= WARM:
            took.append((time.perf_counter() - began) * 1000 / at_once)
    torch.set_num_threads(threads)
    return median(took)


def measured(layers: int, work: Path, limit: int | None, passes: float | None) -> dict[str, Value]:
    """A row; no layers: the whole encoder."""
    examples, dev = pairs("train", limit), pairs("dev", limit and limit // 5)
    kept, held = split(examples, HELD)
    config = TrainConfig(
        method="query_encoder" if layers else "head",
        layers=layers or 1,
        passes=passes,
        folder=work / f"layers-{layers}",
        items_folder=work / "items",
        report_to=(),
        evaluations=1,
        progress=False,
    )
    run = Run(Encoder(), config)
    trained = run.train(kept, held)
    told = figures(*run.logits(trained.tower, dev))
    untrained = Run(run.encoder, TrainConfig(folder=work / "untrained", items_folder=work / "items", report_to=()))
    start = figures(*untrained.logits(untrained.tower(), dev))
    queries = sorted({one.query for one in dev})
    return {
        "layers": layers or int(run.encoder.config.num_hidden_layers),
        "own": bool(layers),
        "ms_alone": milliseconds(run.encoder, queries, 1),
        "ms_of_8": milliseconds(run.encoder, queries, 8),
        "cosine": trained.metrics.get("query_cosine", 1.0),
        "token_cosine": trained.metrics.get("query_token_cosine", 1.0),
        "spearman_untrained": start["spearman"],
        "spearman": told["spearman"],
        "ndcg_10": told["ndcg_10"],
        "distil_s": trained.seconds.get("distil", 0.0),
    }


@smoke(layers=[1], limit=100, passes=0.1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    layers: Annotated[list[int] | None, typer.Option(help="Of the small encoders; repeatable. 1, 2, 3, 4.")] = None,
    limit: Annotated[int | None, typer.Option(help="Train on so many pairs only.")] = None,
    passes: Annotated[float | None, typer.Option(help="How often a student reads each text.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keep encoded items and students here.")] = None,
) -> None:
    """Distil, train, measure; about half an hour for each number of layers on two cores."""
    report, console = Report("query_encoder", data="Home Depot"), Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        for count in (0, *(layers or (4, 3, 2, 1))):
            console.print(f"{count} layers …" if count else "the whole encoder …")
            found = measured(count, work or Path(folder), limit, passes)
            console.print(found)
            report.row(**found)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
