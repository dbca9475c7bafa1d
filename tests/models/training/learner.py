"""A program that trains, to be killed: its arguments are a folder with examples, and ``--resume`` where it goes on."""

import sys
from pathlib import Path

import msgspec
import torch

from models.encoder import Encoder
from models.training.config import TrainConfig
from models.training.examples import Example
from models.training.run import Run


def main() -> None:
    """Sixteen epochs in one thread."""
    folder = Path(sys.argv[1])
    examples = msgspec.json.decode((folder / "examples.json").read_bytes(), type=list[Example])
    torch.set_num_threads(1)
    config = TrainConfig(
        folder=folder / "run",
        epochs=16,
        contexts=8,
        report_to=(),
        progress=False,
        evaluations=40,
        resume="--resume" in sys.argv,
    )
    Run(Encoder(precision="float32"), config).train(examples, examples[:30]).save(folder / "saved")
