"""The report as text: what it shows, what it never shows, and both languages."""

import re
import string
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Reading
from evaluator.offline.effect import ties
from evaluator.offline.report import messages, page, render
from evaluator.offline.report.disagreements import MOST
from evaluator.offline.report.per_query import per_query
from evaluator.offline.report.provenance import Provenance
from evaluator.offline.run import Failure, Result
from evaluator.offline.summary import summarise
from evaluator.translations import LANGUAGES
from tests.evaluator.offline.report import made

TEMPLATES = Path(render.__file__).with_name("templates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of search with its report."""
    folder = tmp_path_factory.mktemp("run")
    write(folder)
    return folder


def write(folder: Path, task: str = "graded") -> dict[str, str]:
    """A run's report, by language."""
    spec, data, results = made.run(folder, task)
    pages = render.write_report(spec, folder, data, results, summarise(results, spec.task))
    return dict(zip(LANGUAGES, (path.read_text("utf-8") for path in pages), strict=True))


def first_screen(text: str) -> str:
    """The page up to the first section that is no verdict, finding or failure."""
    return text[: text.index('id="overview"')]


def test_every_message_is_in_both_languages() -> None:
    for key, said in messages.catalogue().items():
        assert set(said) == set(LANGUAGES), key
        assert all(text.strip() for text in said.values()), key
        fields = [sorted(filter(None, (part[1] for part in string.Formatter().parse(text)))) for text in said.values()]
        assert fields[0] == fields[1], f"{key} fills in the same in both languages"
        markup = [sorted(re.findall(r"</?\w+>", text)) for text in said.values()]
        assert markup[0] == markup[1], key
        assert '"' not in said["en"] + said["zh"], f"{key} may stand in an attribute"
        assert key == "other_language" or not re.search(r"[\u4e00-\u9fff]", said["en"]), key
    fields_only = re.compile(r"\{[^}]*\}|F1|GFLOP/s")
    assert all(
        re.search(r"[\u4e00-\u9fff]", said) or not fields_only.sub("", english).strip("; ")
        for english, said in messages.words().items()
    )


def test_templates_say_only_messages_that_there_are_and_all_of_them() -> None:
    text = "".join(path.read_text("utf-8") for path in TEMPLATES.glob("*.html"))
    named = set(re.findall(r'"([a-z_]+)"', text))
    prefixes = tuple(re.findall(r'"([a-z_]+_)" ~', text))
    known = set(messages.catalogue())
    assert set(re.findall(r'say\("([a-z_]+)"[,)]', text)) <= known
    ways = {"higher", "lower", "data_file", "train_file", "items_file"}
    assert {key for key in known - named - ways if not key.startswith(prefixes)} == set()


def test_the_first_screen_names_verdict_findings_and_failures(folder: Path) -> None:
    _, _, results = made.run(folder)
    decided = summarise(results, "graded").decision
    assert decided is not None
    for name in ("report.html", "report.zh.html"):
        said = first_screen((folder / name).read_text("utf-8"))
        best = page.short_names(made.NAMES)[decided.best]
        assert f"<strong>{best}</strong>" in said and f"{decided.value:.4f}" in said
        assert f"<strong>{decided.difference:.4f}</strong>" in said
        assert "It ranks the same whatever is asked" in said
        assert "A stuffed title gains 4.2 places" in said
        assert "gave a score that is no finite number for case 12" in said or "样例 12 的得分含有非有限数值" in said
        assert "41 ms" in said


def test_chinese_marks_what_stays_english(folder: Path) -> None:
    said = (folder / "report.zh.html").read_text("utf-8")
    assert '<html lang="zh-Hans">' in said
    assert '<span lang="en">It ranks the same whatever is asked' in said, "a dimension of one's own brings its words"
    assert "前十项的归一化折损累计增益（nDCG）" in said, "known sentences are translated"
    data = r"<style>.*?</style>|<span (?:lang=\"en\"|class=\"data\"[^>]*)>.*?</span>|<code>.*?</code>|<[^>]+>"
    visible = re.sub(data, " ", said, flags=re.S)
    assert not re.search(r"\b(the|is|are|of|and)\b", re.sub(r"[\w./ ]*<script>[^\n]*", "", visible)), "nothing is left"


def test_nothing_is_asked_of_others_and_hostile_text_stays_text(folder: Path) -> None:
    for name in ("report.html", "report.zh.html"):
        said = (folder / name).read_text("utf-8")
        assert "<script" not in said and "&lt;script&gt;" in said and "\u202e" not in said
        assert "{{ 7 * 7 }}" in said
        links = re.findall(r'(?:href|src|xlink:href)="([^"]*)"', said)
        assert {link for link in links if not link.startswith("#")} <= {"report.html", "report.zh.html", "data:,"}
        assert "url(" not in said and "@import" not in said and "http" not in re.sub(r"http-equiv", "", said)
        assert "default-src &#39;none&#39;" in said or "default-src 'none'" in said


@pytest.mark.parametrize("task", ["graded", "clicks", "feed"])
def test_no_shopper_is_named(tmp_path: Path, task: str) -> None:
    for said in write(tmp_path, task).values():
        assert made.SHOPPER not in said
        assert ('class="query"' in said) == (task != "feed")
    table = pl.read_parquet(tmp_path / "per_query.parquet")
    assert made.SHOPPER not in table.write_csv()
    provenance = (tmp_path / "provenance.json").read_text()
    assert str(tmp_path) not in provenance, "folders' names stay where they are"


def test_queries_of_few_shoppers_are_not_shown(tmp_path: Path) -> None:
    spec, data, results = made.run(tmp_path, "clicks")
    asked = {"rare query of one", "query of three"}
    cases = [
        Case(one.id, one.items, one.gains, "query of three" if n < 3 else f"rare {n}", shopper=one.shopper)
        for n, one in enumerate(data.cases)
    ]
    other = EvaluationData(data.name, data.task, cases, [], data.items)
    [english, _] = render.write_report(spec, tmp_path, other, results, summarise(results, "clicks"))
    said = english.read_text("utf-8")
    assert "rare" not in said and said.count('class="query"') <= 1
    assert set(pl.read_parquet(tmp_path / "per_query.parquet")["query"].drop_nulls()) <= asked


def test_disagreements_are_the_largest_first(folder: Path) -> None:
    said = (folder / "report.html").read_text("utf-8")
    figures = re.findall(r'class="muted">ndcg@10 (\d\.\d+)</span>', said[said.index('id="disagreements"') :])
    gaps = [abs(float(one) - float(other)) for one, other in zip(figures[::2], figures[1::2], strict=True)]
    assert len(gaps) == MOST and gaps == sorted(gaps, reverse=True)
    assert said.count("only in this list") > 0


def test_per_query_has_the_figures_of_every_case(folder: Path) -> None:
    table = pl.read_parquet(folder / "per_query.parquet")
    _, data, results = made.run(folder)
    assert set(table["contender"]) == set(made.NAMES) - {made.FAILED}
    mine = table.filter((pl.col("contender") == "bm25") & (pl.col("measure") == "ndcg@10"))
    reading = results[0].parts["effect"].readings[0]
    assert mine["value"].to_list() == reading.cases and mine["case"].to_list() == list(range(len(data.cases)))
    assert mine["value"].mean() == pytest.approx(reading.value)
    assert {"query", "segment_query", "segment_words", "dimension", "candidates"} <= set(table.columns)
    page_of_docs = Path("docs/evaluation.md").read_text("utf-8")
    plain = {name for name in table.columns if not name.startswith("segment_")}
    assert {name for name in plain if f"`{name}`" not in page_of_docs} == set(), "every column is documented"
    failed = [Result(contender="bm25", failures=[Failure(stage="scoring", error="no")])]
    assert per_query(data, failed).height == 0, "no figures, but the columns"
    assert per_query(data, failed).columns == table.columns


def test_a_run_where_nothing_works_has_a_report(tmp_path: Path) -> None:
    spec, data, _ = made.run(tmp_path)
    results = [Result(contender=name, failures=[Failure(stage="scoring", error="It burns.")]) for name in made.NAMES]
    for path in render.write_report(spec, tmp_path, data, results, summarise(results, spec.task)):
        said = path.read_text("utf-8")
        assert said.count("It burns.") >= len(made.NAMES)
        assert 'id="front"' not in said and 'id="overview"' not in said


def test_one_contender_and_no_costs(tmp_path: Path) -> None:
    spec, data, results = made.run(tmp_path)
    alone = results[0]
    alone.parts.pop("cost")
    alone.seconds = {}
    summary = summarise([alone], spec.task)
    for path in render.write_report(spec, tmp_path, data, [alone], summary):
        assert "bm25" in path.read_text("utf-8")
    assert summary.decision is not None and summary.decision.second is None and summary.decision.sure is None


def test_time_is_that_of_the_cost_dimension_else_of_the_run(tmp_path: Path) -> None:
    spec, data, results = made.run(tmp_path)

    def costs() -> dict[str, page.Cost]:
        summary = summarise(results, spec.task)
        made_of = msgspec.json.decode((tmp_path / "provenance.json").read_bytes(), type=Provenance)
        return page.page(spec, (len(data.cases), 0, 0), results, summary, made_of, None).costs

    write(tmp_path)
    assert costs()[made.NAMES[4]].milliseconds == 41.0 and costs()[made.NAMES[4]].measure == "latency_ms"
    for result in results:
        result.parts.pop("cost", None)
    assert costs()[made.NAMES[4]].measure == "" and costs()["bm25"].milliseconds == pytest.approx(1.0)


def test_a_report_made_again_keeps_its_time(tmp_path: Path) -> None:
    write(tmp_path)
    first = (tmp_path / "provenance.json").read_text().replace("T", "T", 1)
    aged = re.sub(r'"made_at": "[^"]*"', '"made_at": "2026-01-02T03:04:05+00:00"', first)
    (tmp_path / "provenance.json").write_text(aged)
    assert "2026-01-02 03:04:05 UTC" in write(tmp_path)["en"]


def test_an_item_of_any_length_is_cut(tmp_path: Path) -> None:
    spec, data, results = made.run(tmp_path)
    items = {item: Document("word " * 400) for item in data.items}
    long = EvaluationData(data.name, data.task, data.cases, [], items, data.span)
    [english, _] = render.write_report(spec, tmp_path, long, results, summarise(results, spec.task))
    assert max(map(len, re.findall(r'class="item" dir="auto">([^<]*)', english.read_text("utf-8")))) <= 161
    assert np.isfinite(english.stat().st_size)


def test_the_verdict_says_where_it_depends_on_ties(tmp_path: Path) -> None:
    spec, data, results = made.run(tmp_path)
    bm25 = next(one for one in results if one.contender == "bm25").parts["effect"]
    for value, told in ((0.99, True), (0.01, False)):
        kept = [one for one in bm25.readings if one.measure not in (ties.TIED, ties.AT_RANDOM)]
        shown = (ties.TIED, 0.93), (ties.AT_RANDOM, value)
        bm25.readings = kept + [Reading(measure=name, dimension="effect", value=share) for name, share in shown]
        pages = render.write_report(spec, tmp_path, data, results, summarise(results, spec.task))
        english, chinese = (first_screen(path.read_text("utf-8")) for path in pages)
        assert ("bm25 has equal scores in 93 % of the cases" in english) == told
        assert ("bm25 在 93% 的样例中出现同分" in chinese) == told
