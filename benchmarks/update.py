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

from benchmarks.data import TRAIN, data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke


def train(folder: Path, *options: str) -> float:
    """Run the command in a folder; seconds."""
    file, columns = str(data_folder() / TRAIN), ("--map", "item=title", "--map", "grade=relevance")
    command = [sys.executable, "-m", "liveshelf", "train", file, *columns, "--grades", "1:3", "--report-to", "none"]
    start = time.perf_counter()
    subprocess.run(
        [*command, *options],
        check=True,
        cwd=folder,
        stdout=sys.stderr,
        env=os.environ | {"LIVESHELF_MODEL__STORE": str(folder / "store")},
    )
    return time.perf_counter() - start


@smoke(new=60, old=40, repeats=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    new: Annotated[int, typer.Option(help="Pairs of an update.")] = 5_000,
    old: Annotated[int, typer.Option(help="Pairs of the version before.")] = 1_000,
    repeats: Annotated[int, typer.Option(help="Updates with items encoded already.")] = 5,
) -> None:
    """Measure and print; three minutes on two cores."""
    report = Report("update", data="Home Depot", examples=new)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder, "--limit", str(old))
        [first] = (path.name for path in (folder / "store" / "versions").iterdir())
        update = ("--limit", str(new), "--parent", first)
        cold = train(folder, *update)
        warm = [train(folder, *update) for _ in range(repeats)]
        report.row(items="encoded now", seconds=cold, slowest=cold)
        report.row(items="encoded already", seconds=float(np.median(warm)), slowest=max(warm))
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
