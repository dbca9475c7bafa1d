"""Limits as thresholds, and a shop's own ones, which are refused when settings are read."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from evaluator.gate.config import GateConfig
from evaluator.gate.thresholds import CHALLENGER, Figure, Threshold, read
from liveshelf.settings import BadSettingsError, load
from tests.evaluator.gate.world import asked


def own(folder: Path, text: str) -> Path:
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


def test_every_figure_is_asked_but_reciprocal_rank() -> None:
    config = GateConfig(pool=30)
    asked_of = {(one.measure, one.segment) for one in config.thresholds.threshold}
    assert set(config.measured) - asked_of == {("mrr", "")} and asked_of < set(config.measured)
    assert ("latency p50", "candidates: 30") in asked_of


def test_a_shops_own_thresholds_come_after_the_limits(tmp_path: Path) -> None:
    file = own(tmp_path, '[[threshold]]\nmeasure = "mrr"\ndifference_min = 0.0\nby = "better_end"\n')
    config = GateConfig(file=file)
    assert config.thresholds.threshold[-1] == Threshold(measure="mrr", difference_min=0.0, by="better_end")
    assert config.thresholds.threshold[:-1] == GateConfig().thresholds.threshold
    worse = Figure(measure="mrr", value=0.4, reference=0.5, difference=-0.1, difference_low=-0.2, difference_high=-0.05)
    assert asked(config, worse)["mrr"].outcome == "failed" and "mrr" not in asked(GateConfig(), worse)
    assert GateConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("measure = 'map'\nmin = 0.5\n", "does not measure 'map'; it measures log_loss, ndcg@10, mrr"),
        (
            "measure = 'ndcg@10'\nsegment = 'query: tail'\nmin = 0.5\n",
            "ndcg@10 has no segment 'query: tail'; there are",
        ),
        ("measure = 'latency p50'\nsegment = 'candidates: 99'\nmax = 9\n", "candidates: 100"),
        ("measure = 'mrr'\ncontender = 'version:*'\nmin = 0.5\n", f"the trainer's contender is {CHALLENGER!r}"),
        ("measure = 'mrr'\ndimension = 'effect'\nmin = 0.5\n", "names a dimension"),
        ("measure = 'mrr'\n", "has no bound"),
    ],
)
def test_what_the_trainer_does_not_measure_is_told_when_settings_are_read(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = own(tmp_path, f"[[threshold]]\n{text}")
    with pytest.raises(ValidationError, match=r"own\.toml"):
        GateConfig(file=file)
    monkeypatch.setenv("LIVESHELF_GATE__FILE", str(file))
    with pytest.raises(BadSettingsError, match="gate") as error:
        load()
    assert said in " ".join(str(error.value).split())


@pytest.mark.parametrize("text", ["max_severity = 0.5\n", "least_queries = 9\n[[threshold]]\nmeasure='mrr'\nmin=0\n"])
def test_what_is_no_threshold_is_not_for_the_trainer(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValidationError, match="takes only thresholds"):
        GateConfig(file=own(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        GateConfig(file=tmp_path / "none.toml")


def test_the_limits_as_a_file_ask_the_same(tmp_path: Path) -> None:
    for config in (GateConfig(), GateConfig(loss_margin=0.5)):
        assert read(own(tmp_path, config.thresholds.toml())) == config.thresholds
