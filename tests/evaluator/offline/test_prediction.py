"""What a run gives to a store's history, and the report's section on what that history shows."""

import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from evaluator.offline import prediction
from evaluator.offline.report import render
from evaluator.offline.summary import summarise
from evaluator.translations import LANGUAGES
from models.store import ModelStore
from models.store.experiments import Evaluated, Evaluation
from tests.evaluator.offline.report import made
from tests.evaluator.offline.test_agreement import finished

AT = datetime(2026, 11, 29, tzinfo=UTC)
ONE, OTHER = "20261101-153000-head-1a2b3c4d", "20261102-153000-head-1a2b3c4d"


@pytest.fixture
def store() -> ModelStore:
    return ModelStore(f"memory://{uuid.uuid4().hex}")


def filled(store: ModelStore, count: int) -> prediction.Prediction:
    for number in range(count):
        store.experiments.record(finished(number, 0.01 * (number - 6), -0.02 * (number - 6), 1_000 + 40 * (number - 6)))
    return prediction.of_store(store)


def pages(folder: Path, found: prediction.Prediction | None) -> dict[str, str]:
    spec, data, results = made.run(folder)
    written = render.write_report(spec, folder, data, results, summarise(results, spec.task), found)
    return dict(zip(LANGUAGES, (path.read_text("utf-8") for path in written), strict=True))


def section(text: str) -> str:
    """The words of the section."""
    part = text[text.index('id="prediction"') :]
    return " ".join(re.sub(r"<[^>]+>", " ", part[: part.index("</section>")]).split())


def test_the_report_shows_how_well_measures_predicted(store: ModelStore, tmp_path: Path) -> None:
    said = {language: section(text) for language, text in pages(tmp_path, filled(store, 14)).items()}
    assert "14 canaries and interleavings have ended; 14 of them" in said["en"]
    assert "only versions that passed the gate get a canary" in said["en"]
    assert re.search(r"ndcg@10 gate, canaries 14 1\.0000 0\.\d+ to 1\.0000 by chance 0\.\d+", said["en"])
    assert said["en"].count("predicts") == 2 and "too few" not in said["en"]
    assert "+0.0280" in said["en"], "the last one's difference"
    assert "能预测" in said["zh"] and "选择效应" in said["zh"] and "已晋升" in said["zh"]


def test_three_canaries_are_too_few_to_say(store: ModelStore, tmp_path: Path) -> None:
    said = {language: section(text) for language, text in pages(tmp_path, filled(store, 3)).items()}
    assert "3 with an online result and offline figures of both versions: too few to say. 10 are needed" in said["en"]
    assert " predicts" not in said["en"] and "太少" in said["zh"]


def test_a_store_without_experiments_and_no_store_at_all(store: ModelStore, tmp_path: Path) -> None:
    assert "holds no finished canary" in section(pages(tmp_path / "a", filled(store, 0))["en"])
    assert 'id="prediction"' not in pages(tmp_path / "b", None)["en"]


def test_a_run_of_two_versions_adds_its_figures_to_their_canary(store: ModelStore, tmp_path: Path) -> None:
    spec, _, results = made.run(tmp_path)
    summary = summarise(results, spec.task)
    names = [made.NAMES[4], made.NAMES[6]]
    found = prediction.evaluation(summary, dict(zip(names, (ONE, OTHER), strict=True)), "dev.jsonl", "0a1b", AT)
    assert found is not None
    ndcg = {one.contender: one.value for one in summary.rows if one.measure == "ndcg@10" and not one.segment}
    [one] = [one for one in found.measures if one.measure == "ndcg@10"]
    assert one.values == {ONE: ndcg[names[0]], OTHER: ndcg[names[1]]} and one.better == "higher"
    store.experiments.keep(found)
    store.experiments.keep(found)
    assert store.experiments.evaluations() == ([found], []), "once"
    past = msgspec.structs.replace(finished(1, 0.0, 0.0, 1_000), champion=ONE, offline=())
    assert past.challenger == OTHER
    store.experiments.record(past)
    [joined], _ = store.experiments.get()
    figure = next(one for one in joined.offline if one.measure == "ndcg@10")
    assert figure.source == "evaluation" and figure.difference == pytest.approx(ndcg[names[1]] - ndcg[names[0]])
    assert prediction.evaluation(summary, {names[0]: ONE}, "dev.jsonl", "0a1b", AT) is None, "no pair"


def test_the_newest_evaluation_of_a_pair_counts(store: ModelStore) -> None:
    for day, value in ((2, 0.9), (1, 0.6)):
        values = Evaluated(measure="mrr", better="higher", values={ONE: 0.5, OTHER: value})
        at = datetime(2026, 11, day, tzinfo=UTC)
        store.experiments.keep(Evaluation(data="dev", fingerprint="0", made_at=at, measures=(values,)))
    store.experiments.record(msgspec.structs.replace(finished(1, 0.0, 0.0, 1_000), champion=ONE))
    [joined], _ = store.experiments.get()
    assert [one.difference for one in joined.offline if one.measure == "mrr"] == [pytest.approx(0.4)]


def test_unreadable_files_are_said_and_the_rest_is_read(store: ModelStore, tmp_path: Path) -> None:
    filled(store, 2)
    store.storage.write("experiments/20261101-000000-broken.json", b"{")
    store.storage.write("experiments/notes.txt", b"not one of ours")
    found = prediction.of_store(store)
    assert len(found.experiments) == 2 and len(found.problems) == 1
    assert "broken.json cannot be read" in section(pages(tmp_path, found)["en"])
