"""Input that cannot be evaluated: one clear sentence, an exit code, and nothing half-written."""

import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liveshelf.cli.app import app

ROWS = [(f"query {n % 4}", f"i{n}", f"title {n}", 1 + n % 3) for n in range(40)]
HEADER = "query,id,title,grade"


def csv(rows: Sequence[tuple[object, ...]] = ROWS, header: str = HEADER) -> bytes:
    """A file of comma-separated values."""
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode()


def cut(packed: bytes) -> bytes:
    """A file whose last bytes are missing."""
    return packed[: len(packed) * 2 // 3]


NOISE = bytes(range(256)) * 40
FILES: dict[str, tuple[str, bytes, tuple[str, ...], str]] = {
    "a column is missing": ("a.csv", csv(header="query,id,title,stars"), (), "has no column for gain"),
    "a named column is missing": ("a.csv", csv(), ("--column", "gain=stars"), "has no column 'stars'"),
    "an unknown field": ("a.csv", csv(), ("--column", "stars=grade"), "stars is no field"),
    "an empty file": ("a.csv", b"", (), "is empty"),
    "white space only": ("a.csv", b"\n\n", (), "is empty"),
    "a header only": ("a.csv", csv([]), (), "has no rows"),
    "an empty JSON file": ("a.jsonl", b"", (), "is empty"),
    "one query": ("a.csv", csv([("q", i, t, g) for _, i, t, g in ROWS]), (), "One query only"),
    "equal labels": ("a.csv", csv([(q, i, t, 2) for q, i, t, _ in ROWS]), (), "All judgements of every case are equal"),
    "labels in words": ("a.csv", csv([(q, i, t, "good") for q, i, t, _ in ROWS]), (), "a number as gain"),
    "items without text": ("a.csv", csv([(q, i, "", g) for q, i, _, g in ROWS]), (), "No item has a text"),
    "another task": ("a.csv", csv(), ("--task", "clicks"), "has no column for list"),
    "another task, a feed": ("a.csv", csv(), ("--task", "feed"), "has no column for list"),
    "an unknown task": (
        "a.csv",
        csv(),
        ("--task", "shelf"),
        "There is no task 'shelf'; there are graded, clicks",
    ),
    "an unknown dimension": (
        "a.csv",
        csv(),
        ("--dimension", "beauty"),
        "There is no dimension 'beauty'; there",
    ),
    "binary": ("a.csv", NOISE, (), "a.csv"),
    "binary Parquet": ("a.parquet", NOISE, (), "a.parquet cannot be read"),
    "binary JSON": ("a.jsonl", NOISE, (), "a.jsonl cannot be read"),
    "lists as texts": (
        "a.jsonl",
        b'{"query": "q", "id": "1", "title": ["a", "b"], "grade": 1}\n',
        (),
        "The column 'title' holds lists or objects",
    ),
    "objects as texts": (
        "a.jsonl",
        b'{"query": "q", "id": "1", "title": {"en": "a"}, "grade": 1}\n',
        (),
        "The column 'title' holds lists or objects",
    ),
    "a web page": (
        "a.csv",
        b"<!DOCTYPE html>\n<html><body><h1>404</h1></body></html>\n",
        (),
        "has no column for query",
    ),
    "a web page, JSON": ("a.jsonl", b"<!DOCTYPE html>\n<html></html>\n", (), "a.jsonl cannot be read"),
    "a picture's name": ("a.png", NOISE, (), "Give .csv, .tsv, .jsonl or .parquet"),
    "a cut .xz": ("a.csv.xz", cut(lzma.compress(csv())), (), "a.csv.xz is damaged or cut off"),
    "a cut .gz": ("a.csv.gz", cut(gzip.compress(csv())), (), "a.csv.gz is damaged or cut off"),
    "no .xz at all": ("a.csv.xz", csv(), (), "a.csv.xz is damaged or cut off"),
    "rows of other lengths": ("a.csv", csv() + b"\n1,2,3,4,5,6,7", (), "a.csv cannot be read"),
    "a second file that is not there": ("a.csv", csv(), ("--train", "no.csv"), "no.csv is not there"),
    "items that are not there": ("a.csv", csv(), ("--items", "no.csv"), "no.csv is not there"),
}
"""Name of the file, its bytes, options, and what must be said."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def evaluate(*arguments: str) -> tuple[int, str]:
    """Exit code and what the command says, white space as one."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", *arguments, "--draws", "100"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.output.split())


def joined(text: str) -> str:
    """A text without spaces: a long path is broken where the line ends."""
    return "".join(text.split())


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(here: Path, name: str) -> None:
    file, content, options, said = FILES[name]
    (here / file).write_bytes(content)
    code, output = evaluate("random", "--data", file, *options)
    assert code == 1 and joined(said) in joined(output) and len(output) < 400, output
    assert output.endswith((".", ")")) and "Traceback" not in output
    assert [path.name for path in here.iterdir()] == [file], "nothing is written"


