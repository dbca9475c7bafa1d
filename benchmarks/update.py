"""How long does an incremental update of the head take?

``liveshelf train`` as a process of its own, from its start to the stored version: 5,000 of Home Depot's pairs on top of
a version trained before, first with items that nobody has encoded yet, then, several times, with items encoded already,
as they are in a running shop.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.report import DATA, Report

NEW, OLD = 5_000, 1_000
FILE = DATA / "homedepot" / "train.jsonl.xz"


def train(folder: Path, *options: str) -> float:
    """Run the command in a folder; seconds."""
    command = [sys.executable, "-m", "liveshelf", "train", str(FILE), "--map", "item=title", "--map", "grade=relevance"]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--grades", "1:3", "--report-to", "none", *options],
        check=True,
        cwd=folder,
        stdout=sys.stderr,
        env=os.environ | {"LIVESHELF_MODEL__STORE": str(folder / "store")},
    )
    return time.perf_counter() - start


def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    repeats: Annotated[int, typer.Option(help="Updates with items encoded already.")] = 5,
) -> None:
    """Measure and print; three minutes on two cores."""
    report = Report("update", data="Home Depot", examples=NEW)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder, "--limit", str(OLD))
        [first] = (path.name for path in (folder / "store" / "versions").iterdir())
        update = ("--limit", str(NEW), "--parent", first)
        cold = train(folder, *update)
        warm = [train(folder, *update) for _ in range(repeats)]
        report.row(items="encoded now", seconds=cold, slowest=cold)
        report.row(items="encoded already", seconds=float(np.median(warm)), slowest=max(warm))
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
