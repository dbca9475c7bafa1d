"""The rules of the house: imports go one way, everything public is explained, nothing dangerous or local slips in."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "streams", "evaluator", "liveshelf", "clients", "benchmarks")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SOURCE_SUFFIXES = {".py", ".lua", ".toml", ".yaml", ".yml", ".json", ".md", ".lock", ".svg", ".gpu", ".sh", ".ts", ""}
MEDIAN_LINES = 200

# Put together here so that this file does not contain what it looks for.
REGISTRY_HOSTS = [".".join(parts) for parts in (
    ("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("repo1", "maven", "org"),
    ("repo", "maven", "apache", "org"), ("registry", "npmjs", "org"), ("docker", "io"), ("ghcr", "io"),
    ("nvcr", "io"), ("quay", "io"), ("pypi", "nvidia", "com"),
)]  # fmt: skip
MACHINE_PATHS = ["/" + "work/", "/" + "tmp/", "/" + "home/", "/" + "root/"]
CONTAINER_PATHS = {"docker"}


def name(path: Path) -> str:
    """A path as the tests are named."""
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Text files of the repository, or of the folder where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: what belongs to the source is not known")
    files = (ROOT / line for line in listed.stdout.splitlines())
    return [path for path in files if path.is_file() and path.suffix in SOURCE_SUFFIXES]


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Every module with its syntax tree."""
    return ((path, ast.parse(path.read_text("utf-8"))) for path in MODULES)


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; those inside functions are nobody's business."""
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if child.name.startswith("_"):
                continue
            if ast.get_docstring(child) is None and not _told_elsewhere(child):
                yield f"{prefix}{child.name}"
            if isinstance(child, ast.ClassDef):
                pending.append((f"{prefix}{child.name}.", child))


def _told_elsewhere(node: ast.AST) -> bool:
    """Overrides say what they do at the place they override; overloads at the implementation."""
    decorators = getattr(node, "decorator_list", [])
    return any(ast.unparse(one).rpartition(".")[2] in {"override", "overload", "setter"} for one in decorators)


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of all modules imported anywhere in a file."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_imports_go_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("lint-imports is not in this environment; install the dev extra")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_say_what_they_are() -> None:
    assert [name(path) for path, tree in trees() if not ast.get_docstring(tree)] == []


def test_everything_public_is_documented() -> None:
    assert [f"{name(path)}: {one}" for path, tree in trees() for one in undocumented(tree)] == []


def test_nothing_can_load_code_from_data() -> None:
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert [name(path) for path, tree in trees() if imported(tree) & banned] == []


def test_modules_stay_small() -> None:
    lengths = [len(path.read_text("utf-8").splitlines()) for path in MODULES if path.name != "__init__.py"]
    assert statistics.median(lengths) <= MEDIAN_LINES


def test_no_registry_host_is_named() -> None:
    pattern = re.compile("|".join(rf"\b{re.escape(host)}\b" for host in REGISTRY_HOSTS), re.IGNORECASE)
    found = [name(path) for path in tracked() if pattern.search(path.read_text("utf-8"))]
    assert found == []


def test_no_path_of_one_machine_is_named() -> None:
    pattern = re.compile("|".join(rf"(?<![\w.}}~-]){re.escape(path)}" for path in MACHINE_PATHS))
    found = [
        f"{name(path)}:{number}"
        for path in tracked()
        if name(path).partition("/")[0] not in CONTAINER_PATHS
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_rules_can_fail() -> None:
    bad = ast.parse("import pickle\ndef f(): pass\nclass C:\n    'x'\n    def m(self): pass\n    def _p(self): pass\n")
    assert set(undocumented(bad)) == {"f", "C.m"}
    assert imported(bad) == {"pickle"}


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (
            "evaluator.process, evaluator.retraining.trainer, evaluator.dashboard.server, "
            "liveshelf.collect.server, liveshelf.cli.app",
            "torch",
        ),
        ("streams.worker", "sympy"),
    ],
)
def test_roles_load_no_library_that_they_do_not_need(modules: str, unwanted: str) -> None:
    """Torch takes 300 MB and seconds; it serves workers and training alone."""
    code = f"import sys, {modules}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
