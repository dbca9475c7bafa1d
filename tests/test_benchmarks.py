"""Every benchmark still runs: each at its smallest, to its end, with figures.

``chaos`` and ``hostile`` do so in files of their own, which look at more.
"""

import ast
import math
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmark import smoke
from tests.test_house import imported

FOLDER = Path(__file__).parents[1] / "benchmarks"
ELSEWHERE = {"chaos": "e2e/test_chaos.py", "hostile": "e2e/test_hostile.py"}


def benchmarks() -> list[str]:
    """Modules that are run by their name; the others help them."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\nif __name__ ==" in path.read_text("utf-8"))


def figures(value: Any) -> list[float]:
    """All numbers in rows and facts."""
    if isinstance(value, dict | list):
        return [one for part in (value.values() if isinstance(value, dict) else value) for one in figures(part)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.e2e
@pytest.mark.parametrize("name", [name for name in benchmarks() if name not in ELSEWHERE])
def test_benchmark_at_its_smallest_gives_figures(name: str, tmp_path: Path) -> None:
    told = smoke(name, tmp_path)
    assert told["rows"], told
    for row in told["rows"]:
        assert figures(row), row
    assert all(map(math.isfinite, figures(told))), told


@pytest.mark.parametrize(("name", "path"), ELSEWHERE.items())
def test_benchmark_is_run_at_its_smallest_elsewhere(name: str, path: str) -> None:
    code = (Path(__file__).parent / path).read_text("utf-8")
    assert f'smoke("{name}", tmp_path)' in code


def test_benchmarks_import_what_make_bench_installs() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["local"], *extras["train"], *extras["bench"]]
    there = {canonicalize_name(Requirement(one).name) for one in wanted}
    names = {name for path in FOLDER.glob("*.py") for name in imported(ast.parse(path.read_text("utf-8")))}
    known = packages_distributions()
    absent = {name for name in names if name in known and there.isdisjoint(map(canonicalize_name, known[name]))}
    assert absent - {"benchmarks", "liveshelf", "models", "streams", "evaluator"} == set()
