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
    exports.export("tensorboard", spec, summary, tmp_path / "run")  # again, as with --resume
    for contender in made.NAMES:
        read = loader.EventAccumulator(str(tmp_path / "run" / "tensorboard" / slug(contender)))
        read.Reload()
        wanted = dict(exports.figures(summary, contender))
        found = {name: [one.value for one in read.Scalars(name)] for name in read.Tags()["scalars"]}
        assert found == {name: [pytest.approx(value, rel=1e-6)] for name, value in wanted.items()}
    assert {"effect/ndcg_at_10", "effect/ndcg_at_10/low", "effect/ndcg_at_10/query_tail"} <= {*wanted}


def test_mlflow_has_the_figures_of_every_contender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    spec, _, results = made.run(tmp_path / "run")
    summary = summarise(results, spec.task)
    assert "experiment mine" in exports.export("mlflow", spec, summary, tmp_path / "run")
    found = mlflow.search_runs(experiment_names=["mine"], output_format="list")
    assert {one.data.params["contender"] for one in found} == set(made.NAMES)
    for one in found:
        wanted = dict(exports.figures(summary, one.data.params["contender"]))
        assert one.data.metrics == pytest.approx(wanted)


def test_a_client_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _, results = made.run(tmp_path / "run")
    (tmp_path / "run" / "tensorboard").write_text("a file where a folder is needed")
    with pytest.raises(ExportError, match=r"The export tensorboard fails: .* export it again with --resume"):
        exports.export("tensorboard", spec, summarise(results, spec.task), tmp_path / "run")


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
