"""How good does a scorer get from 8, 32, 128 and 512 labelled pairs?

Home Depot; by pairs labelled and seed: plain fine-tuning of a cross-encoder with a fresh classifier, and of the encoder
and head; the head alone; the described intents without any training, their scales fitted to the labels; and the head
trained on the labels and on unlabelled pairs that the described intents labelled. Dev queries are for measuring alone.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.quality import SPAN, pairs
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.scorer import Floats
from models.training import calibration
from models.training.batches import FrozenItems, ordered
from models.training.config import TrainConfig
from models.training.descriptions import Descriptions, described, label
from models.training.examples import Example, by_context
from models.training.figures import figures
from models.training.method import Method
from models.training.methods import RECIPES
from models.training.run import Run

LABELS = (8, 32, 128, 512)

Predict = Callable[[Sequence[Example], int], tuple[Floats, Floats]]


class Arms:
    """Ways to learn from few labels; each gives the dev pairs' logits and labels."""

    def __init__(self, work: Path, dev: Sequence[Example], unlabelled: Sequence[Example], steps: int) -> None:
        self.work, self.dev, self.unlabelled, self.steps = work, dev, unlabelled, steps
        self.encoder = Encoder()
        self.items = FrozenItems(self.encoder, {one.item for one in (*pairs("train", POOL), *dev)}, work / "items")
        self.untrained = self.run("head")
        self.tower = self.untrained.tower()

    def run(self, method: Method, labels: int = 0, seed: int = 0) -> Run:
        """A run that makes so many steps at least over so many labels."""
        recipe = RECIPES[method]
        per_epoch = max(1, labels // (4 * recipe.contexts))
        config = TrainConfig(
            method=method,
            epochs=max(recipe.epochs, round(self.steps / per_epoch)) if labels else None,
            folder=self.work / "run",
            report_to=(),
            evaluations=1,
            seed=seed,
            progress=False,
        )
        return Run(self.encoder if method == "head" else Encoder(), config, items=self.items)

    def untrained_scorer(self, some: Sequence[Example], seed: int) -> tuple[Floats, Floats]:  # noqa: ARG002
        """Its probabilities brought to the labels' size, and nothing else."""
        logits, labels = self.untrained.logits(self.tower, self.dev)
        return calibration.fit(*self._targets(some, self.untrained.logits(self.tower, some)[0]))(logits), labels

    def descriptions(self, some: Sequence[Example], seed: int) -> tuple[Floats, Floats]:  # noqa: ARG002
        """Each intent by its description, scales fitted to the labels."""
        fitted = calibration.fit(*self._targets(some, described(self.untrained, self.tower, some, Descriptions())))
        labels = self.untrained.logits(self.tower, self.dev)[1]
        return fitted(described(self.untrained, self.tower, self.dev, Descriptions())), labels

    def fine_tuned(self, method: Method) -> Predict:
        """Trained on the labels; they calibrate it too, as there are no others."""

        def predict(some: Sequence[Example], seed: int) -> tuple[Floats, Floats]:
            run = self.run(method, len(some), seed)
            return run.logits(run.train(some, some).tower, self.dev)

        return predict

    def head_and_descriptions(self, some: Sequence[Example], seed: int) -> tuple[Floats, Floats]:
        """The head on labels and on pairs that the descriptions labelled."""
        mixed = label(self.untrained, self.tower, some, self.unlabelled, Descriptions())
        run = self.run("head", len(some), seed)
        run.config = replace(run.config, epochs=None)
        return run.logits(run.train(mixed, some).tower, self.dev)

    def _targets(self, some: Sequence[Example], logits: Floats) -> tuple[Floats, Floats]:
        return logits, np.stack([one.target() for one in ordered(some, self.untrained.config.most_items)])


POOL = 4_000
"""Pairs of the training split that labels and unlabelled pairs are drawn from."""


def draw(groups: Sequence[list[Example]], count: int, seed: int) -> list[Example]:
    """Whole queries until there are so many pairs, then cut."""
    order = np.random.default_rng(seed).permutation(len(groups))
    return [one for number in order for one in groups[number]][:count]


@smoke(seeds=1, dev_pairs=60, steps=2, labels=[8])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    seeds: Annotated[int, typer.Option(help="Draws of labels.")] = 3,
    dev_pairs: Annotated[int, typer.Option(help="Pairs to measure on.")] = 1_500,
    only: Annotated[list[str] | None, typer.Option(help="Arms; repeatable.")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps at least: few pairs are gone over more often.")] = 40,
    labels: Annotated[list[int] | None, typer.Option(help="Numbers of labelled pairs; repeatable.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keep encoded items here.")] = None,
) -> None:
    """Measure and print; about half an hour on two cores."""
    report = Report("few_labels", data="Home Depot", seeds=seeds, dev_pairs=dev_pairs, unlabelled=POOL // 2)
    console = Console(stderr=True)
    groups = by_context(pairs("train", POOL))
    half = len(groups) // 2
    with tempfile.TemporaryDirectory() as folder:
        unlabelled = [one for group in groups[half:] for one in group]
        arms = Arms(work or Path(folder), pairs("dev", dev_pairs), unlabelled, steps)
        ways: dict[str, Predict] = {
            "untrained": arms.untrained_scorer,
            "descriptions": arms.descriptions,
            "cross_encoder": arms.fine_tuned("cross_encoder"),
            "full": arms.fine_tuned("full"),
            "head": arms.fine_tuned("head"),
            "head + descriptions": arms.head_and_descriptions,
        }
        for name, predict in ways.items():
            if only and name not in only:
                continue
            for count in labels or LABELS:
                found = [figures(*predict(draw(groups[:half], count, seed), seed)) for seed in range(seeds)]
                row = {
                    "spearman": float(np.mean([one["spearman"] for one in found])),
                    "spread": float(np.std([one["spearman"] for one in found])),
                    "rmse": SPAN * float(np.mean([one["rmse"] for one in found])),
                    "log_loss": float(np.mean([one["log_loss"] for one in found])),
                }
                report.row(arm=name, labels=count, **row)
                console.print(name, count, row)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
