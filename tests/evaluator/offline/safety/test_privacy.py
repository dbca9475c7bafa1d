"""No shopper leaves in a report: masks, secrets, and every file of a real run."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from evaluator.offline import run as runs
from evaluator.offline.contenders.contender import ContenderError, checked
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.loaders import load
from evaluator.offline.report.render import write_report
from evaluator.offline.safety.privacy import leaks, redacted, secrets, told_of
from evaluator.offline.spec import Spec
from evaluator.offline.summary import summarise
from models.store.atomic import write_whole
from tests.evaluator.offline import planted

SHOPPERS = [f"shopper-{number}-ä" for number in range(12)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail me at a.b+c@shop.example.com", "mail me at [e-mail]"),
        ("see https://example.org/u?id=7 now", "see [link] now"),
        ("call 0044 (20) 7946-0958", "call [number]"),
        ("card 4111 1111 1111 1111", "card [number]"),
        ("2x4 lumber 8 ft 10 in. 1.5 l", "2x4 lumber 8 ft 10 in. 1.5 l"),
        ("iphone 15 pro 256", "iphone 15 pro 256"),
    ],
)
def test_what_points_to_a_person_is_masked(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


def test_leaks_names_the_file_but_not_the_shopper(tmp_path: Path) -> None:
    case = Case("c0", ("a", "b"), np.array([1.0, 0.0]), "mail ann@example.org", shopper="17850")
    data = EvaluationData("d", "graded", [case, replace(case, shopper="two words")], [], {})
    assert secrets(data) == {"17850", "two words", "ann@example.org"}
    clean, id_in, words_in, mail_in = (tmp_path / name for name in ("clean", "id", "words", "mail"))
    clean.write_text('{"value": 0.17850, "count": 178501, "id": "c0"}')
    id_in.write_text('{"case": "17850/536365"}')
    words_in.write_text("<td>two words</td>")
    mail_in.write_text("<td>mail ann@example.org</td>")
    said = list(leaks([clean, id_in, words_in, mail_in], data))
    assert [one.split()[0] for one in said] == ["id", "words", "mail"]
    assert not any(secret in one for one in said for secret in secrets(data))


def transactions(folder: Path) -> Path:
    """Orders of twelve shoppers over ten weeks, two items a week."""
    rows = [
        {
            "item": f"{10_000 + (place * 7 + week * 3 + extra) % 30}",
            "name": f"Thing {(place * 7 + week * 3 + extra) % 30}",
            "order_id": f"order-{place}-{week}",
            "user_id": shopper,
            "date": f"2026-0{1 + week // 4}-{1 + 7 * (week % 4):02d}T10:00:00",
        }
        for place, shopper in enumerate(SHOPPERS)
        for week in range(10)
        for extra in (0, 1)
    ]
    pl.DataFrame(rows).write_csv(folder / "orders.csv")
    return folder / "orders.csv"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Path, runs.Result]:
    """A real run of one contender."""
    folder = tmp_path_factory.mktemp("run")
    spec = Spec(
        data=str(transactions(folder)),
        task="feed",
        contenders=["popularity"],
        dimensions=["cost", "effect", "fairness", "safety"],
        draws=100,
        price_per_core_hour=7.5,
    )
    runs.prepare(spec, folder / "out")
    [result] = runs.run(spec, folder / "out", lambda *_: None)
    return spec, folder / "out", result


def test_no_file_of_a_run_names_a_shopper(done: tuple[Spec, Path, runs.Result]) -> None:
    spec, out, result = done
    data = load(spec)
    assert {case.shopper for case in data.cases} <= set(SHOPPERS)
    assert result.parts.keys() == set(spec.dimensions)
    files = [file for file in out.rglob("*") if file.is_file()]
    assert len(files) >= 7
    assert list(leaks(files, data)) == []


RARE = "zulu"
"""Begins every word of the queries that one shopper alone has asked."""


def clicks(folder: Path) -> Path:
    """Lists of sixty shoppers: half of the queries are everybody's, half are one shopper's alone."""
    chance = np.random.default_rng(0)
    rows = []
    for number in range(400):
        words = f"garden {('hose', 'chair', 'lamp')[number % 3]}" if number % 2 else f"{RARE}{number} {RARE}hose"
        for rank, item in enumerate(chance.choice(40, 6, replace=False)):
            names = {"query": words, "item": f"i{item}", "title": f"Brand{item % 4} garden hose {item}"}
            where = {"list": f"list-{number}", "rank": rank, "clicked": int(chance.random() < 0.4)}
            rows.append(names | where | {"user_id": SHOPPERS[number // 6 % 12]})
    pl.DataFrame(rows).write_csv(folder / "clicks.csv")
    return folder / "clicks.csv"


COLUMNS = {"gain": "clicked", "text": "title", "shopper": "user_id", "list": "list"}

REPORT = ("report.html", "report.zh.html", "summary.json", "per_query.parquet", "provenance.json")


@pytest.mark.parametrize("task", ["clicks", "feed"])
def test_no_text_of_a_shopper_is_in_a_report_even_where_a_contender_repeats_it(tmp_path: Path, task: str) -> None:
    data = clicks(tmp_path) if task == "clicks" else transactions(tmp_path)
    names = ["popularity" if task == "feed" else "bm25", "random", planted.name(planted.TellsTheQuery)]
    some = ["effect", "fairness", "interpretability", "robustness", "safety"]
    columns = COLUMNS if task == "clicks" else {}
    spec = Spec(data=str(data), task=task, contenders=names, dimensions=some, columns=columns, draws=100)  # type: ignore[arg-type]
    out = tmp_path / "out"
    evaluated = runs.prepare(spec, out)
    results = runs.run(spec, out, lambda *_: None)
    summary = summarise(results, spec.task)
    write_whole(out / "summary.json", msgspec.json.encode(summary))
    write_report(spec, out, evaluated, results, summary)
    [told] = summary.failures[names[-1]]
    assert told.startswith("scoring: ValueError in planted.py, line ")
    assert results[0].parts.keys() == set(some) and not results[0].failures
    log = next((out / "contenders").glob("*TellsTheQuery*/logs/scoring.txt")).read_text("utf-8")
    assert "ValueError: bad" in log and "shopper-" in log, "who runs it can read it there"
    files = [file for file in out.rglob("*") if file.is_file() and file.parent.name != "logs"]
    assert set(REPORT) <= {file.name for file in files}
    assert list(leaks(files, evaluated)) == []
    assert [file.name for file in files if RARE.encode() in file.read_bytes()] == []
    if task == "clicks":
        assert 'class="query"' in (out / "report.html").read_text("utf-8"), "what many asked is shown"
        assert set(pl.read_parquet(out / "per_query.parquet")["query"].drop_nulls()) <= {
            f"garden {one}" for one in ("hose", "chair", "lamp")
        }
    else:
        past = {item for case in evaluated.cases for item in case.history}
        assert past and 'class="query"' not in (out / "report.html").read_text("utf-8")


def test_no_text_of_the_data_is_in_a_report_that_hides_texts(tmp_path: Path) -> None:
    spec = Spec(
        data=str(clicks(tmp_path)),
        task="clicks",
        contenders=["bm25", "cosine"],
        dimensions=["effect", "fairness", "interpretability", "robustness", "safety"],
        columns=COLUMNS,
        draws=100,
        hide_texts=True,
    )
    out = tmp_path / "out"
    evaluated = runs.prepare(spec, out)
    results = runs.run(spec, out, lambda *_: None)
    summary = summarise(results, spec.task)
    assert not summary.failures
    write_whole(out / "summary.json", msgspec.json.encode(summary))
    pages = write_report(spec, out, evaluated, results, summary)
    files = [file for file in out.rglob("*") if file.is_file()]
    words = {word.encode() for case in evaluated.cases for word in case.query.split() if len(word) > 5}
    assert b"garden" in words
    assert [file.name for file in files for word in words if word in file.read_bytes()] == []
    assert "were left out when this report was made" in pages[0].read_text("utf-8")


def test_only_the_projects_own_errors_are_told_in_words() -> None:
    case = Case("c0", ("a", "b"), np.ones(2), "somebody's words")
    for wrong, said in (
        (lambda: checked([], [case]), "gave 0 lists of scores for 1 cases"),
        (lambda: planted.TellsTheQuery().score([case]), "ValueError in planted.py, line "),
        (lambda: _pretends(case), "ContenderError in test_privacy.py, line "),
        (lambda: np.zeros(2)[int(case.query)], "ValueError in test_privacy.py, line "),
    ):
        with pytest.raises(Exception) as raised:
            wrong()
        told = str(told_of(raised.value))
        assert told.startswith(said) and "somebody" not in told


def _pretends(case: Case) -> None:
    """An error of the project, raised by somebody else's code."""
    raise ContenderError(f"bad {case.query}")


def test_a_run_gives_its_price_and_memory_to_the_cost(done: tuple[Spec, Path, runs.Result]) -> None:
    figures = {one.measure: one for one in done[2].parts["cost"].readings}
    assert str(figures["cost per million shelves"].note).endswith("7.5 per core-hour")
    assert (figures["peak memory"].value or 0) > 50
