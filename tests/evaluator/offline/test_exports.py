"""Exports to trackers: their names, what is asked for where a client is missing, and TensorBoard's files."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from evaluator.offline import exports
from evaluator.offline.exports import ExportError
from evaluator.offline.run import slug
from evaluator.offline.summary import summarise
from tests.evaluator.offline.report import made


def test_tensorboard_has_the_figures_of_every_contender(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    spec, _, results = made.run(tmp_path / "run")
    summary = summarise(results, spec.task)
    exports.ready(["tensorboard"])
    assert str(tmp_path / "run") in exports.export("tensorboard", spec, summary, tmp_path / "run")
    read = loader.EventAccumulator(str(tmp_path / "run" / "tensorboard" / slug("bm25")))
    read.Reload()
    [scalar] = read.Scalars("effect/ndcg_at_10")
    value = next(row.value for row in summary.rows if row.contender == "bm25" and row.measure == "ndcg@10")
    assert scalar.value == pytest.approx(value)
    assert {"effect/ndcg_at_10/low", "effect/ndcg_at_10/high", "effect/ndcg_at_10/query_tail"} <= set(
        read.Tags()["scalars"]
    )


def test_every_figure_has_a_name_of_its_own(tmp_path: Path) -> None:
    spec, _, results = made.run(tmp_path)
    summary = summarise(results, spec.task)
    names = [name for name, _ in exports.figures(summary, "bm25")]
    assert len(set(names)) == len(names) > 20
    assert not list(exports.figures(summary, made.FAILED))


def test_what_is_missing_is_told() -> None:
    with pytest.raises(ExportError, match="There is no export 'comet'; there are mlflow, wandb, tensorboard"):
        exports.ready(["comet"])
    missing = [kind for kind in ("mlflow", "wandb") if not find_spec(kind)]
    for kind in missing:
        with pytest.raises(ExportError, match=f"pip install {kind}"):
            exports.ready([kind])
