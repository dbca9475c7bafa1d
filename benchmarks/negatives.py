"""Where only positives are known: what do negatives teach, and does the guard keep the false ones out?

Home Depot's pairs with a grade of at least 2.5 are taken as bought, all other grades are hidden; the head is trained on
them with no, in-batch, random and mined negatives, and judged on all grades of the dev queries. For each query with
several positives one more is hidden: how often mining takes such a one for a negative is the guard's failure, and how
often a known bad one (below 2) its use. Means over seeds; the catalogue is encoded once.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.quality import pairs as read_pairs
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.scorer import Floats
from models.training.batches import FrozenItems
from models.training.config import TrainConfig
from models.training.examples import Example, by_context, expected_level, split
from models.training.figures import probabilities
from models.training.negatives import MINES, Guard, Miner, Score
from models.training.run import Run
from models.training.towers import LateInteractionTowers

GOOD, BAD = 0.75, 0.5
"""Grades 2.5 and 2 on the scale of 0 to 1."""


GUARDS = {
    "no guard": None,
    "skip": Guard(skip=2, similarity=2, margin=-9),
    "similarity": Guard(skip=0, similarity=0.9, margin=-9),
    "margin": Guard(skip=0, similarity=2, margin=0.05),
    "guard": Guard(),
}


@smoke(pairs=80, queries=10, count=2, seeds=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    pairs: Annotated[int, typer.Option(help="Training pairs, whole queries.")] = 6_000,
    queries: Annotated[int, typer.Option(help="Dev queries.")] = 600,
    count: Annotated[int, typer.Option(help="Negatives a context.")] = 4,
    seeds: Annotated[int, typer.Option(help="Runs of each arm.")] = 3,
    work: Annotated[Path | None, typer.Option(help="Keep encoded items here.")] = None,
) -> None:
    """Measure and print; a quarter of an hour on two cores."""
    graded = _some(read_pairs("train"), pairs=pairs)
    dev = _some(read_pairs("dev"), queries=queries)
    known, hidden = positives(graded)
    report = Report("negatives", pairs=len(graded), positives=len(known), hidden=len(hidden), negatives=count)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder()
        place = work or Path(folder)
        items = FrozenItems(encoder, [one.item for one in (*graded, *dev)], place)
        base = TrainConfig(folder=Path(folder) / "run", report_to=(), progress=False, evaluations=1)
        miner = Miner(encoder, items, {one.item for one in graded})
        score = scorer(encoder, base, items)
        arms: list[tuple[str, Sequence[Example], int]] = [
            ("none", known, 0),
            ("in batch", known, count),
            ("random", miner.mine(known, count, "random"), 0),
        ]
        for how in MINES[1:]:
            for name, guard in GUARDS.items():
                if how == "both" or name in ("no guard", "guard"):
                    arms.append((f"{how}, {name}", miner.mine(known, count, how, guard, score), 0))
        arms.append(("both, guard, and in batch", miner.mine(known, count // 2, "both", Guard(), score), count))
        arms.append(("the hidden grades", graded, 0))
        untrained = Run(encoder, base, items=items).predict(dev).metrics
        report.row(negatives="untrained", spearman=untrained["spearman"], ndcg_10=untrained["ndcg_10"])
        judged = {(one.query, one.item): one.grade or 0.0 for one in graded}
        for name, data, in_batch in arms:
            configs = [replace(base, seed=seed, negatives=in_batch) for seed in range(seeds)]
            found = [Run(encoder, config, items=items).train(data, dev).metrics for config in configs]
            added = [one for one in data if one.intent == "ignore"]
            grades = [judged[one.query, one.item] for one in added if (one.query, one.item) in judged]
            report.row(
                negatives=name,
                spearman=float(np.mean([one["spearman"] for one in found])),
                spread=float(np.std([one["spearman"] for one in found])),
                ndcg_10=float(np.mean([one["ndcg_10"] for one in found])),
                examples=len(data),
                false=sum(grade >= GOOD for grade in grades),
                known_bad=sum(grade < BAD for grade in grades),
            )
    report.write(json)


def positives(graded: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """What counts as bought, and, of each query with several, one that is hidden."""
    known, hidden = [], []
    for group in by_context(one for one in graded if (one.grade or 0) >= GOOD):
        bought = [Example(query=one.query, item=one.item, intent="buy") for one in group]
        hidden += bought[1:2]
        known += bought[:1] + bought[2:]
    return known, hidden


def scorer(encoder: Encoder, config: TrainConfig, items: FrozenItems) -> Score:
    """Levels by the untrained head."""
    tower = LateInteractionTowers(LateInteraction(), None, config.losses)

    def score(examples: Sequence[Example]) -> Floats:
        logits, _ = Run(encoder, config, items=items).logits(tower, examples)
        return expected_level(probabilities(logits))

    return score


def _some(examples: Sequence[Example], pairs: int | None = None, queries: int | None = None) -> list[Example]:
    groups = by_context(examples)
    share = queries / len(groups) if queries else (pairs or 0) / len(examples)
    return split(examples, min(1.0, share))[1]


if __name__ == "__main__":
    typer.run(main)
