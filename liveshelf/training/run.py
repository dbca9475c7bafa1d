"""``liveshelf train``: labelled examples in, a version in the store out, with its metrics on the terminal.

Connects models, training and the store; no other module knows all three.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from rich.text import Text

from liveshelf.settings import Settings
from liveshelf.terminal import figure
from liveshelf.training.steps import Step
from models.intents import INTENTS
from models.scorer import Floats
from models.store import Manifest, ModelStore
from models.store.manifest import Data
from models.store.parts import Parts, parts
from models.training import version
from models.training.calibration import reliability
from models.training.config import TrainConfig
from models.training.examples import Example, read_examples, split
from models.training.figures import probabilities
from models.training.ranker_update import updated
from models.training.run import Trained
from models.training.search import Searched, search
from models.training.served_feeds import FeedSlices
from models.training.start import Start
from streams.features.behaviour import FEATURES
from streams.serving.loaded_model import feed_ranker

DEV_SHARE = 0.1


class Examples(Protocol):
    """Where examples come from: a :class:`Source`, or a :class:`liveshelf.training.data.LabelledFiles`."""

    @property
    def name(self) -> str:
        """Their name in the manifest."""

    @property
    def window(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last time of the events behind them, if known."""

    @property
    def feeds(self) -> FeedSlices:
        """Feeds of the same time, as they were served, for the ranker; none where they are not known."""

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and others to judge by."""


@dataclass(frozen=True, slots=True)
class Source:
    """Files of examples, and how to read them; without a dev file, a tenth of the contexts is set aside."""

    train: Path
    dev: Path | None = None
    fields: Mapping[str, str] | None = None
    grades: tuple[float, float] = (0.0, 1.0)
    limit: int | None = None
    window: tuple[datetime | None, datetime | None] = (None, None)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.train.name

    @property
    def feeds(self) -> FeedSlices:
        """None: a file of examples says nothing of what was ranked."""
        return FeedSlices()

    def read(self) -> tuple[list[Example], list[Example]]:
        """Examples to train on, and others to judge by."""
        examples = read_examples(self.train, self.fields, self.grades, self.limit)
        if self.dev is None:
            return split(examples, DEV_SHARE)
        return examples, read_examples(self.dev, self.fields, self.grades)


def run_train(
    settings: Settings,
    source: Examples,
    config: TrainConfig,
    *,
    steps: Sequence[Step] = (),
    trials: int = 0,
    parent: str | None = None,
    notes: str = "",
    console: Console,
) -> Manifest | None:
    """Train a scorer, print its metrics, and put it into the store.

    Parameters
    ----------
    steps
        Applied to the examples before training, in this order.
    trials
        First search rates, weight decay and length, in this many trials.

    Returns
    -------
    The new version's manifest; None in all but the first of the processes of a distributed training.

    Raises
    ------
    models.training.examples.ExamplesError
        When the files hold no usable examples.
    models.store.errors.StoreError
        When the parent or the store cannot be used.
    """
    first = PartialState(cpu=not torch.cuda.is_available()).is_main_process
    console = console if first else Console(quiet=True)
    store = ModelStore(settings.model.store)
    base = parts(store, parent) if parent else Parts(weights=settings.model.weights, said=settings.model.said)
    examples, dev = source.read()
    console.print(f"{len(examples):,} examples to train on, {len(dev):,} to evaluate on; method {config.method}")
    start = Start(base, settings.model, config)
    for step in steps:
        examples = step.add(examples, dev, start)
        console.print(f"{len(examples):,} with {step.what}")
    run = start.run()
    if trials:
        found = search(run, examples, dev, trials)
        console.print(searched(found))
        run.config = found.config
    trained = run.train(examples, dev)
    for step in steps:
        trained.metrics |= step.after(run, trained.tower)
    if not first:
        return None
    console.print(*tables(trained), sep="\n")
    before, feeds = feed_ranker(base), source.feeds
    change = updated(before.ranker, feeds, FEATURES, settings.gate.least_feeds, judged=False, seed=config.seed)
    trained.metrics |= change.metrics
    if feeds.train:
        console.print(f"{change.said}.")
        notes = f"{notes} {change.said}.".lstrip()
    data = Data(source.name, len(examples), *source.window, version.data_hash(examples))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        version.save(trained, base, folder, change.ranker, before.first)
        made = store.put(folder, version.describe(store, base, trained, folder, data, notes))
    console.print(
        Text.assemble("Stored as ", (made.id, "bold"), f". Promote it with: liveshelf models promote {made.id}")
    )
    return made


def tables(trained: Trained) -> list[Table]:
    """Metrics, a classification report and the reliability of each intent, on the dev examples."""
    found, targets = probabilities(trained.cross_fitted), trained.targets
    figures = Table("figure", "value", title=f"{trained.method}: on the dev examples, with cross-fitted calibration")
    for name, value in trained.metrics.items():
        figures.add_row(name.replace("_", " "), f"{value:.4f}")
    for name, value in trained.seconds.items():
        figures.add_row(f"{name} time", f"{value:.1f} s")
    return [figures, report(found, targets), curves(found, targets)]


def searched(found: Searched) -> Table:
    """The parameters of each trial, and its log loss."""
    best = min((loss for _, loss in found.trials if math.isfinite(loss)), default=math.nan)
    table = Table(*found.trials[0][0], "log loss", title="Search")
    for drawn, loss in found.trials:
        table.add_row(
            *(f"{value:.3g}" for value in drawn.values()), figure(loss, ".4f"), style="bold" if loss == best else ""
        )
    return table


def report(found: Floats, targets: Floats) -> Table:
    """Precision, recall and F1 of the most probable intent."""
    from sklearn.metrics import precision_recall_fscore_support

    actual, predicted = targets.argmax(1), found.argmax(1)
    rows = precision_recall_fscore_support(actual, predicted, labels=range(len(INTENTS)), zero_division=0.0)
    table = Table("intent", "precision", "recall", "F1", "examples", title="Classification")
    for intent, precision, recall, score, support in zip(INTENTS, *rows, strict=True):
        table.add_row(intent, f"{precision:.3f}", f"{recall:.3f}", f"{score:.3f}", f"{int(support):,}")
    return table


def curves(found: Floats, targets: Floats) -> Table:
    """Predicted and observed share of each intent, by bins of the prediction."""
    table = Table("intent", "predicted → observed", "ECE", title="Reliability")
    for curve in reliability(found, targets):
        pairs = zip(curve.predicted, curve.observed, strict=True)
        table.add_row(curve.intent, "  ".join(f"{a:.2f}→{b:.2f}" for a, b in pairs), f"{curve.error:.3f}")
    return table
