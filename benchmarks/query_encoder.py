"""What does a smaller query encoder cost, and what does it lose? Layers and number formats against quality.

``python -m benchmarks.query_encoder --json F``, on Home Depot. For each number of layers the encoder of queries is
distilled from the one of items (``liveshelf train --method query_encoder``), then the head is trained on the same
pairs; the first row is the whole encoder with a trained head. ``int8`` is the same head with queries by OpenVINO.
``--times`` only measures how long a query takes by layers and formats, with some of the packaged encoder's layers as
they are: one thread, calls in a row, some of each encoder by turns. ``ms`` are medians; ``quiet_ms`` the processor time
that nine of ten calls exceed, which other work on the machine changes least.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import nn

from benchmarks.quality import HELD, pairs
from benchmarks.report import Report, Value
from benchmarks.smoke import smoke
from models import cpu
from models.encoder import Encoder, choose_device, choose_dtype
from models.training.config import TrainConfig
from models.training.examples import split
from models.training.figures import figures
from models.training.query_encoder import spread
from models.training.run import Run
from models.training.towers import fresh_bert
from models.weights import PACKAGED

CALLS = 200

EIGHT_TOKENS = "outdoor ceiling fan with remote control"
"""Six pieces and the two special ones."""

MORE = ("garden hose 50 ft", "light bulb led", "deck stain", "saw blade", "toilet seat", "ceiling tile", "drill")
LOT = (EIGHT_TOKENS, *MORE)

IN_A_ROW = 10
"""Calls of an encoder before the next one's turn; one more before them is not measured."""


def milliseconds(encoders: Mapping[str, Encoder], texts: Sequence[str], calls: int = CALLS) -> dict[str, list[float]]:
    """For each encoder the median time of a call, and the processor time that nine of ten exceed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    for _ in range(-(-calls // IN_A_ROW)):
        for name, encoder in encoders.items():
            for number in range(IN_A_ROW + 1):
                began, busy = time.perf_counter(), time.process_time()
                encoder.encode_queries(texts)
                if number:
                    took[name].append((time.perf_counter() - began, time.process_time() - busy))
    torch.set_num_threads(threads)
    return {
        name: [1_000 * median(wall for wall, _ in rows), 1_000 * sorted(busy for _, busy in rows)[len(rows) // 10]]
        for name, rows in took.items()
    }


def ways() -> dict[str, dict[str, Any]]:
    """Number formats that this machine has, and how an encoder is asked for them."""
    found: dict[str, dict[str, Any]] = {"float32": {"precision": "float32"}}
    if choose_dtype("auto", choose_device("cpu")) is torch.bfloat16:
        found["bfloat16"] = {"precision": "bfloat16"}
    if find_spec("openvino"):
        found["int8"] = {"precision": "float32", "query_engine": "openvino"}
    return found


def cut(layers: int, folder: Path) -> Path:
    """Save an encoder of some of the packaged one's layers, as they are."""
    bert: Any = fresh_bert(PACKAGED)
    kept = spread(layers, bert.config.num_hidden_layers)
    bert.encoder.layer = nn.ModuleList(bert.encoder.layer[number] for number in kept)
    bert.config.num_hidden_layers = layers
    bert.save_pretrained(folder)
    return folder


def times(report: Report, layers: Sequence[int], work: Path, calls: int) -> None:
    """A row for each number of layers and format."""
    cpu.limit_threads(1)
    encoders: dict[str, Encoder] = {}
    for count in layers:
        small = cut(count, work / f"cut-{count}")
        encoders |= {f"{count} {name}": Encoder(adapter=small, **how) for name, how in ways().items()}
    alone, of_8 = milliseconds(encoders, [EIGHT_TOKENS], calls), milliseconds(encoders, LOT, calls)
    for name, encoder in encoders.items():
        layers_of, _, way = name.partition(" ")
        exact = encoders[f"{layers_of} float32"].encode_queries(LOT)
        near = [float(one.pooled @ own.pooled) for one, own in zip(exact, encoder.encode_queries(LOT), strict=True)]
        report.row(
            layers=int(layers_of),
            format=way,
            ms_alone=alone[name][0],
            quiet_ms_alone=alone[name][1],
            ms_each_of_8=of_8[name][0] / len(LOT),
            quiet_ms_each_of_8=of_8[name][1] / len(LOT),
            cosine_to_float32=sum(near) / len(near),
        )


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
    whole = {"spearman": told["spearman"], "ndcg_10": told["ndcg_10"]}
    if find_spec("openvino"):
        quick = Encoder(adapter=run.encoder.adapter, query_engine="openvino")
        by_int8 = figures(*Run(quick, untrained.config).logits(trained.tower, dev))
        whole |= {"spearman_int8": by_int8["spearman"], "ndcg_10_int8": by_int8["ndcg_10"]}
    return {
        "layers": layers or int(run.encoder.config.num_hidden_layers),
        "own": bool(layers),
        "cosine": trained.metrics.get("query_cosine", 1.0),
        "token_cosine": trained.metrics.get("query_token_cosine", 1.0),
        "spearman_untrained": start["spearman"],
        **whole,
        "distil_s": trained.seconds.get("distil", 0.0),
    }


@smoke(layers=[1], limit=100, passes=0.1, calls=2)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    layers: Annotated[list[int] | None, typer.Option(help="Of the small encoders; repeatable. 1, 2, 3, 4.")] = None,
    limit: Annotated[int | None, typer.Option(help="Train on so many pairs only.")] = None,
    passes: Annotated[float | None, typer.Option(help="How often a student reads each text.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keep encoded items and students here.")] = None,
    times_only: Annotated[bool, typer.Option("--times", help="Measure time alone; a minute.")] = False,
    calls: Annotated[int, typer.Option(help="Calls that the times are medians of.")] = CALLS,
) -> None:
    """Distil, train, measure; about half an hour for each number of layers on two cores."""
    report, console = Report("query_encoder", data="Home Depot"), Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        if times_only:
            times(report, layers or (1, 2, 3, 4, 6), Path(folder), calls)
        for count in () if times_only else (0, *(layers or (4, 3, 2, 1))):
            console.print(f"{count} layers …" if count else "the whole encoder …")
            found = measured(count, work or Path(folder), limit, passes)
            console.print(found)
            report.row(**found)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
