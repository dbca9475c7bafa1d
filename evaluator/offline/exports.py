"""A run's figures for MLflow, Weights & Biases or TensorBoard, through their own clients.

Knows the three clients, which are optional; a run of theirs is one contender.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from evaluator.offline.run import slug
from evaluator.offline.spec import Spec
from evaluator.offline.summary import Summary

PROJECT = "liveshelf-evaluation"
"""The experiment or project that runs belong to, where the client's own settings name no other."""


class ExportError(ValueError):
    """A run cannot be exported; the message says what to install or to give."""


def ready(kinds: list[str]) -> None:
    """Check that the clients of these exports are installed.

    Raises
    ------
    ExportError
        When there is no such export, or its client is not installed.
    """
    for kind in kinds:
        if kind not in EXPORTS:
            raise ExportError(f"There is no export {kind!r}; there are {', '.join(EXPORTS)}.")
        if not find_spec(kind):
            raise ExportError(f"The export {kind} needs its client. Install it with: pip install {kind}")


def export(kind: str, spec: Spec, summary: Summary, folder: Path) -> str:
    """Export a run, each contender as a run of the tool; returns where it went, in words.

    Raises
    ------
    ExportError
        When the client fails, such as for want of a login.
    """
    try:
        return EXPORTS[kind](spec, summary, folder)
    except Exception as error:
        said = f"The export {kind} fails: {type(error).__name__}: {error}".rstrip(".")
        raise ExportError(f"{said}. The evaluation is whole; export it again with --resume.") from error


def figures(summary: Summary, contender: str) -> Iterator[tuple[str, float]]:
    """A contender's figures by names that all three tools take: dimension, measure and segment; the bounds of an
    interval end in ``low`` and ``high``."""
    for row in summary.rows:
        if row.contender != contender or row.value is None:
            continue
        name = "/".join(map(plain, (row.dimension, row.measure, *([row.segment] if row.segment else []))))
        yield name, row.value
        bounds = (("low", row.low), ("high", row.high), ("difference", row.difference))
        yield from ((f"{name}/{which}", bound) for which, bound in bounds if bound is not None)


def plain(name: str) -> str:
    """A name in letters that all three tools take.

    Examples
    --------
    >>> plain("ndcg@10"), plain("query: tail")
    ('ndcg_at_10', 'query_tail')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.replace("@", "_at_")).strip("_")


def _settings(spec: Spec, contender: str) -> dict[str, Any]:
    given: Mapping[str, Any] = msgspec.to_builtins(spec)
    told = ("task", "limit", "draws", "seed")
    files = {name: Path(given[name]).name for name in ("data", "train", "items") if given[name]}
    return {"contender": contender} | files | {name: given[name] for name in told}


def _mlflow(spec: Spec, summary: Summary, folder: Path) -> str:
    import mlflow

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    mlflow.set_experiment(name)
    for contender in spec.contenders:
        with mlflow.start_run(run_name=contender):
            mlflow.log_params(_settings(spec, contender))
            mlflow.log_metrics(dict(figures(summary, contender)))
            mlflow.set_tag("verdict", summary.verdict)
            for file in sorted(folder.glob("report*.html")):
                mlflow.log_artifact(str(file))
    return f"MLflow experiment {name} at {mlflow.get_tracking_uri()}"


def _wandb(spec: Spec, summary: Summary, folder: Path) -> str:
    import wandb

    project, urls = os.environ.get("WANDB_PROJECT", PROJECT), list[str]()
    for contender in spec.contenders:
        run = wandb.init(
            project=project,
            name=contender,
            config=_settings(spec, contender),
            dir=str(folder),
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
        run.log(dict(figures(summary, contender)))
        run.summary["verdict"] = summary.verdict
        if not run.offline and run.url:
            urls.append(run.url)
        run.finish()
    if urls:
        return f"W&B project {project}: {', '.join(urls)}"
    return f"W&B files in {folder / 'wandb'}; send them with: wandb sync {folder / 'wandb'}/offline-run-*"


def _tensorboard(spec: Spec, summary: Summary, folder: Path) -> str:
    from torch.utils.tensorboard import SummaryWriter

    logs = folder / "tensorboard"
    for contender in spec.contenders:
        with SummaryWriter(str(logs / slug(contender)), purge_step=0) as writer:
            for name, value in figures(summary, contender):
                writer.add_scalar(name, value, 0)
            writer.add_text("verdict", summary.verdict, 0)
    return (
        f"TensorBoard files in {folder / 'tensorboard'}; show them with: tensorboard --logdir {folder / 'tensorboard'}"
    )


EXPORTS: dict[str, Callable[[Spec, Summary, Path], str]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
    "tensorboard": _tensorboard,
}
"""Exports by the name of their client's module, which is its package's too."""
