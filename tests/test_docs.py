"""The documentation names only files, modules and headings that exist.

CHANGELOG.md is history and may name what is gone.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from liveshelf.settings import Settings
from streams.config import TopicsConfig
from streams.kafka.topics import plan

ROOT = Path(__file__).parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {ROOT / "CHANGELOG.md"})
PACKAGES = ("models", "streams", "evaluator", "liveshelf", "benchmarks", "tests")
EXAMPLES = {"torch.py", "benchmarks.NAME", "mine.py"}
"""Names in the text that stand for others."""

FILE = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.(?:py|lua|js|md))(?:::(\w+))?(?![\w/])")
DOTTED = re.compile(rf"(?<![\w/.:{{}}-])(?:{'|'.join(PACKAGES)})\.(?!md\b|toml\b|env\b)\w+(?:\.\w+)*(?![\w/-])")
INSIDE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(PACKAGES)})/(?:[\w-]+/?)*(?![\w.*{{-])")
FOLDER = re.compile(r"^\|[^|]*`((?:[\w-]+/)+)`[^|]*\|")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.M | re.S)


def missing_files(text: str) -> Iterator[str]:
    """Files that a page names and that are not there.

    A path begins at the root of the repository, in a table whose first cell names a folder at that folder.
    """
    folder, above = "", ""
    for line in text.splitlines():
        if not above.startswith("|"):
            found = FOLDER.match(line)
            folder = found[1] if found else ""
        above = line
        for name, member in FILE.findall(line):
            path = next((path for path in (ROOT / folder / name, ROOT / name) if path.is_file()), None)
            if path is None and name not in EXAMPLES:
                yield name
            elif member and path is not None and f"def {member}(" not in path.read_text("utf-8"):
                yield f"{name}::{member}"
        yield from (name for name in INSIDE.findall(line) if not (ROOT / name).is_dir())


def missing_names(text: str) -> Iterator[str]:
    """Dotted names of ours that are no module, nothing in a module, no setting and no topic."""
    topics = plan(TopicsConfig())
    for name in DOTTED.findall(text):
        if name not in topics and name not in EXAMPLES and not is_setting(name) and not is_ours(name):
            yield name


def is_setting(name: str) -> bool:
    """Whether a dotted name is a setting's, ``group.field``."""
    group, _, field = name.partition(".")
    return group in Settings.model_fields and field in type(getattr(Settings(), group)).model_fields


def is_ours(name: str) -> bool:
    """Whether a dotted name is a module's, or that of something at the top of one, or of its member."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file() or path.is_dir():
            return all(part in defined(file) for part in parts[length:])
    return False


@cache
def defined(file: Path) -> frozenset[str]:
    """All that a module defines or imports, members of classes included."""
    if not file.is_file():
        return frozenset()
    tree = ast.parse(file.read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return frozenset(names | {node.name for node in ast.walk(tree) if isinstance(node, ast.alias)})


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Relative links of a page that lead nowhere."""
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path
        there = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8") if path else text))
        if not there:
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    words = LINK.sub("](", text)
    assert [*missing_files(words), *missing_names(words), *broken_links(page, text)] == []


@pytest.mark.parametrize("package", PACKAGES[:4])
def test_layers_are_those_of_the_import_linter(package: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [layers] = [one["layers"] for one in contracts if one.get("containers") == [package]]
    told = " → ".join(", ".join(f"`{name}`" for name in layer.split(" | ")) for layer in layers)
    assert told in " ".join((ROOT / "docs" / "architecture.md").read_text("utf-8").split())


def test_what_is_not_there_is_found() -> None:
    table = "| module of `streams/kafka/` | what |\n|---|---|\n| `guard.py`, `edition.py` | it |\n\n`guard.py`"
    assert list(missing_files(table)) == ["edition.py", "guard.py"]
    assert list(missing_files("`tests/test_docs.py::anchors` `tests/test_docs.py::gone` streams/redis/gone.lua")) == [
        "tests/test_docs.py::gone",
        "streams/redis/gone.lua",
    ]
    assert list(missing_names("streams.worker streams.worker.Worker liveshelf.events evaluator.window_s")) == [
        "liveshelf.events"
    ]
    assert list(broken_links(ROOT / "README.md", "[a](LICENSE) [b](#b) [c](docs/none.md)\n## B\n")) == ["docs/none.md"]
    assert list(broken_links(ROOT / "README.md", "[a](docs/evaluator.md#drift) [b](docs/evaluator.md#none)")) == [
        "docs/evaluator.md#none"
    ]


def test_the_site_builds_strictly_and_takes_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="MkDocs is not in this environment; install the docs extra")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "streams-kafka.html").read_text("utf-8")
    assert 'id="streams.kafka.producer.Producer"' in page
    taken = re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?https?:[^> ]+", page)
    assert [one for one in taken if 'rel="canonical"' not in one] == []
