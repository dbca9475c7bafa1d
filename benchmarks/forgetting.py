"""What does a scorer forget when it is trained on something new, and what keeps it?

Home Depot's queries in eight topics by k-means. A head is trained on six of them, then on 5,000 pairs of the other two,
by each means against forgetting. Log loss on dev queries of the old topics and of the new, before and after: forgotten
is what the old gained in loss, learned what the new lost.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from sklearn.cluster import KMeans
from torch import nn

from benchmarks.quality import pairs
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.training.batches import FrozenItems
from models.training.config import DEFAULT_LOSSES, TrainConfig
from models.training.examples import Example
from models.training.figures import figures
from models.training.rehearsal import rehearse, taught
from models.training.run import Run

TOPICS, NEW = 8, 2
NEW_PAIRS = 5_000


@dataclass(frozen=True, slots=True)
class Means:
    """One way against forgetting: share of old contexts, weight of the parent's answers, pull to its weights, and a
    shorter or slower run."""

    name: str
    share: float = 0.0
    keep: float = 0.0
    l2_sp: float = 0.0
    epochs: float | None = None
    rate: float | None = None


MEANS = (
    Means("none, four epochs", epochs=4),
    Means("one epoch", epochs=1),
    Means("four epochs, a quarter of the rate", epochs=4, rate=5e-4),
    Means("four epochs, L2-SP 0.3", epochs=4, l2_sp=0.3),
    Means("four epochs, parent's answers", epochs=4, keep=1.0),
    Means("four epochs, rehearsal 0.3", epochs=4, share=0.3),
    Means("four epochs, rehearsal 0.3, parent's answers", epochs=4, share=0.3, keep=1.0),
    Means("four epochs, rehearsal 0.3, L2-SP 0.3", epochs=4, share=0.3, l2_sp=0.3),
    Means("one epoch, L2-SP 0.3", epochs=1, l2_sp=0.3),
    Means("one epoch, parent's answers", epochs=1, keep=1.0),
    Means("one epoch, rehearsal 0.3", epochs=1, share=0.3),
    Means("one epoch, rehearsal 0.3, parent's answers", epochs=1, share=0.3, keep=1.0),
)


def topics(encoder: Encoder, sets: Sequence[Sequence[Example]]) -> tuple[list[list[Example]], list[list[Example]]]:
    """Each set's examples of old topics, and of new ones."""
    queries = sorted({one.query for some in sets for one in some})
    vectors = np.stack([query.pooled for query in encoder.encode_queries(queries)])
    found = KMeans(TOPICS, random_state=0, n_init=3).fit_predict(vectors)
    topic = dict(zip(queries, found.tolist(), strict=True))
    old = [[one for one in some if topic[one.query] >= NEW] for some in sets]
    return old, [[one for one in some if topic[one.query] < NEW] for some in sets]


class Case:
    """A head trained on the old topics, and what is to be learned besides."""

    def __init__(self, folder: Path, items_folder: Path, limit: int | None) -> None:
        self.base = TrainConfig(folder=folder, report_to=(), evaluations=1, progress=False)
        self.encoder = Encoder()
        train, dev = pairs("train", limit), pairs("dev", limit and limit // 5)
        self.items = FrozenItems(self.encoder, {one.item for one in (*train, *dev)}, items_folder)
        (self.old, self.old_dev), (new, self.new_dev) = topics(self.encoder, (train, dev))
        self.new = new[:NEW_PAIRS]
        self.first = Run(self.encoder, self.base, items=self.items)
        self.parent = self.first.train(self.old, self.old[: len(self.old) // 20]).tower
        self.before = self.losses(self.first, self.parent)

    def losses(self, run: Run, tower: nn.Module) -> tuple[float, float]:
        """Log loss of old and of new dev queries."""
        old, new = (figures(*run.logits(tower, some))["log_loss"] for some in (self.old_dev, self.new_dev))
        return old, new

    def update(self, means: Means, seed: int) -> tuple[float, float, float]:
        """Train on the new by these means: old loss, new loss, seconds."""
        mixed = rehearse(self.new, self.old, means.share, seed)
        if means.keep:
            own = self.new if means.share else []
            mixed = [*own, *taught(self.first, self.parent, mixed[len(own) :])]
        config = replace(
            self.base,
            seed=seed,
            l2_sp=means.l2_sp,
            epochs=means.epochs,
            head_rate=means.rate,
            losses=DEFAULT_LOSSES | ({"distil": means.keep} if means.keep else {}),
        )
        head = self.parent.head
        assert isinstance(head, LateInteraction)
        run = Run(self.encoder, config, head=head, items=self.items)
        trained = run.train(mixed, self.new[: len(self.new) // 10])
        return *self.losses(run, trained.tower), run.seconds["train"]


@smoke(seeds=1, only=["one epoch, L2-SP 0.3", "one epoch, rehearsal 0.3, parent's answers"])
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each means.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Only these means.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use so many pairs of the training split only.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keep encoded items here.")] = None,
) -> None:
    """Measure and print; ten minutes on two cores once items are encoded."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder) / "run", (work or Path(folder)) / "items", limit)
        old, new = case.before
        facts = {"old": len(case.old), "new": len(case.new), "old_loss": old, "new_loss": new}
        report = Report("forgetting", data="Home Depot", seeds=seeds, **facts)
        for means in [one for one in MEANS if not only or one.name in only]:
            found = np.array([case.update(means, seed) for seed in range(seeds)])
            after = found.mean(axis=0)
            report.row(
                means=means.name,
                forgotten=float(after[0] - old),
                spread_forgotten=float(found[:, 0].std()),
                learned=float(new - after[1]),
                spread_learned=float(found[:, 1].std()),
                train_s=float(after[2]),
            )
            console.print(means.name, after)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