CONTENDERS = {
    "randm": "There is no contender 'randm'; there are as_shown",
    "popularity:soon": "'soon' is no number",
    "ease:-1": "'-1' is no number",
    "cosine:./no": "no model folder at ./no",
    "cosine:nobody/no-such-model": "nobody/no-such-model",
    "cross_encoder:packaged": "has no classification head",
    "late_interaction:./no": "no model folder at ./no",
    "version:no-store#champion": "no-store",
    "version:champion": "such as version:.liveshelf/models#champion",
    "rerank:localhost": "rerank:http://localhost:8000#MODEL",
    "chat:http://localhost:1": "URL#MODEL",
    "python:absent_module:A": "absent_module cannot be imported",
    "python:json": "python:MODULE:CLASS",
    "bm25:klingon": "klingon",
}


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_that_does_not_exist_is_told_before_anything_is_evaluated(here: Path, name: str) -> None:
    (here / "a.csv").write_bytes(csv())
    code, output = evaluate("random", name, "--data", "a.csv")
    assert code == 1 and joined(CONTENDERS[name]) in joined(output) and len(output) < 500, output
    assert [path.name for path in here.iterdir()] == ["a.csv"], "nothing is written"


def a_file(out: Path) -> None:
    out.write_text("mine")


def read_only(out: Path) -> None:
    out.mkdir(mode=0o500)


def below_a_file(out: Path) -> None:
    out.parent.write_text("mine")


@pytest.mark.parametrize("make", [a_file, read_only, below_a_file])
def test_a_folder_that_cannot_be_written_to_is_told(here: Path, make: Callable[[Path], None]) -> None:
    if make is read_only and os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    (here / "a.csv").write_bytes(csv())
    out = here / "some" / "out" if make is below_a_file else here / "out"
    make(out)
    before = sorted(here.rglob("*"))
    code, output = evaluate("random", "--data", "a.csv", "--out", str(out))
    assert code == 1 and "cannot be written to" in output and "--out" in output, output
    assert sorted(here.rglob("*")) == before


HOSTILE = [
    "x" * 100_000,
    "nul \x00 bell \x07 escape \x1b[31m",
    "\u202eright to left\u202c مرحبا שלום",
    "电视机 4K 高清",
    "家用テレビ",
    "<script>alert(1)</script> {{ 7 * 7 }}",
    "'; DROP TABLE items; --",
    "😀👨‍👩‍👧‍👦 zalgo z̸̡̢",
    "\ufeff\ufffd\u0000",
]


def test_hostile_texts_and_other_languages_are_evaluated(here: Path) -> None:
    rows = [
        {
            "query": f"{HOSTILE[n % 9]} {n % 9}",
            "id": f"{HOSTILE[n % 7][:50]}{n}",
            "title": HOSTILE[n % 5],
            "grade": n % 4,
        }
        for n in range(90)
    ]
    (here / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    code, output = evaluate("random", "bm25", "--data", "a.jsonl", "--out", "out", "--dimension", "effect")
    assert code == 0 and "failed" not in output and "ranks best" in output, output
    assert "\x1b[31m" not in output and "\u202e" not in output
    page = (here / "out" / "report.html").read_text("utf-8")
    assert "<script>alert(1)" not in page and "\u202e" not in page and "\x00" not in page


def test_a_pair_that_is_judged_twice_has_its_last_grade(here: Path) -> None:
    again = [(query, item, title, 4 - grade) for query, item, title, grade in ROWS]
    (here / "a.csv").write_bytes(csv([*ROWS, *again]))
    (here / "b.csv").write_bytes(csv(again))
    figures = []
    for name in ("a", "b"):
        code, output = evaluate("random", "--data", f"{name}.csv", "--out", name, "--dimension", "effect")
        assert code == 0 and "40 items" in output, output
        [part] = (here / name / "contenders").glob("*/effect.json")
        figures.append([one["value"] for one in json.loads(part.read_text())["readings"]])
    assert figures[0] == figures[1]


ROWS_OF_A_LARGE_FILE = 1_000_000
MOST_MB = 1_600
"""Memory of the command and of each process that it starts; the file has 60 MB."""


def test_a_million_rows_are_evaluated_in_bounded_memory(here: Path) -> None:
    with (here / "large.csv").open("w", encoding="utf-8") as file:
        file.write(f"{HEADER}\n")
        for query in range(ROWS_OF_A_LARGE_FILE // 10):
            lines = ((7 * query + 31 * place) % 200_000 for place in range(10))
            file.writelines(f"oak lamp {query},i{item},white steel lamp number {item},{item % 4}\n" for item in lines)
    words = ["evaluate", "random", "--data", "large.csv", "--dimension", "effect", "--draws", "100"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words, "--limit", "1000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "1,000 cases" in done.stdout and "199,999" not in done.stdout, done.stdout
    own, children = (float(word) / 1_024 for word in done.stdout.split()[-2:])
    assert 0 < own < MOST_MB and 0 < children < MOST_MB


MEASURED = """
import re
import resource
from pathlib import Path
from liveshelf.cli.app import app

if __name__ == "__main__":
    try:
        app()
    except SystemExit as ended:
        [own] = re.findall(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())
        print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        raise
"""
"""The command, then the largest memory of its process and of those that it has started, in KiB. That of a process by
``getrusage`` counts what the process had that started it."""
