"""How well does each way of training rank and grade, and what does it cost?

Home Depot's judged pairs, train to dev, every arm in a process of its own, so that peak memory is its own: the fresh
head without any training, every method, the cross-encoder on the same data, and full fine-tuning that is also taught by
that cross-encoder. RMSE is on the data's scale of 1 to 3. ``encode`` is the time to encode the catalogue and queries,
which a running shop has behind it; ``train`` is the rest.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, cast

import msgspec
import numpy as np
import typer
from rich.console import Console

from benchmarks.data import data_folder
from benchmarks.report import Report
from benchmarks.smoke import smoke
from models.encoder import Encoder
from models.training.config import DEFAULT_LOSSES, TrainConfig
from models.training.examples import Example, read_examples, split
from models.training.figures import figures
from models.training.method import Method
from models.training.methods import RECIPES
from models.training.rehearsal import taught
from models.training.run import Run

FIELDS = {"item": "title", "grade": "relevance"}
GRADES = (1.0, 3.0)
SPAN = GRADES[1] - GRADES[0]
HELD = 0.03
"""Of the training queries: what probabilities are calibrated on. Dev is for measuring alone."""
ZERO_SHOT, DISTILLED = "zero_shot", "distilled"
ARMS = (ZERO_SHOT, *(method for method in RECIPES if method != "cross_encoder"), "cross_encoder", DISTILLED)


def pairs(name: str, limit: int | None = None) -> list[Example]:
    """Home Depot's pairs of one split."""
    return read_examples(data_folder() / "homedepot" / f"{name}.jsonl.xz", FIELDS, GRADES, limit)


def run_arm(arm: str, work: Path, limit: int | None, epochs: float | None) -> dict[str, float]:
    """Train one arm in this process and measure it."""
    examples, dev = pairs("train", limit), pairs("dev", limit and limit // 5)
    method = cast(Method, {ZERO_SHOT: "head", DISTILLED: "full"}.get(arm, arm))
    if arm == DISTILLED:
        examples = msgspec.json.decode((work / "taught.json").read_bytes(), type=list[Example])
    config = TrainConfig(
        method=method,
        folder=work / arm,
        items_folder=work / "items",
        epochs=epochs,
        report_to=(),
        evaluations=1,
        progress=sys.stderr.isatty(),
        losses=DEFAULT_LOSSES | ({"distil": 1.0} if arm == DISTILLED else {}),
    )
    start = time.perf_counter()
    run = Run(Encoder(), config)
    kept, held = split(examples, HELD)
    trained = run.predict(held) if arm == ZERO_SHOT else run.train(kept, held)
    wall = time.perf_counter() - start
    predicted = figures(*run.logits(trained.tower, dev))
    if arm == "cross_encoder":
        (work / "taught.json").write_bytes(msgspec.json.encode(taught(run, trained.tower, examples)))
    return {
        "spearman": predicted["spearman"],
        "rmse": SPAN * predicted["rmse"],
        "ndcg_10": predicted["ndcg_10"],
        "ece": predicted["ece"],
        "encode_s": trained.seconds.get("encode", 0.0),
        "train_s": trained.seconds.get("train", 0.0),
        "wall_s": wall,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def in_process(arm: str, work: Path, limit: int | None, epochs: float | None) -> dict[str, float]:
    """:func:`run_arm` in a process of its own."""
    out = work / f"{arm}.json"
    command = [sys.executable, "-m", "benchmarks.quality", "--arm", arm, "--work", str(work), "--json", str(out)]
    command += ["--limit", str(limit)] if limit else []
    command += ["--epochs", str(epochs)] if epochs else []
    subprocess.run(command, check=True, stdout=sys.stderr)
    return msgspec.json.decode(out.read_bytes(), type=dict[str, float])


@smoke(only=[ZERO_SHOT, "head", "full"], limit=100, epochs=1.0)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(ARMS)}; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(help="Train on so many pairs only.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of each method's own.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keep checkpoints and teachers here.")] = None,
    arm: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure and print; about four hours on two cores with all arms; --only picks some."""
    if arm is not None and work is not None and json is not None:
        json.write_bytes(msgspec.json.encode(run_arm(arm, work, limit, epochs)))
        return
    arms = [name for name in ARMS if not only or name in only]
    if unknown := sorted(set(only or ()) - set(ARMS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(ARMS)}", param_hint="--only")
    report = Report("quality", data="Home Depot", train_pairs=len(pairs("train", limit)), rmse_of_the_mean=None)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        place = work or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        found: dict[str, dict[str, float]] = {}
        for name in arms:
            console.print(f"{name} …")
            found[name] = in_process(name, place, limit, epochs)
            report.row(arm=name, **found[name])
            console.print(found[name])
    report.facts |= shares(found)
    actual = np.array([example.level for example in pairs("dev", limit and limit // 5)])
    report.facts["rmse_of_the_mean"] = SPAN * float(actual.std())
    report.write(json)


def shares(found: dict[str, dict[str, float]]) -> dict[str, float | str | int | bool | None]:
    """What the head alone reaches of full fine-tuning's gain in Spearman, and its share of the time.

    Examples
    --------
    >>> found = {name: {"spearman": s, "train_s": t, "wall_s": w} for name, s, t, w in [
    ...     ("zero_shot", 0.4, 0.0, 1.0), ("head", 0.49, 2.0, 20.0), ("full", 0.5, 100.0, 100.0)]}
    >>> {name: round(value, 2) for name, value in shares(found).items()}
    {'head_share_of_gain': 0.9, 'head_share_of_time': 0.02, 'head_share_of_time_with_encoding': 0.2}
    """
    if not {ZERO_SHOT, "head", "full"} <= set(found):
        return {}
    base, head, full = (found[name] for name in (ZERO_SHOT, "head", "full"))
    return {
        "head_share_of_gain": (head["spearman"] - base["spearman"]) / (full["spearman"] - base["spearman"]),
        "head_share_of_time": head["train_s"] / full["wall_s"],
        "head_share_of_time_with_encoding": head["wall_s"] / full["wall_s"],
    }


if __name__ == "__main__":
    typer.run(main)
