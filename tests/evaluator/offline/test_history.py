"""Runs over time: pairs where cases are the same, and what is said where they are not."""

from pathlib import Path

import msgspec
import pytest

from evaluator.offline import history
from evaluator.offline.report.render import write_comparison, write_report
from evaluator.offline.run import slug
from evaluator.offline.summary import summarise
from evaluator.preparation.tables import DataError
from models.store.atomic import write_whole
from tests.evaluator.offline.report import made


def finished(folder: Path, made_at: str, better: float = 0.0, content: str = "{}\n") -> Path:
    """A run with all its files."""
    spec, data, results = made.run(folder, better=better)
    Path(spec.data).write_text(content)
    summary = summarise(results, spec.task)
    write_whole(folder / "spec.json", msgspec.json.encode(spec))
    write_whole(folder / "summary.json", msgspec.json.encode(summary))
    for result in results:
        for name, part in result.parts.items():
            write_whole(folder / "contenders" / slug(result.contender) / f"{name}.json", msgspec.json.encode(part))
    write_report(spec, folder, data, results, summary)
    provenance = msgspec.json.decode((folder / "provenance.json").read_bytes()) | {"made_at": made_at}
    write_whole(folder / "provenance.json", msgspec.json.encode(provenance))
    return folder


def test_runs_of_the_same_cases_are_compared_in_pairs(tmp_path: Path) -> None:
    newer = finished(tmp_path / "newer", "2026-02-01T00:00:00+00:00", better=0.6)
    older = finished(tmp_path / "older", "2026-01-01T00:00:00+00:00")
    found = history.history(history.read([newer, older]))
    assert [past.name for past in found.runs] == ["older", "newer"], "by their time"
    assert found.same
    series = {(one.contender, one.measure): one for one in found.series}
    one = series["bm25", "ndcg@10"]
    assert one.sure and one.change is not None and one.change > 0.01
    assert series["bm25", "memory"].p is None, "what was not resampled has no p-value"
    assert (made.FAILED, "ndcg@10") not in series
    again = history.history(history.read([older, finished(tmp_path / "again", "2026-03-01T00:00:00+00:00")]))
    assert not any(one.sure for one in again.series) and all(not one.change for one in again.series)


def test_runs_of_other_cases_have_no_p_value(tmp_path: Path) -> None:
    older = finished(tmp_path / "older", "2026-01-01T00:00:00+00:00")
    newer = finished(tmp_path / "newer", "2026-02-01T00:00:00+00:00", better=0.6, content="other\n")
    found = history.history(history.read([older, newer]))
    assert not found.same and all(one.p is None for one in found.series)
    english, chinese = write_comparison(found, tmp_path)
    assert "Not all runs are of the same cases" in english.read_text("utf-8")
    assert "不完全相同" in chinese.read_text("utf-8")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    older = finished(tmp_path / "older", "2026-01-01T00:00:00+00:00")
    with pytest.raises(DataError, match="at least two"):
        history.read([older, older])
    with pytest.raises(DataError, match="nothing holds no finished evaluation"):
        history.read([older, tmp_path / "nothing"])
    broken = finished(tmp_path / "broken", "2026-01-01T00:00:00+00:00")
    (broken / "summary.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        history.read([older, broken])
