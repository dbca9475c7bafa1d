"""Which loss should a scorer be trained with?

The head on Home Depot's training pairs by each loss and by sums of them, means over seeds; dev is for measuring
alone. The teacher's logits are those that ``benchmarks.quality --work`` leaves behind when it has trained the
cross-encoder; without them the arms with ``distil`` are left out.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console

from benchmarks.quality import HELD, SPAN, pairs
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, split
from models.training.figures import figures
from models.training.run import Run

FIGURES = ("spearman", "rmse", "ndcg_10", "ece")
ARMS: tuple[Mapping[str, float], ...] = (
    {"cross_entropy": 1.0},
    {"graded": 4.0},
    {"listwise": 1.0},
    {"cross_entropy": 1.0, "graded": 4.0},
    {"cross_entropy": 1.0, "graded": 16.0},
    {"cross_entropy": 1.0, "listwise": 1.0},
    {"cross_entropy": 1.0, "graded": 4.0, "listwise": 0.3},
    {"distil": 1.0},
    {"cross_entropy": 1.0, "distil": 1.0},
    {"cross_entropy": 1.0, "graded": 4.0, "distil": 1.0},
    {"cross_entropy": 1.0, "graded": 4.0, "distil": 4.0},
)


@smoke(seeds=1, limit=100)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each arm.")] = 2,
    limit: Annotated[int | None, typer.Option(help="Train on so many pairs only.")] = None,
    work: Annotated[Path | None, typer.Option(help="Where the teacher is, and encoded items are kept.")] = None,
) -> None:
    """Measure and print; half an hour on two cores with a teacher, once items are encoded."""
    console = Console(stderr=True)
    examples, dev = pairs("train", limit), pairs("dev", limit and limit // 5)
    teacher = work / "taught.json" if work else None
    taught = teacher is not None and teacher.is_file()
    if taught and teacher is not None:
        examples = msgspec.json.decode(teacher.read_bytes(), type=list[Example])[:limit]
    train, held = split(examples, HELD)
    report = Report("losses", data="Home Depot", train_pairs=len(train), seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder()
        items = FrozenItems(encoder, {one.item for one in (*examples, *dev)}, (work or Path(folder)) / "items")
        for losses in ARMS:
            if "distil" in losses and not taught:
                continue
            found = []
            for seed in range(seeds):
                config = TrainConfig(
                    losses=losses, seed=seed, folder=Path(folder) / "run", report_to=(), evaluations=1, progress=False
                )
                run = Run(encoder, config, items=items)
                found.append(figures(*run.logits(run.train(train, held).tower, dev)))
            row = {
                name: float(np.mean([one[name] for one in found])) for name in ("spearman", "rmse", "ndcg_10", "ece")
            }
            row["rmse"] *= SPAN
            row["spread"] = float(np.std([one["spearman"] for one in found]))
            report.row(losses=" + ".join(f"{weight:g} {name}" for name, weight in losses.items()), **row)
            console.print(losses, row)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
